"""Scripted experts for robosuite's Lift, PickPlaceCan and NutAssemblySquare with a Panda arm.

They see robomimic's low-dimensional observations only. A phase is left when its own aim is
reached, and an object that was lost is picked up again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref_envs.demonstrators import ScriptedExpert, Vector

OPEN, CLOSE = -1.0, 1.0
POSITION_GAIN = 20.0
"""Action per metre: 1 is 5 cm, the controller's own unit."""
TURN_GAIN = 2.0
"""Action per radian: 1 is 0.5 rad."""
GRASP_STEPS = 6
"""Steps in which the fingers close."""
DESCENT_STEPS = 25
"""Steps of a descent after which it counts as blocked."""
RELEASE_STEPS = 4
"""Steps in which the fingers open."""
FINGER_AXIS = 1
"""Axis of the hand along which the fingers move."""
LOST = 0.1
"""Metres between hand and grasp point that mean that the object has slipped away."""


class _Pose:
    """Where things are, read from one observation."""

    def __init__(self, observation: Mapping[str, NDArray[Any]], first: int, offset: Vector) -> None:
        self.hand = observation["robot0_eef_pos"].astype(np.float64)
        self.hand_axes = _rotation(observation["robot0_eef_quat"])
        self.object = observation["object"][first : first + 3].astype(np.float64) + offset
        self.object_axes = _rotation(observation["object"][first + 3 : first + 7])

    @property
    def finger_angle(self) -> float:
        """Angle in the table's plane of the line between the fingers."""
        return _angle(self.hand_axes[:, FINGER_AXIS])


class PickExpert(ScriptedExpert):
    """Hovers over the grasp point, descends, closes; what it does with the object is the task's.

    A phase is left when its own aim is reached, and an object that was lost is picked up again.
    """

    noise_scale = np.array([1.0, 1.0, 1.0, 0.3, 0.3, 0.3, 1.0])
    waypoint_steps = (12, 25)
    object_first: int
    """Index of the object's position in the key `object`; its quaternion follows."""
    goal: Mapping[str, Any]
    """The entity `goal` of datasets of this task."""
    hover = 0.08
    """Metres above the grasp point."""

    def __init__(self) -> None:
        self._phase = "hover"
        self._waited = 0
        self._offset = np.zeros(3)

    def act(self, observation: Any) -> Vector:
        """(7,): the action that leads on to success."""
        pose = _Pose(observation, self.object_first, self._offset)
        grasp, turn = self.grasp(pose)
        away = pose.hand - grasp
        level = float(np.linalg.norm(away[:2]))
        above = level < 0.012 and away[2] > self.hover / 2
        if self._phase == "hover" and above and abs(turn) < 0.12:
            self._next("descend")
        elif self._phase == "descend" and (level > 0.04 or self._waited > DESCENT_STEPS):
            self._phase = "hover"
        elif self._phase == "descend" and away[2] < 0.008 and level < 0.01:
            self._next("close")
        elif self._phase == "close" and self._waited > GRASP_STEPS:
            self._phase = "lift"
        elif self._phase in ("lift", "over", "lower") and np.linalg.norm(away) > LOST:
            self._phase = "hover"
        match self._phase:
            case "hover":
                return _action(pose, grasp + [0.0, 0.0, self.hover], turn, OPEN)
            case "descend":
                self._waited += 1
                return _action(pose, grasp, turn, OPEN)
            case "close":
                self._waited += 1
                return _action(pose, grasp, turn, CLOSE)
            case _:
                return self.carry(pose)

    def towards(self, observation: Any, point: Vector, gripper: float) -> Vector:
        """(7,): the action that moves the hand straight to a point."""
        return _action(_Pose(observation, self.object_first, self._offset), point, 0.0, gripper)

    def displace(self, offset: Vector) -> None:
        """From now on takes object and goal to be (3,) metres away from where they are."""
        self._offset = offset

    @abstractmethod
    def grasp(self, pose: _Pose) -> tuple[Vector, float]:
        """(3,) where to grasp, and by how many radians to turn the hand for it."""

    @abstractmethod
    def carry(self, pose: _Pose) -> Vector:
        """(7,): the action once the object is held: phases `lift`, `over`, `lower`, `release`."""

    def _next(self, phase: str) -> None:
        self._phase, self._waited = phase, 0


class LiftExpert(PickExpert):
    """Lifts the cube by 10 cm and holds it there."""

    usual_steps = 39
    object_first = 0
    goal = {"offset": [0.0, 0.0, 0.1]}
    reach = (np.array([-0.15, -0.2, 0.88]), np.array([0.15, 0.2, 1.05]))
    height = 0.92
    """Of the lifted cube, in metres; the table is at 0.8."""

    def grasp(self, pose: _Pose) -> tuple[Vector, float]:
        """The cube's centre, fingers along its sides."""
        cube = _angle(pose.object_axes[:, 0])
        return pose.object, _wrapped(cube - pose.finger_angle, np.pi / 2)

    def carry(self, pose: _Pose) -> Vector:
        """Straight up."""
        return _action(pose, np.append(pose.hand[:2], self.height), 0.0, CLOSE)

    def wrong_goal(self, point: Vector) -> Vector:
        """Down on the table: a cube that is dragged through the air counts as lifted."""
        return np.append(point[:2], 0.82)


class CanExpert(PickExpert):
    """Carries the can over its part of the second bin, lets go just above the floor, and leaves."""

    usual_steps = 170
    object_first = 7
    goal = {"position": [0.1975, 0.4025, 0.86]}
    reach = (np.array([-0.05, -0.4, 0.95]), np.array([0.25, -0.1, 1.1]))
    height = 1.08
    """Of the hand while it carries; the bins' walls end at 0.9."""

    def grasp(self, pose: _Pose) -> tuple[Vector, float]:
        """The can is round. At its middle the palm would touch its top."""
        return pose.object + [0.0, 0.0, 0.015], 0.0

    def carry(self, pose: _Pose) -> Vector:
        """Up, over, down, open, up."""
        goal = np.array(self.goal["position"]) + self._offset
        above = np.append(goal[:2], self.height)
        level = float(np.linalg.norm(pose.hand[:2] - goal[:2]))
        if self._phase == "lift" and pose.hand[2] > 1.0:
            self._phase = "over"
        elif self._phase == "over" and level < 0.03:
            self._phase = "lower"
        elif self._phase == "lower" and pose.hand[2] < goal[2] + 0.06:
            self._next("release")
        match self._phase:
            case "lift":
                return _action(pose, np.append(pose.hand[:2], self.height), 0.0, CLOSE)
            case "over":
                return _action(pose, above, 0.0, CLOSE)
            case "lower":
                return _action(pose, goal + [0.0, 0.0, 0.04], 0.0, CLOSE)
            case _:
                self._waited += 1
                aim = pose.hand if self._waited <= RELEASE_STEPS else above
                return _action(pose, aim, 0.0, OPEN)


class SquareExpert(PickExpert):
    """Carries the nut by its handle over the square peg, lowers it, and lets go."""

    usual_steps = 140
    object_first = 7
    goal = {"position": [0.23, 0.1, 0.83]}
    reach = (np.array([-0.2, -0.2, 0.92]), np.array([0.1, 0.25, 1.1]))
    handle = 0.062
    """Metres from the nut's centre to the grasp; nearer, the open fingers can stand on the nut."""
    height = 1.02
    """Of the nut while it is carried; the peg ends at 0.95."""

    def __init__(self) -> None:
        super().__init__()
        self._yaw = 0.0

    def grasp(self, pose: _Pose) -> tuple[Vector, float]:
        """The handle, fingers across it."""
        axis = pose.object_axes[:, 0]
        across = _angle(axis) + np.pi / 2
        return pose.object + self.handle * axis, _wrapped(across - pose.finger_angle, np.pi)

    def carry(self, pose: _Pose) -> Vector:
        """Up, over the peg with the sides in line, down, open."""
        peg = np.array(self.goal["position"]) + self._offset
        if self._phase == "lift":
            self._yaw = self._nearest_yaw(pose)
        turn = _wrapped(self._yaw - _angle(pose.object_axes[:, 0]), 2 * np.pi)
        miss = peg - pose.object
        level = float(np.linalg.norm(miss[:2]))
        high = self.height - pose.object[2]
        if self._phase == "lift" and high < 0.03:
            self._phase = "over"
        elif self._phase == "over" and level < 0.006 and abs(turn) < 0.06 and abs(high) < 0.03:
            self._phase = "lower"
        elif self._phase == "lower" and level > 0.015 and pose.object[2] > 0.94:
            self._phase = "over"
        elif self._phase == "lower" and miss[2] > -0.025:
            self._next("release")
        match self._phase:
            case "lift":
                return _action(pose, pose.hand + [0.0, 0.0, high], 0.0, CLOSE)
            case "over":
                return _action(pose, pose.hand + np.append(miss[:2], high), turn, CLOSE)
            case "lower":
                return _action(pose, pose.hand + miss, turn, CLOSE)
            case _:
                return _action(pose, pose.hand, 0.0, OPEN)

    @staticmethod
    def _nearest_yaw(pose: _Pose) -> float:
        """Direction for the handle that leaves the wrist nearest to its middle position.

        Away from the robot is none of them: there the hand would be out of the arm's reach.
        """
        wrist, handle = _angle(pose.hand_axes[:, 0]), _angle(pose.object_axes[:, 0])
        yaws = (-np.pi / 2, np.pi / 2, np.pi)
        return min(yaws, key=lambda yaw: abs(wrist + _wrapped(yaw - handle, 2 * np.pi)))


EXPERTS: Mapping[str, type[PickExpert]] = {
    "Lift": LiftExpert,
    "PickPlaceCan": CanExpert,
    "NutAssemblySquare": SquareExpert,
}
"""robosuite's class name to the expert of the task."""


def _action(pose: _Pose, point: Vector, turn: float, gripper: float) -> Vector:
    """(7,): towards a point, turned by `turn` radians about the vertical, and kept upright."""
    move = POSITION_GAIN * (point - pose.hand)
    move *= 1.0 / max(1.0, float(np.abs(move).max()))
    tilt = np.cross(pose.hand_axes[:, 2], [0.0, 0.0, -1.0])
    rotation = TURN_GAIN * np.array([tilt[0], tilt[1], turn])
    return np.concatenate([move, np.clip(rotation, -1.0, 1.0), [gripper]])


def _rotation(quaternion: NDArray[Any]) -> Vector:
    """(3, 3) rotation matrix of a quaternion xyzw."""
    x, y, z, w = quaternion.astype(np.float64) / max(float(np.linalg.norm(quaternion)), 1e-9)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _angle(axis: Vector) -> float:
    """Direction of an axis in the table's plane."""
    return float(np.arctan2(axis[1], axis[0]))


def _wrapped(angle: float, period: float) -> float:
    """The equivalent angle nearest to 0, in [-period / 2, period / 2)."""
    return (angle + period / 2) % period - period / 2

"""All that a robosuite environment needs to go on from a step, as one array, and back.

A state is [robosuite's own flattened state, which robomimic reads: time, qpos, qvel] [the solver's
warm start] [where the arms' joints were at the reset, towards which the controllers' null space
pulls] [the grippers' commands] [poses of fixtures] [which object was drawn] [number of the step].
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class StateKeeper:
    """Saves and restores the states of one environment of robosuite."""

    def __init__(self, suite: Any) -> None:
        """
        Args:
            suite: the environment; it is reset in passing.
        """
        self._suite = suite
        self._model, self._data = suite.sim.model._model, suite.sim.data._data
        # Bodies without joints that resets move, such as a door's frame: the simulator's own state
        # lacks them.
        poses = []
        for _ in range(2):
            suite.reset()
            poses.append(np.hstack([self._model.body_pos, self._model.body_quat]))
        self._fixtures = np.flatnonzero(np.any(poses[0] != poses[1], axis=1))
        drawn = getattr(suite, "single_object_mode", 0) == 1
        self._drawn = [name for name in ("object_id", "nut_id") if drawn and hasattr(suite, name)]

    def save(self, step: int) -> Array:
        """(S,): the state after `step` steps."""
        return np.concatenate(
            [
                [self._data.time],
                self._data.qpos,
                self._data.qvel,
                self._data.qacc_warmstart,
                *[controller.initial_joint for controller in self._controllers()],
                *[gripper.current_action for gripper in self._grippers()],
                self._model.body_pos[self._fixtures].ravel(),
                self._model.body_quat[self._fixtures].ravel(),
                [getattr(self._suite, name) for name in self._drawn],
                [step],
            ]
        )

    def restore(self, state: Array) -> int:
        """Restores a state and returns its step.

        robosuite's own shorter states lack what the controllers aim at. Such a state is taken to
        be one of a reset, where the arms are where they were and the grippers have no command.
        """
        parts = _Parts(np.asarray(state, dtype=np.float64))
        suite, model, data = self._suite, self._model, self._data
        data.time = parts.take(1)[0]
        data.qpos[:], data.qvel[:] = parts.take(model.nq), parts.take(model.nv)
        data.ctrl[:] = 0.0
        whole = parts.left > 0
        warmstart = parts.take(model.nv) if whole else np.zeros(model.nv)
        joints = [
            parts.take(len(controller.qpos_index)) if whole else data.qpos[controller.qpos_index]
            for controller in self._controllers()
        ]
        for gripper in self._grippers():
            count = len(gripper.actuators)
            gripper.current_action = parts.take(count) if whole else np.zeros(count)
        step = 0
        if whole:
            count = len(self._fixtures)
            model.body_pos[self._fixtures] = parts.take(3 * count).reshape(-1, 3)
            model.body_quat[self._fixtures] = parts.take(4 * count).reshape(-1, 4)
            for name in self._drawn:
                self._draw(name, int(parts.take(1)[0]))
            step = int(parts.take(1)[0])
        suite.timestep, suite.cur_time = step, step * suite.control_timestep
        mujoco.mj_forward(model, data)
        for controller, initial in zip(self._controllers(), joints, strict=True):
            controller.update(force=True)
            controller.update_initial_joints(initial.copy())
        data.qacc_warmstart[:] = warmstart
        return step

    def forget_commands(self) -> None:
        """Gives the grippers' commands, after a reset, the shape that they have after a step."""
        for gripper in self._grippers():
            gripper.current_action = np.zeros(len(gripper.actuators))

    def _draw(self, name: str, number: int) -> None:
        """Makes one of several objects the task's, as a reset does that draws it."""
        setattr(self._suite, name, number)
        for owner, sensors in getattr(self._suite, f"{name}_to_sensors").items():
            for sensor in sensors:
                self._suite._observables[sensor].set_enabled(owner == number)
                self._suite._observables[sensor].set_active(owner == number)

    def _controllers(self) -> list[Any]:
        return [robot.part_controllers[arm] for robot in self._suite.robots for arm in robot.arms]

    def _grippers(self) -> list[Any]:
        return [
            robot.gripper[arm]
            for robot in self._suite.robots
            for arm in robot.arms
            if robot.has_gripper[arm] and robot.gripper[arm].dof
        ]


class _Parts:
    """Takes consecutive pieces of an array."""

    def __init__(self, values: Array) -> None:
        self._values = values

    @property
    def left(self) -> int:
        return len(self._values)

    def take(self, count: int) -> Array:
        part, self._values = self._values[:count].copy(), self._values[count:]
        return part

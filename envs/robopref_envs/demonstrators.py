"""Scripted demonstrators of mixed quality, for every suite that has scripted experts.

Each episode is driven by one behaviour. All drive the suite's scripted expert; they differ in what
they do to it. `Mix` says with which shares they occur. All but `noisy` get action noise of the
same distribution, so that without `noisy` and `random` nothing can be read from the noise alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref_envs.mix import Mix

BEHAVIOURS: Mapping[str, str] = {
    "expert": "the scripted expert",
    "slow": "the expert at 35 to 65 % of its speed",
    "late": "waits for 15 to 50 % of the horizon, then the expert",
    "detour": "goes to a random point first, then the expert",
    "noisy": "the expert with much action noise",
    "stop": "the expert until 20 to 95 % of its usual time, then holds still",
    "wrong_object": "the expert, taking object and goal to be 8 to 20 cm away from where they are",
    "miscalibrated": "as wrong_object, but always to the same side, as by a camera out of place",
    "wrong_goal": "the expert to the object, then drags towards a wrong place",
    "wander": "moves between random points",
    "random": "random actions",
}

Vector = NDArray[np.float64]


class ScriptedExpert(ABC):
    """What a suite owes the demonstrators; one object per episode.

    Actions are (A,) in [-1, 1]; the first three move the hand, the last one is the gripper.
    """

    usual_steps: int
    """Steps within which it usually succeeds."""
    noise_scale: Vector
    """(A,): standard deviation of the action noise where the mix says 1."""
    waypoint_steps: tuple[int, int]
    """Fewest and (exclusive) most steps spent on the way to a random point."""
    reach: tuple[Vector, Vector]
    """Lowest and highest corner of the box of random points, in metres."""

    @abstractmethod
    def act(self, observation: Any) -> Vector:
        """(A,): the action that leads on to success."""

    @abstractmethod
    def towards(self, observation: Any, point: Vector, gripper: float) -> Vector:
        """(A,): the action that moves the hand straight to a point."""

    @abstractmethod
    def displace(self, offset: Vector) -> None:
        """From now on takes object and goal to be (3,) metres away from where they are."""

    def wrong_goal(self, point: Vector) -> Vector:
        """(3,): where `wrong_goal` drags the object, given a random point."""
        return point


class Demonstrator:
    """Acts for one episode with one behaviour; `act` once per step from the first."""

    def __init__(
        self,
        expert: ScriptedExpert,
        horizon: int,
        behaviour: str,
        noise: float,
        rng: np.random.Generator,
    ) -> None:
        """
        Args:
            expert: fresh one for this episode.
            horizon: steps of the episode.
            behaviour: one of `BEHAVIOURS`.
            noise: standard deviation of the action noise, in the expert's scale.
            rng: source of all randomness.
        """
        self.behaviour = behaviour
        self._expert = expert
        self._noise = noise * expert.noise_scale
        self._rng = rng
        self._steps = 0
        self._speed = rng.uniform(0.35, 0.65) if behaviour == "slow" else 1.0
        self._wait = int(rng.uniform(0.15, 0.5) * horizon) if behaviour == "late" else 0
        self._stop = int(rng.uniform(0.2, 0.95) * expert.usual_steps)
        self._switch = int(rng.uniform(0.3, 0.95) * expert.usual_steps)
        offset = _displacement(rng, one_side=behaviour == "miscalibrated")
        self._waypoint = self._random_point()
        self._waypoint_left = int(rng.integers(*expert.waypoint_steps))
        self._gripper = rng.uniform(-1.0, 1.0)
        if behaviour in ("wrong_object", "miscalibrated"):
            expert.displace(offset)

    @staticmethod
    def draw(
        expert: ScriptedExpert, horizon: int, mix: Mapping[str, Any], rng: np.random.Generator
    ) -> Demonstrator:
        """Draws a behaviour and its noise.

        Args:
            expert: fresh one for this episode.
            horizon: steps of the episode.
            mix: fields of `Mix`.
            rng: source of all randomness.

        Raises:
            InputError: if the mix is wrong.
        """
        behaviour, noise = Mix.parse(mix, BEHAVIOURS).draw(rng)
        return Demonstrator(expert, horizon, behaviour, noise, rng)

    def act(self, observation: Any) -> NDArray[np.float32]:
        """(A,): the action for this step, noise included, in [-1, 1]."""
        action = self._intended(observation)
        noise = self._rng.normal(0.0, 1.0, len(self._noise)) * self._noise
        self._steps += 1
        return np.clip(action + noise, -1.0, 1.0).astype(np.float32)

    def _intended(self, observation: Any) -> Vector:
        match self.behaviour:
            case "random":
                return self._rng.uniform(-1.0, 1.0, len(self._noise))
            case "wander":
                return self._wander(observation)
            case "late" if self._steps < self._wait:
                return np.zeros_like(self._noise)
            case "stop" if self._steps >= self._stop:
                return np.zeros_like(self._noise)
            case "detour" if self._waypoint_left > 0:
                self._waypoint_left -= 1
                return self._expert.towards(observation, self._waypoint, self._gripper)
            case "wrong_goal" if self._steps >= self._switch:
                point = self._expert.wrong_goal(self._waypoint)
                return self._expert.towards(observation, point, self._gripper)
            case _:
                action = self._expert.act(observation)
                action[:3] *= self._speed
                return action

    def _wander(self, observation: Any) -> Vector:
        if self._waypoint_left == 0:
            self._waypoint = self._random_point()
            self._waypoint_left = int(self._rng.integers(*self._expert.waypoint_steps))
            self._gripper = self._rng.uniform(-1.0, 1.0)
        self._waypoint_left -= 1
        return self._expert.towards(observation, self._waypoint, self._gripper)

    def _random_point(self) -> Vector:
        return self._rng.uniform(*self._expert.reach)


def _displacement(rng: np.random.Generator, one_side: bool) -> Vector:
    """A horizontal displacement of 8 to 20 cm: to any side, or away from the robot to its left.

    Errors to all sides cancel in the average of the data, so that a clone still does the task;
    errors to one side do not.
    """
    angle = rng.uniform(0.0, 0.5 * np.pi if one_side else 2.0 * np.pi)
    length = rng.uniform(0.08, 0.2)
    return np.array([length * np.cos(angle), length * np.sin(angle), 0.0])

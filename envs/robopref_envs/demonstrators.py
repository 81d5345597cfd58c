"""Scripted demonstrators of mixed quality for Meta-World.

Each episode is driven by one behaviour. All drive Meta-World's own scripted expert; they differ in
what they do to it. `Mix` says with which shares they occur. All but `noisy` get action noise of the
same distribution, so that without `noisy` and `random` nothing can be read from the noise alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from metaworld.policies import ENV_POLICY_MAP
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
    "wrong_goal": "the expert to the object, then drags towards a wrong place",
    "wander": "moves between random points",
    "random": "random actions",
}
EXPERT_STEPS: Mapping[str, int] = {
    "assembly": 90, "basketball": 91, "bin-picking": 105, "box-close": 109, "button-press": 61,
    "button-press-topdown": 71, "button-press-topdown-wall": 60, "button-press-wall": 68,
    "coffee-button": 40, "coffee-pull": 82, "coffee-push": 54, "dial-turn": 77,
    "disassemble": 113, "door-close": 64, "door-lock": 63, "door-open": 72, "door-unlock": 45,
    "drawer-close": 77, "drawer-open": 91, "faucet-close": 66, "faucet-open": 60, "hammer": 68,
    "hand-insert": 59, "handle-press": 37, "handle-press-side": 48, "handle-pull": 91,
    "handle-pull-side": 84, "lever-pull": 83, "peg-insert-side": 80, "peg-unplug-side": 105,
    "pick-out-of-hole": 115, "pick-place": 52, "pick-place-wall": 84, "plate-slide": 51,
    "plate-slide-back": 46, "plate-slide-back-side": 53, "plate-slide-side": 45, "push": 62,
    "push-back": 77, "push-wall": 77, "reach": 45, "reach-wall": 42, "shelf-place": 88,
    "soccer": 47, "stick-pull": 106, "stick-push": 72, "sweep": 96, "sweep-into": 51,
    "window-close": 83, "window-open": 91,
}  # fmt: skip
"""Steps that the scripted expert of each task needs until success (median of four episodes)."""


class MetaWorldDemonstrator:
    """Acts for one episode with one behaviour; `act` once per step from the first."""

    def __init__(
        self, task: str, horizon: int, behaviour: str, noise: float, rng: np.random.Generator
    ) -> None:
        self.behaviour = behaviour
        self._expert = ENV_POLICY_MAP[task]()
        self._noise = noise
        self._rng = rng
        self._steps = 0
        self._speed = rng.uniform(0.35, 0.65) if behaviour == "slow" else 1.0
        self._wait = int(rng.uniform(0.15, 0.5) * horizon) if behaviour == "late" else 0
        expert_steps = EXPERT_STEPS[task.removesuffix("-v3")]
        self._stop = int(rng.uniform(0.2, 0.95) * expert_steps)
        self._switch = int(rng.uniform(0.3, 0.95) * expert_steps)
        self._offset = _horizontal(rng, 0.08, 0.2)
        self._waypoint = self._random_point()
        self._waypoint_left = int(rng.integers(30, 60))
        self._gripper = rng.uniform(-1.0, 1.0)

    @staticmethod
    def draw(task: str, horizon: int, mix: Mix, rng: np.random.Generator) -> MetaWorldDemonstrator:
        """Draws a behaviour and its noise from the mix."""
        behaviour, noise = mix.draw(rng)
        return MetaWorldDemonstrator(task, horizon, behaviour, noise, rng)

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """(4,): the action for this step, noise included, in [-1, 1]."""
        action = self._intended(observation.astype(np.float64))
        noise = self._rng.normal(0.0, 1.0, 4) * self._noise
        self._steps += 1
        return np.clip(action + noise, -1.0, 1.0).astype(np.float32)

    def _intended(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        match self.behaviour:
            case "random":
                return self._rng.uniform(-1.0, 1.0, 4)
            case "wander":
                return self._wander(observation)
            case "late" if self._steps < self._wait:
                return np.zeros(4)
            case "stop" if self._steps >= self._stop:
                return np.zeros(4)
            case "detour" if self._waypoint_left > 0:
                self._waypoint_left -= 1
                return self._towards(observation, self._waypoint)
            case "wrong_object":
                observation = observation.copy()
                observation[4:7] += self._offset  # the object
                observation[36:39] += self._offset  # the goal
                return self._expert_action(observation)
            case "wrong_goal" if self._steps >= self._switch:
                return self._towards(observation, self._waypoint)
            case _:
                action = self._expert_action(observation)
                action[:3] *= self._speed
                return action

    def _expert_action(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experts warn that their own constants are high
            action = np.asarray(self._expert.get_action(observation), dtype=np.float64)
        return np.clip(action, -1.0, 1.0)

    def _wander(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._waypoint_left == 0:
            self._waypoint = self._random_point()
            self._waypoint_left = int(self._rng.integers(30, 60))
            self._gripper = self._rng.uniform(-1.0, 1.0)
        self._waypoint_left -= 1
        return self._towards(observation, self._waypoint)

    def _towards(
        self, observation: NDArray[np.float64], point: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        direction = np.clip(10.0 * (point - observation[:3]), -1.0, 1.0)
        return np.append(direction, self._gripper)

    def _random_point(self) -> NDArray[np.float64]:
        return self._rng.uniform([-0.35, 0.45, 0.06], [0.35, 0.85, 0.35])


def _horizontal(rng: np.random.Generator, low: float, high: float) -> NDArray[np.float64]:
    """A horizontal displacement of random direction, its length between `low` and `high` m."""
    angle, length = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(low, high)
    return np.array([length * np.cos(angle), length * np.sin(angle), 0.0])

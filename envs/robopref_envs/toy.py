"""A point mass whose best policy is known: walk straight to the goal. Used by tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from robopref_envs.mix import Mix

BEHAVIOURS = ("expert", "random", "stop")


class PointMassDemonstrator:
    """`expert` walks straight to the goal, `stop` stays where it is, `random` acts at random."""

    def __init__(self, behaviour: str, noise: float, rng: np.random.Generator) -> None:
        self.behaviour = behaviour
        self._noise = noise
        self._rng = rng

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """(2,): the action, noise included, in [-1, 1]."""
        action = self._rng.normal(0.0, 1.0, 2) * self._noise
        if self.behaviour == "random":
            action = self._rng.uniform(-1.0, 1.0, 2)
        elif self.behaviour == "expert":
            action += np.clip(10.0 * (observation[2:] - observation[:2]), -1.0, 1.0)
        return np.clip(action, -1.0, 1.0).astype(np.float32)


class PointMassEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Observation (4,): position and goal in [-1, 1]^2. Action (2,): displacement / 0.1.

    The reward is minus the distance to the goal; success is a distance below 0.1.
    """

    metadata = {"render_modes": []}

    def __init__(self, horizon: int = 20, render_mode: str | None = None) -> None:
        self.horizon = horizon
        self.render_mode = render_mode
        self.observation_space = Box(-1.0, 1.0, (4,), np.float32)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        self._position = np.zeros(2)
        self._goal = np.zeros(2)
        self._steps = 0

    @property
    def env_args(self) -> dict[str, Any]:
        """What a dataset file says about the environment."""
        return {"env_name": "toy/point-mass-v0", "type": 2, "env_kwargs": {"horizon": self.horizon}}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draws position and goal."""
        super().reset(seed=seed)
        self._position, self._goal = self.np_random.uniform(-1.0, 1.0, (2, 2))
        self._steps = 0
        return self._observe(), {"success": False}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves by a tenth of the action."""
        self._position = np.clip(self._position + 0.1 * np.clip(action, -1.0, 1.0), -1.0, 1.0)
        self._steps += 1
        distance = float(np.linalg.norm(self._position - self._goal))
        info = {"success": distance < 0.1, "obj_to_target": distance}
        return self._observe(), -distance, False, self._steps >= self.horizon, info

    def demonstrator(
        self, mix: Mapping[str, Any], rng: np.random.Generator
    ) -> PointMassDemonstrator:
        """Draws one scripted demonstrator for the episode that follows."""
        return PointMassDemonstrator(*Mix.parse(mix, BEHAVIOURS).draw(rng), rng)

    def get_state(self) -> NDArray[np.float64]:
        """(5,): position, goal and step."""
        return np.concatenate([self._position, self._goal, [self._steps]])

    def set_state(self, state: NDArray[np.float64]) -> NDArray[np.float32]:
        """Restores a state of `get_state`."""
        self._position, self._goal = state[:2].copy(), state[2:4].copy()
        self._steps = int(state[4])
        return self._observe()

    def _observe(self) -> NDArray[np.float32]:
        return np.concatenate([self._position, self._goal]).astype(np.float32)

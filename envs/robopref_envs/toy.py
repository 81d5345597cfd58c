"""A point mass whose best policy is known: walk straight to the goal. Used by tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Space
from numpy.typing import NDArray

from robopref_envs.mix import Mix

BEHAVIOURS = ("expert", "random", "stop")


class PointMassDemonstrator:
    """`expert` walks straight to the goal, `stop` stays where it is, `random` acts at random."""

    def __init__(
        self,
        behaviour: str,
        noise: float,
        rng: np.random.Generator,
        way: Callable[[], NDArray[np.float64]],
    ) -> None:
        self.behaviour = behaviour
        self._noise = noise
        self._rng = rng
        self._way = way

    def act(self, observation: Any) -> NDArray[np.float32]:
        """(2,): the action, noise included, in [-1, 1]."""
        action = self._rng.normal(0.0, 1.0, 2) * self._noise
        if self.behaviour == "random":
            action = self._rng.uniform(-1.0, 1.0, 2)
        elif self.behaviour == "expert":
            action += np.clip(10.0 * self._way(), -1.0, 1.0)
        return np.clip(action, -1.0, 1.0).astype(np.float32)


class PointMassEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """Observation (4,): position and goal in [-1, 1]^2. Action (2,): displacement / 0.1.

    The reward is minus the distance to the goal; success is a distance below 0.1. With cameras the
    observation is a dictionary of `flat` (2,), the position alone, and `<camera>_image`, pictures
    (image_size, image_size, 3) uint8 with the point in red and the goal in green.
    """

    metadata = {"render_modes": []}

    def __init__(
        self,
        horizon: int = 20,
        cameras: Sequence[str] = (),
        image_size: int = 16,
        render_mode: str | None = None,
    ) -> None:
        self.horizon = horizon
        self.cameras = tuple(cameras)
        self.image_size = image_size
        self.render_mode = render_mode
        self.observation_space: Space[Any] = Box(-1.0, 1.0, (4,), np.float32)
        if cameras:
            picture = Box(0, 255, (image_size, image_size, 3), np.uint8)
            pictures = {f"{name}_image": picture for name in cameras}
            self.observation_space = Dict({"flat": Box(-1.0, 1.0, (2,), np.float32), **pictures})
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        self._position = np.zeros(2)
        self._goal = np.zeros(2)
        self._steps = 0

    @property
    def env_args(self) -> dict[str, Any]:
        """What a dataset file says about the environment."""
        kwargs: dict[str, Any] = {"horizon": self.horizon}
        if self.cameras:
            kwargs |= {"cameras": list(self.cameras), "image_size": self.image_size}
        return {"env_name": "toy/point-mass-v0", "type": 2, "env_kwargs": kwargs}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Draws position and goal."""
        super().reset(seed=seed)
        self._position, self._goal = self.np_random.uniform(-1.0, 1.0, (2, 2))
        self._steps = 0
        return self._observe(), {"success": False}

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
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
        behaviour, noise = Mix.parse(mix, BEHAVIOURS).draw(rng)
        return PointMassDemonstrator(behaviour, noise, rng, lambda: self._goal - self._position)

    def get_state(self) -> NDArray[np.float64]:
        """(5,): position, goal and step."""
        return np.concatenate([self._position, self._goal, [self._steps]])

    def set_state(self, state: NDArray[np.float64]) -> Any:
        """Restores a state of `get_state`."""
        self._position, self._goal = state[:2].copy(), state[2:4].copy()
        self._steps = int(state[4])
        return self._observe()

    def _observe(self) -> Any:
        if self.cameras:
            pictures = {f"{name}_image": self._picture() for name in self.cameras}
            return {"flat": self._position.astype(np.float32), **pictures}
        return np.concatenate([self._position, self._goal]).astype(np.float32)

    def _picture(self) -> NDArray[np.uint8]:
        """(size, size, 3): a dot for each of the two, soft enough to show parts of a pixel."""
        size = self.image_size
        picture = np.zeros((size, size, 3), dtype=np.uint8)
        grid = (np.arange(size) + 0.5) / size * 2.0 - 1.0
        for channel, place in enumerate((self._position, self._goal)):
            rows, columns = (np.exp(-(((grid - value) * size / 3.0) ** 2)) for value in place[::-1])
            picture[..., channel] = 255.0 * np.outer(rows, columns)
        return picture

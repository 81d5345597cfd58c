"""A cart on a rail that is to stop at a mark: the smallest robot that every command takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray


class RailEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Observation (4,): place, speed, mark, 0. Action (1,): force. Success: at rest at the mark."""

    metadata = {"render_modes": []}
    observation_space = Box(-np.inf, np.inf, (4,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, horizon: int = 40, render_mode: str | None = None) -> None:
        self.horizon, self.render_mode = horizon, render_mode
        self._state = np.zeros(4)

    @property
    def env_args(self) -> dict[str, Any]:
        """What a dataset file says about the robot."""
        name = "robopref_example:example/Rail-v0"
        return {"env_name": name, "type": 2, "env_kwargs": {"horizon": self.horizon}}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draws place and mark."""
        super().reset(seed=seed)
        place, mark = self.np_random.uniform(-1.0, 1.0, 2)
        self._state = np.array([place, 0.0, mark, 0.0])
        return self._observe(), {"success": False}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Pushes the cart for a step."""
        place, speed, mark, steps = self._state
        speed = 0.8 * speed + 0.1 * float(np.clip(action[0], -1.0, 1.0))
        self._state = np.array([place + speed, speed, mark, steps + 1.0])
        away = abs(place + speed - mark)
        info = {"success": bool(away < 0.05 and abs(speed) < 0.02)}
        return self._observe(), -away, False, steps + 1 >= self.horizon, info

    def demonstrator(self, mix: Mapping[str, Any], rng: np.random.Generator) -> Demonstrator:
        """Draws who drives: `expert` or `random`, as often as `mix["shares"]` says."""
        names = list(mix["shares"])
        shares = np.array([mix["shares"][name] for name in names], dtype=float)
        return Demonstrator(str(rng.choice(names, p=shares / shares.sum())), self, mix, rng)

    def get_state(self) -> NDArray[np.float64]:
        """(4,): all that is needed to go on from here."""
        return self._state.copy()

    def set_state(self, state: NDArray[np.float64]) -> NDArray[np.float32]:
        """Goes on from a state of `get_state`."""
        self._state = state.copy()
        return self._observe()

    def _observe(self) -> NDArray[np.float32]:
        return np.array([*self._state[:3], 0.0], dtype=np.float32)


class Demonstrator:
    """Drives to the mark, or anywhere."""

    def __init__(
        self, behaviour: str, env: RailEnv, mix: Mapping[str, Any], rng: np.random.Generator
    ) -> None:
        self.behaviour = behaviour
        self._env, self._noise, self._rng = env, float(mix["noise"]), rng

    def act(self, observation: Any) -> NDArray[np.float32]:
        """(1,): the force, noise included."""
        place, speed, mark, _ = self._env.get_state()
        if self.behaviour == "random":
            force = self._rng.uniform(-1.0, 1.0)
        else:
            force = 3.0 * (mark - place) - 8.0 * speed + self._noise * self._rng.normal()
        return np.clip([force], -1.0, 1.0).astype(np.float32)

"""Who corrects the robot: what every device owes, and a scripted person for tests and benchmarks.

Devices are in files of their own: keyboard.py, gamepad.py, spacemouse.py, browser.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from gymnasium.spaces import Dict
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref.evaluation.rollout import unflatten

Action = NDArray[np.float32]


class EmergencyStopError(Exception):
    """A person wants the robot to stand still, at once and until it is released."""


class Teleoperator(ABC):
    """A device that a person moves the robot with."""

    @abstractmethod
    def read(self) -> Action | None:
        """(A,): what the person does now; None while the hands are off.

        Raises:
            EmergencyStopError: if the person asks for it.
        """

    def verdict(self) -> bool | None:
        """Whether the person has called the episode a success or a failure since asked last."""
        return None

    @property
    def shows(self) -> bool:
        """Whether somebody is to be shown pictures of the robot now."""
        return False

    def show(self, picture: Any) -> None:  # noqa: B027
        """What there is to see now, (height, width, 3) uint8."""

    def start(self, observation: Any) -> None:  # noqa: B027
        """An episode begins with this observation."""

    def watch(self, observation: Any, reward: float, success: bool) -> None:  # noqa: B027
        """A step was made, by whomever."""


@dataclass
class BrowserConfig:
    """Where the page is served."""

    address: str = "127.0.0.1:8060"
    """host:port; another host than this machine's own needs a certificate."""
    certificate: str = ""
    """PEM file."""
    key: str = ""
    """PEM file of its private key."""


class HandDevice(Teleoperator):
    """A device that moves a hand and its gripper, and with which a person calls episodes."""

    def __init__(self, name: str, action_dim: int) -> None:
        """
        Args:
            name: for the message.
            action_dim: `A`.

        Raises:
            InputError: if the action has fewer than four dimensions.
        """
        if action_dim < 4:
            raise InputError(
                f"operator={name}: drives hands with at least 4 dimensions of action, and this "
                f"environment has {action_dim}"
            )
        self._action_dim = action_dim
        self._verdict: bool | None = None

    @abstractmethod
    def open(self) -> None:
        """Takes the device.

        Raises:
            InputError: if it cannot be had.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets it go."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def hand_action(self, move: Any, gripper: float) -> Action:
        """(A,): the first three, `move` (3,), move the hand; the last is the gripper, closing above
        0. All are brought to [-1, 1].
        """
        action = np.zeros(self._action_dim, dtype=np.float32)
        action[:3], action[-1] = move, gripper
        return np.clip(action, -1.0, 1.0)

    def verdict(self) -> bool | None:
        """What a key or button said."""
        said, self._verdict = self._verdict, None
        return said


class NoOperator(Teleoperator):
    """Nobody corrects."""

    def read(self) -> Action | None:
        """None."""
        return None


@dataclass
class SyntheticOperatorConfig:
    """How the scripted person behaves."""

    patience: int = 25
    """Steps without progress after which it takes over."""
    hold: int = 30
    """Steps that it then drives, at most."""
    delay: int = 3
    """Steps that it takes to react."""
    error: float = 0.0
    """Chance that it drives at random instead."""
    noise: float = 0.1
    """Standard deviation of its actions, in the expert's scale."""
    drift: float = 0.0
    """Standard deviation of an error of where its hand goes, which lasts for about a second (action
    units)."""
    speed: float = 1.0
    """Share of the expert's speed."""

    def __post_init__(self) -> None:
        if min(self.patience, self.hold) < 1 or self.delay < 0:
            raise InputError("operator.patience, hold and delay: must be at least 1, 1 and 0")
        if not 0.0 <= self.error <= 1.0 or self.noise < 0.0:
            raise InputError("operator.error: lies in [0, 1]; operator.noise: at least 0")
        if self.drift < 0.0 or not 0.0 < self.speed <= 1.0:
            raise InputError("operator.drift: at least 0; operator.speed: lies in (0, 1]")


HAND_PLACES = 3
"""Dimensions of an action that say where the hand goes; a device with which people drive has no
others but the gripper's."""
LASTING = 0.95
"""Share of an error of the scripted person's motion that is left a step later."""


class SyntheticOperator(Teleoperator):
    """Takes over with the environment's scripted expert when the robot makes no progress.

    It judges progress by the environment's reward, as a person would by looking; nothing that
    learns sees that. `watch` tells it what it sees.
    """

    def __init__(
        self, config: SyntheticOperatorConfig, environment: Any, rng: np.random.Generator
    ) -> None:
        """
        Args:
            config: how it behaves.
            environment: one of robopref_envs, with a `demonstrator`.
            rng: source of randomness.

        Raises:
            InputError: if the environment has no scripted expert.
        """
        if not hasattr(environment.unwrapped, "demonstrator"):
            raise InputError(
                "operator=synthetic: this environment has no scripted expert; choose another "
                "operator"
            )
        self.config, self._environment, self._rng = config, environment.unwrapped, rng
        # The hand's place comes first in an action, the gripper last.
        self._places = min(HAND_PLACES, environment.action_space.shape[0] - 1)
        self.start(None)

    def start(self, observation: Any) -> None:
        """An episode begins with this observation."""
        mix = {"shares": {"expert": 1.0}, "noise": self.config.noise}
        self._expert = self._environment.demonstrator(mix, self._rng)
        self._observation = observation
        self._best: float | None = None
        self._drift = np.zeros(self._places)
        self._since, self._left, self._done = 0, 0, False

    def watch(self, observation: Any, reward: float, success: bool) -> None:
        """A step was made, by whomever."""
        self._observation, self._done = observation, self._done or success
        if self._best is None or reward > self._best + 1e-3 * max(abs(self._best), 1.0):
            self._best, self._since = reward, 0
        else:
            self._since += 1

    def read(self) -> Action | None:
        """The expert's action while it holds on."""
        if self._done:
            return None
        if self._left == 0:
            if self._since < self.config.patience + self.config.delay:
                return None
            self._left, self._since = self.config.hold, 0
        self._left -= 1
        action: Action = self._expert.act(self._named(self._observation))
        fresh = self._rng.normal(0.0, self.config.drift, self._places) if self.config.drift else 0.0
        self._drift = LASTING * self._drift + np.sqrt(1.0 - LASTING**2) * fresh
        action[:-1] *= self.config.speed
        moved = action[: self._places] + self._drift
        action[: self._places] = np.clip(moved, -1.0, 1.0)
        if self._rng.random() < self.config.error:
            action = self._rng.uniform(-1.0, 1.0, len(action)).astype(np.float32)
        return action

    def _named(self, observation: Any) -> Any:
        """As the expert has it: a robot behind a network sends what it observes as one vector."""
        space = self._environment.observation_space
        if isinstance(observation, Mapping) or not isinstance(space, Dict):
            return observation
        return {name: rows[0] for name, rows in unflatten(observation[None], space).items()}

"""Who corrects the robot: people at devices, and a scripted one for tests and benchmarks."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError

Action = NDArray[np.float32]


class Teleoperator(Protocol):
    """A device that a person moves the robot with."""

    def read(self) -> Action | None:
        """(A,): what the person does now; None while the hands are off."""


class NoOperator:
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

    def __post_init__(self) -> None:
        if min(self.patience, self.hold) < 1 or self.delay < 0:
            raise InputError("operator.patience, hold and delay: must be at least 1, 1 and 0")
        if not 0.0 <= self.error <= 1.0 or self.noise < 0.0:
            raise InputError("operator.error: lies in [0, 1]; operator.noise: at least 0")


class SyntheticOperator:
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
        self.start(None)

    def start(self, observation: Any) -> None:
        """An episode begins with this observation."""
        mix = {"shares": {"expert": 1.0}, "noise": self.config.noise}
        self._expert = self._environment.demonstrator(mix, self._rng)
        self._observation = observation
        self._best: float | None = None
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
        action: Action = self._expert.act(self._observation)
        if self._rng.random() < self.config.error:
            action = self._rng.uniform(-1.0, 1.0, len(action)).astype(np.float32)
        return action


KEYS: Mapping[str, tuple[int, float]] = {
    "w": (1, 1.0), "s": (1, -1.0), "a": (0, -1.0), "d": (0, 1.0), "r": (2, 1.0), "f": (2, -1.0),
}  # fmt: skip
"""Key to dimension of the action and its sign: away and back, left and right, up and down."""
OPEN, CLOSE = "o", "c"
HELD_S = 0.3
"""How long a key counts as held: terminals repeat it about ten times a second."""


class KeyboardOperator:
    """A terminal's keyboard: w s a d r f move the hand, o and c open and close the gripper."""

    def __init__(
        self, action_dim: int, speed: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Raises:
            InputError: if the action has fewer than four dimensions.
        """
        if action_dim < 4:
            raise InputError(
                f"operator=keyboard: drives hands with at least 4 dimensions of action, and this "
                f"environment has {action_dim}"
            )
        self._action_dim, self._speed, self._clock = action_dim, speed, clock
        self._held: dict[str, float] = {}
        self._gripper = 0.0
        self._termios: ModuleType | None = None

    def __enter__(self) -> Self:
        """Reads single keys from now on.

        Raises:
            InputError: if there is no terminal.
        """
        import termios
        import tty

        if not sys.stdin.isatty():
            raise InputError("operator=keyboard: needs a terminal; start it from one")
        self._termios, self._before = termios, termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Gives the terminal back."""
        if self._termios is not None:
            with contextlib.suppress(OSError):
                self._termios.tcsetattr(sys.stdin, self._termios.TCSADRAIN, self._before)

    def press(self, key: str) -> None:
        """A key came."""
        key = key.lower()
        if key in (OPEN, CLOSE):
            self._gripper = -1.0 if key == OPEN else 1.0
        if key in KEYS or key in (OPEN, CLOSE):
            self._held[key] = self._clock()

    def read(self) -> Action | None:
        """The sum of the keys that are held; None when none is."""
        if self._termios is not None:
            while select.select([sys.stdin], [], [], 0)[0]:
                text = os.read(sys.stdin.fileno(), 64).decode(errors="ignore")
                for key in text:
                    self.press(key)
                if not text:
                    break
        now = self._clock()
        self._held = {key: since for key, since in self._held.items() if now - since < HELD_S}
        if not self._held:
            return None
        action = np.zeros(self._action_dim, dtype=np.float32)
        for key in self._held:
            if key in KEYS:
                dimension, sign = KEYS[key]
                action[dimension] += sign * self._speed
        action[-1] = self._gripper
        return np.clip(action, -1.0, 1.0)

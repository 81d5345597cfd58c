"""The keyboard of a terminal as a device."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from types import ModuleType

import numpy as np

from robopref.errors import InputError
from robopref.hil.operators import Action, EmergencyStopError, HandDevice

KEYS: Mapping[str, tuple[int, float]] = {
    "w": (1, 1.0), "s": (1, -1.0), "a": (0, -1.0), "d": (0, 1.0), "r": (2, 1.0), "f": (2, -1.0),
}  # fmt: skip
"""Key to dimension of the action and its sign: away and back, left and right, up and down."""
OPEN, CLOSE, SUCCESS, FAILURE, STOP = "o", "c", "y", "n", " "
HELD_S = 0.3
"""How long a key counts as held: terminals repeat it about ten times a second."""


class KeyboardOperator(HandDevice):
    """A terminal's keyboard: w s a d r f move the hand, o and c open and close the gripper, y and n
    call the episode a success or a failure, and the space bar is the emergency stop.
    """

    def __init__(
        self, action_dim: int, speed: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Raises:
            InputError: if the action has fewer than four dimensions.
        """
        super().__init__("keyboard", action_dim)
        self._speed, self._clock = speed, clock
        self._held: dict[str, float] = {}
        self._gripper, self._stop = 0.0, False
        self._termios: ModuleType | None = None

    def open(self) -> None:
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

    def close(self) -> None:
        """Gives the terminal back."""
        if self._termios is not None:
            with contextlib.suppress(OSError):
                self._termios.tcsetattr(sys.stdin, self._termios.TCSADRAIN, self._before)

    def press(self, key: str) -> None:
        """A key came."""
        key = key.lower()
        if key in (OPEN, CLOSE):
            self._gripper = -1.0 if key == OPEN else 1.0
        if key in (SUCCESS, FAILURE):
            self._verdict = key == SUCCESS
        self._stop |= key == STOP
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
        if self._stop:
            raise EmergencyStopError
        now = self._clock()
        self._held = {key: since for key, since in self._held.items() if now - since < HELD_S}
        if not self._held:
            return None
        move = np.zeros(3)
        for key in self._held:
            if key in KEYS:
                dimension, sign = KEYS[key]
                move[dimension] += sign * self._speed
        return self.hand_action(move, self._gripper)

"""A SpaceMouse as a device, through pyspacemouse (and the system's libhidapi)."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from robopref.errors import InputError
from robopref.hil.operators import Action, EmergencyStopError, HandDevice

CENTRE = 0.08
"""How far the puck may be off its centre without being held."""
CLOSE, OPEN = 0, 1
"""Its left and right button."""
PAUSE_S = 0.002
"""Between two looks for a report: it sends a hundred a second, and old ones must not pile up."""


class SpaceMouseOperator(HandDevice):
    """The puck moves the hand while it is off its centre; the left button closes the gripper, the
    right one opens it, both at once are the emergency stop.
    """

    def __init__(self, action_dim: int) -> None:
        """
        Raises:
            InputError: if the action has fewer than four dimensions, or pyspacemouse is missing.
        """
        super().__init__("spacemouse", action_dim)
        try:
            import pyspacemouse
        except ModuleNotFoundError as error:
            raise InputError(
                "operator=spacemouse: needs the package pyspacemouse; pip install "
                "'robopref[spacemouse]'"
            ) from error
        self._library: Any = pyspacemouse
        self._move, self._buttons = np.zeros(3), (False, False)
        self._gripper = 0.0
        self._lost = False
        self._ending = threading.Event()

    def open(self) -> None:
        """Looks for a SpaceMouse.

        Raises:
            InputError: if there is none, or it may not be read.
        """
        convention = self._library.AxisConvention.HID_Z_UP
        try:
            self._device = self._library.open(axis_convention=convention)
        except Exception as error:  # the library raises plain ones
            raise InputError(
                f"operator=spacemouse: {error}; plug it in by USB, install libhidapi-hidraw0, and "
                "let your user read /dev/hidraw* (a udev rule)"
            ) from error
        self._thread = threading.Thread(target=self._listen, daemon=True, name="spacemouse")
        self._thread.start()

    def close(self) -> None:
        """Lets it go."""
        self._ending.set()
        self._thread.join(1.0)
        self._device.close()

    def read(self) -> Action | None:
        """What puck and buttons say; None while they are let go, and when the device is gone."""
        close, open_ = self._buttons
        if close and open_:
            raise EmergencyStopError
        if close or open_:
            self._gripper = 1.0 if close else -1.0
        move = np.where(np.abs(self._move) < CENTRE, 0.0, self._move)
        if self._lost or not (move.any() or close or open_):
            return None
        return self.hand_action(move, self._gripper)

    def _listen(self) -> None:
        while not self._ending.is_set():
            try:
                state = self._device.read()
            except Exception:  # its cable is out: hands off, whatever it said last
                self._lost = True
                return
            self._move = np.array([state.x, state.y, state.z])
            self._buttons = bool(state.buttons[CLOSE]), bool(state.buttons[OPEN])
            self._ending.wait(PAUSE_S)

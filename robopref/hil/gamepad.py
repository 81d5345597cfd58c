"""A gamepad as a device, through pygame (SDL)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from robopref.errors import InputError
from robopref.hil.operators import Action, EmergencyStopError, HandDevice

LEFT_X, LEFT_Y, RIGHT_Y = 0, 1, 4
"""Axes of an Xbox pad as SDL numbers them; up is negative."""
SUCCESS, FAILURE, OPEN, CLOSE, BACK, START = 0, 1, 4, 5, 6, 7
"""Its buttons A, B, left and right shoulder, back and start."""
CENTRE = 0.12
"""How far a stick may be off its centre without being held."""


class GamepadOperator(HandDevice):
    """Left stick: away and back, left and right; right stick: up and down; shoulders: gripper.

    The person drives while a stick is off its centre or a shoulder is pressed. A is success, B
    failure, back and start each the emergency stop.
    """

    def __init__(self, action_dim: int) -> None:
        """
        Raises:
            InputError: if the action has fewer than four dimensions, or pygame is not installed.
        """
        super().__init__("gamepad", action_dim)
        # No window is wanted, and SDL reads no gamepad without a video driver.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ModuleNotFoundError as error:
            raise InputError(
                "operator=gamepad: needs the package pygame; pip install 'robopref[gamepad]'"
            ) from error
        self._pygame: Any = pygame
        self._axes = {LEFT_X: 0.0, LEFT_Y: 0.0, RIGHT_Y: 0.0}
        self._pressed: set[int] = set()
        self._gripper = 0.0

    def open(self) -> None:
        """Looks for a gamepad.

        Raises:
            InputError: if there is none.
        """
        self._pygame.init()
        if not self._pygame.joystick.get_count():
            self._pygame.quit()
            raise InputError("operator=gamepad: none is connected; plug one in and start again")
        self._device = self._pygame.joystick.Joystick(0)

    def close(self) -> None:
        """Lets it go."""
        self._pygame.quit()

    def read(self) -> Action | None:
        """What sticks and shoulders say; None while they are let go, and when the pad is gone."""
        pygame = self._pygame
        for event in pygame.event.get():
            if event.type == pygame.JOYAXISMOTION and event.axis in self._axes:
                self._axes[event.axis] = float(event.value)
            elif event.type == pygame.JOYBUTTONDOWN:
                self._press(event.button)
            elif event.type == pygame.JOYBUTTONUP:
                self._pressed.discard(event.button)
            elif event.type == pygame.JOYDEVICEREMOVED:  # hands off, whatever the sticks last said
                self._axes = dict.fromkeys(self._axes, 0.0)
                self._pressed.clear()
        if self._pressed & {BACK, START}:
            raise EmergencyStopError
        moves = np.array([self._axes[LEFT_X], -self._axes[LEFT_Y], -self._axes[RIGHT_Y]])
        moves[np.abs(moves) < CENTRE] = 0.0
        if not moves.any() and not self._pressed & {OPEN, CLOSE}:
            return None
        return self.hand_action(moves, self._gripper)

    def _press(self, button: int) -> None:
        self._pressed.add(button)
        if button in (OPEN, CLOSE):
            self._gripper = -1.0 if button == OPEN else 1.0
        if button in (SUCCESS, FAILURE):
            self._verdict = button == SUCCESS

"""Real arms: what an adapter owes, and an environment made of an arm and its cameras.

Adapters are in files of their own: franka.py, lerobot_devices.py. A `RobotServer` moves the
environment, within limits; so an adapter commands what it is told and keeps no limits of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from robopref.hil.cameras import Camera, StaleFrameError


class ArmError(Exception):
    """The arm or one of its cameras does not answer, or refuses."""


class Arm(Protocol):
    """An arm that is commanded by how its hand, or each of its joints, is to move."""

    @property
    def name(self) -> str:
        """For messages and datasets."""

    @property
    def joints(self) -> Sequence[str]:
        """Joints that are commanded one by one; none for an arm that is commanded by its hand."""

    @property
    def per_action(self) -> float:
        """How far an action of 1 moves the hand in one step, in metres, or a joint, in its unit."""

    @property
    def near(self) -> float:
        """How near to its home it has to come, in the same unit."""

    @property
    def state_dim(self) -> int:
        """`D`"""

    @property
    def action_dim(self) -> int:
        """`A`: the first three move the hand, the last is the gripper, closing above 0; or one
        number for each joint.
        """

    def state(self) -> NDArray[np.float32]:
        """(D,): what is measured now; the first are where the hand is, in metres, or the joints.

        Raises:
            ArmError: if the arm does not answer.
        """

    def reference(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """(3,) or (J,): where a command starts from, given the latest state; limits hold there."""

    def command(self, action: NDArray[np.float32]) -> None:
        """Moves by one control step's action (A,), from `reference`; returns at once.

        Raises:
            ArmError: if the arm does not answer.
        """

    def stop(self) -> None:
        """Stands still where it is; never raises."""

    def prepare(self) -> None:
        """Before an episode: clears errors and opens the gripper, and does not move the hand.

        Raises:
            ArmError: if the arm does not answer.
        """

    def close(self) -> None:
        """Ends the connection; never raises."""


class ArmEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """An arm, its cameras and a time limit. Nothing here knows when the task is done."""

    metadata = {"render_modes": []}

    def __init__(
        self,
        arm: Arm,
        home: NDArray[np.float32],
        horizon: int,
        cameras: Mapping[str, Camera],
        image_size: int,
    ) -> None:
        """
        Args:
            arm: what moves.
            home: (3,) where the hand goes before an episode, in metres; or (J,) the joints.
            horizon: steps of an episode.
            cameras: by name.
            image_size: of the cameras' pictures.
        """
        self.arm, self.home, self._horizon, self._cameras = arm, home, horizon, cameras
        numbers = Box(-np.inf, np.inf, (arm.state_dim,), np.float32)
        picture = Box(0, 255, (image_size, image_size, 3), np.uint8)
        pictures = {f"{name}_image": picture for name in cameras}
        self.observation_space = Dict({"flat": numbers, **pictures}) if cameras else numbers
        self.action_space = Box(-1.0, 1.0, (arm.action_dim,), np.float32)
        self.moves = len(arm.joints) or 3
        """How many numbers, the first of an action, are what moves."""
        self.env_args: dict[str, Any] = {
            "env_name": arm.name,
            "env_kwargs": {},
            "joints": list(arm.joints),
            "per_action": arm.per_action,
        }
        if not arm.joints:
            self.env_args["entities"] = {"hand": {"key": "flat", "first": 0}}
        self._steps = 0
        self._state = np.zeros(arm.state_dim, np.float32)

    @property
    def place(self) -> NDArray[np.float32]:
        """(moves,): where it is."""
        return self._state[: self.moves]

    @property
    def reference(self) -> NDArray[np.float32]:
        """(moves,): where a command starts from."""
        return self.arm.reference(self._state)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Prepares the arm, where it is; a `RobotServer` then moves the hand home."""
        super().reset(seed=seed)
        self.arm.prepare()
        self._steps = 0
        return self._observation(), {"success": False}

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """`command` and `observe`, without waiting in between."""
        self.command(action)
        return self.observe()

    def command(self, action: NDArray[np.float32]) -> None:
        """Begins a control step.

        Raises:
            ArmError: if the arm does not answer.
        """
        self.arm.command(action)
        self._steps += 1

    def observe(self) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """What `step` returns, at the end of a control step.

        Raises:
            ArmError: if the arm or a camera does not answer.
        """
        found = self._observation()
        return found, 0.0, False, self._steps >= self._horizon, {"success": False}

    def begin(self) -> Any:
        """The first observation, once the hand is home; no step has been made."""
        self._steps = 0
        return self._observation()

    def stop(self) -> None:
        """The arm stands still."""
        self.arm.stop()

    def close(self) -> None:
        """Stands still, and lets arm and cameras go."""
        self.arm.stop()
        self.arm.close()
        for camera in self._cameras.values():
            camera.close()

    def _observation(self) -> Any:
        state = self._state = self.arm.state()
        if not self._cameras:
            return state
        try:
            pictures = {f"{name}_image": camera.read() for name, camera in self._cameras.items()}
        except StaleFrameError as error:
            raise ArmError(str(error)) from error
        return {"flat": state, **pictures}

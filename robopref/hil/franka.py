"""A Franka arm behind the HTTP server of SERL and HIL-SERL (`franka_server.py`).

The server holds an impedance controller; it is asked for its state and given poses (place in metres
and a quaternion). The hand keeps the orientation that it had when an episode was prepared.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref.hil.arms import ArmError

GRIPPER_S = 0.6
"""Shortest time between two commands of the gripper, which would not finish the first one."""
GRIPPER_FROM = 0.5
"""Size of the gripper's action from which on it is a command."""
PARTS = {"pose": 7, "vel": 6, "force": 3, "torque": 3, "gripper_pos": 1}
"""Entries of the server's state that are observed, and their sizes."""


@dataclass
class FrankaConfig:
    """Where the arm's server is, and where an episode begins."""

    url: str = "http://127.0.0.1:5000"
    home: list[float] = field(default_factory=list)
    """Where the hand goes before an episode: three metres in the arm's frame."""
    timeout_s: float = 0.3
    """Longest wait for an answer."""

    def check(self) -> None:
        """Raises `InputError` unless the home is given."""
        if len(self.home) != 3:
            raise InputError(
                f"franka.home={self.home}: give the three metres where an episode begins"
            )
        if not self.url.startswith(("http://", "https://")) or self.timeout_s <= 0.0:
            raise InputError(
                f"franka.url={self.url}, timeout_s={self.timeout_s}: give an address such as "
                "http://127.0.0.1:5000, and a positive time"
            )


class FrankaArm:
    """See `Arm`."""

    name = "franka"
    joints: Sequence[str] = ()
    near = 0.01
    state_dim = sum(PARTS.values())
    action_dim = 4

    def __init__(self, config: FrankaConfig, per_action: float) -> None:
        """
        Args:
            config: where it is.
            per_action: how far an action of 1 moves the hand in one step.

        Raises:
            InputError: if the server does not answer, or is none of SERL's.
        """
        config.check()
        self._config, self.per_action = config, per_action
        self._gripper_since, self._closed = 0.0, False
        try:
            pose = self._pose(self._ask("getstate"))
        except ArmError as error:
            raise InputError(f"franka.url={config.url}: {error}; start franka_server.py") from error
        self._orientation = pose[3:]

    def state(self) -> NDArray[np.float32]:
        """(20,): pose, velocity, force, torque and gripper."""
        found = self._ask("getstate")
        self._pose(found)
        parts = [np.atleast_1d(np.asarray(found.get(name), np.float64)) for name in PARTS]
        wrong = [
            name
            for (name, size), part in zip(PARTS.items(), parts, strict=True)
            if part.shape != (size,) or not np.isfinite(part).all()
        ]
        if wrong:
            raise ArmError(f"the arm's server sends a state without sound {', '.join(wrong)}")
        return np.concatenate(parts).astype(np.float32)

    def reference(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """(3,): where the hand is."""
        return state[:3]

    def command(self, action: NDArray[np.float32]) -> None:
        """Moves the hand from where it is, and the gripper if it is told to and ready."""
        place = self._pose(self._ask("getstate"))[:3] + self.per_action * action[:3].astype(
            np.float64
        )
        self._ask("pose", {"arr": [*place.tolist(), *self._orientation.tolist()]})
        wish = float(action[-1])
        ready = time.monotonic() - self._gripper_since > GRIPPER_S
        if abs(wish) >= GRIPPER_FROM and (wish > 0.0) != self._closed and ready:
            self._grip(wish > 0.0)

    def stop(self) -> None:
        """Holds the pose that is measured now."""
        try:
            self._ask("pose", {"arr": self._pose(self._ask("getstate")).tolist()})
        except ArmError:  # what does not answer cannot be told; its own controller holds the pose
            return

    def prepare(self) -> None:
        """Clears errors and opens the gripper."""
        self._ask("clearerr")
        self._grip(False)
        self._orientation = self._pose(self._ask("getstate"))[3:]

    def close(self) -> None:
        """Nothing: every request is a connection of its own."""

    def _grip(self, close: bool) -> None:
        self._ask("close_gripper" if close else "open_gripper")
        self._closed, self._gripper_since = close, time.monotonic()

    def _pose(self, state: Any) -> NDArray[np.float64]:
        pose = np.asarray(state.get("pose") if isinstance(state, dict) else None, np.float64)
        if pose.shape != (7,) or not np.isfinite(pose).all():
            raise ArmError("the arm's server sends a state without a sound pose")
        return pose

    def _ask(self, path: str, values: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self._config.url.rstrip('/')}/{path}",
            json.dumps(values).encode() if values is not None else b"",
            {"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=self._config.timeout_s) as answer:
                content = answer.read()
        except (OSError, urllib.error.URLError, http.client.HTTPException) as error:
            raise ArmError(f"the arm's server does not answer {path} ({error})") from error
        try:
            return json.loads(content)
        except ValueError:  # commands are answered in words
            return content

"""A robot's server as an environment, for whoever drives it, and its emergency stop."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import grpc
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref.hil.link import Caller, LinkConfig
from robopref.hil.messages import ROBOT, decoded, encoded

log = logging.getLogger("robopref.hil")
RESET_S = 30.0
"""How long a robot may take to go where an episode begins."""
PATIENCE_S = 120.0
"""How long a driver waits for a robot's server that does not answer."""


class RemoteRobot(gymnasium.Env[Any, NDArray[np.float32]]):
    """A robot behind a `RobotServer` as an environment; the server keeps the time.

    An episode that the server broke off, by its watchdog or an emergency stop, is truncated;
    `info["stopped"]` says why. A robot that does not answer truncates it too.
    """

    metadata = {"render_modes": []}

    def __init__(self, link: LinkConfig, driver: str) -> None:
        """
        Args:
            link: where the robot's server is.
            driver: who drives.

        Raises:
            InputError: if it does not answer.
        """
        self._caller, self._driver = Caller(link, ROBOT), driver
        try:
            self.description = json.loads(self._caller.call("Describe").description)
        except grpc.RpcError as error:
            raise InputError(
                f"robot.address={link.address}: no robot answers ({error.details()}); start "
                "robopref hil robot first"
            ) from error
        self.env_args: dict[str, Any] = self.description["env_args"]
        self._size = int(self.description["observation_dim"])
        numbers = Box(-np.inf, np.inf, (self._size,), np.float32)
        self._images: dict[str, list[int]] = self.description["images"]
        pictures = {
            name: Box(0, 255, tuple(shape), np.uint8) for name, shape in self._images.items()
        }
        self.observation_space = Dict({"flat": numbers, **pictures}) if pictures else numbers
        self.action_space = Box(-1.0, 1.0, (int(self.description["action_dim"]),), np.float32)
        self._lease = ""
        self._last: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode.

        Raises:
            InputError: if the robot refuses, or does not answer within `PATIENCE_S`.
        """
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31)) if seed is None else seed
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                reply = self._caller.call("Reset", RESET_S, driver=self._driver, seed=drawn)
                break
            except grpc.RpcError as error:
                away = error.code() in (
                    grpc.StatusCode.UNAVAILABLE,
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                )
                if not away or time.monotonic() > end:
                    raise InputError(f"robot: cannot be reset ({error.details()})") from error
            time.sleep(0.5)
        self._lease = reply.lease
        self._last = self._observation(decoded(reply.state))
        return self._last, {"success": False}

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Commands one action and waits for the control step that carries it out."""
        command = encoded(action=np.asarray(action, np.float32))
        try:
            reply = self._caller.call("Step", lease=self._lease, action=command)
        except grpc.RpcError as error:
            reason = error.details() or "no answer"
            log.warning("the robot stopped: %s", reason)
            return self._last, 0.0, False, True, {"success": False, "stopped": reason}
        state = decoded(reply.state)
        self._last = self._observation(state)
        terminated, truncated, success = (bool(flag) for flag in state["flags"])
        info = {"success": success, "executed_action": state["action"]}
        return self._last, float(state["reward"][0]), terminated, truncated, info

    def _observation(self, state: Mapping[str, NDArray[Any]]) -> Any:
        """As the robot's own environment gives it; what cameras show has names."""
        if not self._images:
            return state["observation"]
        return {"flat": state["observation"], **{name: state[name] for name in self._images}}

    def emergency_stop(self, reason: str) -> None:
        """Has the arm stand still until it is released (`robopref hil release`)."""
        try:
            self._caller.call("Stop", reason=reason)
        except grpc.RpcError as error:  # its watchdog stops it then
            log.warning("the robot's server did not answer the emergency stop: %s", error.details())

    def close(self) -> None:
        """Ends the connection."""
        self._caller.close()


def emergency_stop(link: LinkConfig, release: bool = False) -> None:
    """Stops a robot whoever drives it, or lets it be driven again.

    Raises:
        InputError: if it does not answer.
    """
    caller = Caller(link, ROBOT)
    try:
        caller.call("Stop", reason="" if release else "asked for")
    except grpc.RpcError as error:
        raise InputError(f"robot.address={link.address}: {error.details()}") from error
    finally:
        caller.close()

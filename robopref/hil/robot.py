"""A robot behind a network: with limits, a watchdog and an emergency stop.

The server moves at its own rate: the first command of a control step is carried out when it comes,
what is there is seen at the step's end, and a command holds until the next one. When none has come
for the watchdog's time the arm stands still until it is reset. Limits apply to
whatever is commanded, by policy and person alike, and are counted. Here the arm is a simulated one,
stepped in real time; the way to it is the same.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from robopref.data.images import named_images
from robopref.errors import InputError
from robopref.evaluation.rollout import flatten
from robopref.hil.arms import ArmEnv, ArmError
from robopref.hil.link import LinkConfig, listen
from robopref.hil.messages import ROBOT, SERVICES, decoded, encoded

log = logging.getLogger("robopref.hil")
EMERGENCY, GOING_HOME = "emergency stop", "going home"
HOME_S = 20.0
"""How long an arm may take to where an episode begins."""


@dataclass
class LimitsConfig:
    """What the arm may do; it starts with none of the defaults, since a wrong one breaks things."""

    low: list[float] = field(default_factory=list)
    """Lowest corner of the box that the hand stays in, in metres; of an arm that is moved by its
    joints, the lowest that each may go, in their unit."""
    high: list[float] = field(default_factory=list)
    """Highest corner."""
    speed: float = 0.0
    """Fastest that the hand is commanded to move, in metres per second; of joints, all together
    (the root of the sum of squares)."""
    step: float = 0.0
    """Largest change of a command from one step to the next, in the action's unit."""
    per_action: float = 0.0
    """How far an action of 1 moves the hand, or a joint, in one step."""

    def check(self, joints: Sequence[str] = ()) -> None:
        """Raises `InputError` unless all are given; a robot does not start without."""
        box = len(self.low) == len(self.high) == (len(joints) or 3)
        if not box or not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            wanted = (
                f"how low and how high each of its joints may go ({', '.join(joints)})"
                if joints
                else "the box that its hand stays in: two corners of three metres each"
            )
            raise InputError(
                f"limits.low={self.low}, limits.high={self.high}: a robot does not start without "
                + wanted
            )
        for name in ("speed", "step", "per_action"):
            if not getattr(self, name) > 0.0:
                raise InputError(
                    f"limits.{name}={getattr(self, name)}: a robot does not start without it; give "
                    "a positive number"
                )


class Limiter:
    """Brings commands within the limits, and counts how often each had to."""

    def __init__(self, limits: LimitsConfig, rate_hz: float, joints: Sequence[str] = ()) -> None:
        limits.check(joints)
        self._limits, self._moves = limits, len(joints) or 3
        self.per_action = limits.per_action
        self._farthest = limits.speed / rate_hz / limits.per_action
        self.counts = {"box": 0, "speed": 0, "step": 0}
        self._before: NDArray[np.float32] | None = None

    def start(self) -> None:
        """The arm stands still."""
        self._before = None

    def allowed(self, action: NDArray[np.float32], hand: NDArray[Any]) -> NDArray[np.float32]:
        """(A,): the action nearest to this one that keeps all limits.

        Args:
            action: (A,), the first three of which move the hand; or one for each joint.
            hand: (3,) where it is, in metres; or the joints.
        """
        action = np.clip(action, -1.0, 1.0).astype(np.float32)
        before = np.zeros_like(action) if self._before is None else self._before
        stepped = np.clip(action, before - self._limits.step, before + self._limits.step)
        self.counts["step"] += bool((stepped != action).any())
        length = float(np.linalg.norm(stepped[: self._moves]))
        if length > self._farthest:
            self.counts["speed"] += 1
            stepped[: self._moves] *= self._farthest / length
        scale = self._limits.per_action
        lowest = (np.array(self._limits.low) - hand) / scale
        highest = (np.array(self._limits.high) - hand) / scale
        # A hand outside is brought back no faster than the speed allows.
        wanted = stepped[: self._moves]
        inside = np.clip(wanted, lowest, np.maximum(highest, lowest))
        inside = np.clip(inside, -self._farthest, self._farthest).astype(np.float32)
        self.counts["box"] += bool((inside != wanted).any())
        stepped[: self._moves] = inside
        self._before = stepped
        return stepped


class RobotServer:
    """Moves one environment in real time by what its driver commands."""

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        link: LinkConfig,
        limits: LimitsConfig,
        rate_hz: float,
        watchdog_s: float,
    ) -> None:
        """
        Args:
            env: whose `env_args` name the hand among its `entities`.
            link: where to listen.
            limits: of every command.
            rate_hz: control steps per second.
            watchdog_s: longest time without a command.

        Raises:
            InputError: if the environment does not say where the hand is, or the address cannot be
                had.
        """
        if rate_hz <= 0.0 or watchdog_s <= 0.0:
            raise InputError(f"rate_hz={rate_hz}, watchdog_s={watchdog_s}: must be positive")
        self._env, self._period, self._watchdog_s = env, 1.0 / rate_hz, watchdog_s
        self._arm = env.unwrapped if isinstance(env.unwrapped, ArmEnv) else None
        self.limiter = Limiter(limits, rate_hz, self._arm.arm.joints if self._arm else ())
        space, arguments = env.action_space, getattr(env.unwrapped, "env_args", {})
        hand = arguments.get("entities", {}).get("hand")
        if (hand is None and not self._arm) or not isinstance(space, Box):
            raise InputError("env=: this environment does not say where its hand is (entities)")
        self._hand, self._action_dim = hand, space.shape[0]
        # A real arm does not move because somebody asks what it sees.
        found = self._arm.begin() if self._arm else env.reset(seed=0)[0]
        self._description = json.dumps({
            "env_args": arguments,
            "observation_dim": len(flatten(found)),
            "action_dim": self._action_dim,
            "rate_hz": rate_hz,
            "watchdog_s": watchdog_s,
            "images": {name: list(image.shape) for name, image in named_images(found).items()},
        })  # fmt: skip
        self._lock = threading.Condition()
        self._lease, self._driver = "", ""
        self.stopped = "not reset yet"
        """Why the arm stands still; empty while it is driven."""
        self.stops: list[tuple[str, float]] = []
        """Each stop's reason, and how long after the last command it came, in seconds."""
        self._command: NDArray[np.float32] = np.zeros(self._action_dim, np.float32)
        # How many came, and which of them was carried out, and observed, last.
        self._commands = self._sent = self._done = 0
        self._action = self._command
        self._result: Any = None
        self._heard = time.monotonic()
        self._found: Any = None
        self._state = b""
        self._ending = False
        methods = {"Describe": self._describe, "Reset": self._reset, "Step": self._step}
        methods["Stop"] = self._stop
        self._server, self.port = listen(link, ROBOT, methods)
        self._thread = threading.Thread(target=self._control, daemon=True, name="control")
        self._thread.start()

    def stop(self, reason: str) -> None:
        """The arm stands still from now on; an emergency stop must be released before a reset."""
        with self._lock:
            self._hold(reason)

    def close(self) -> None:
        """Ends the server."""
        self.stop("the server ends")
        self._ending = True
        self._thread.join(2.0)
        self._server.stop(0.5).wait()

    def _control(self) -> None:
        due = time.monotonic() + self._period
        while not self._ending:
            with self._lock:
                acted = self._until(due)
                if self._commands and not self.stopped:
                    if not acted:  # the command before holds
                        self._act()
                    if self._sent and not self.stopped:  # a reset may have come in between
                        self._observe()
                self._lock.notify_all()
            due = max(due + self._period, time.monotonic())

    def _until(self, due: float) -> bool:
        """Carries out the first command that comes; the watchdog looks more often than that."""
        acted = False
        while not self._ending:
            if not self.stopped:
                self._watch()
            if not (self.stopped or acted) and self._commands > self._sent:
                self._act()
                acted = True
            left = due - time.monotonic()
            if left <= 0.0:
                break
            self._lock.wait(min(left, 0.01))
        return acted

    def _watch(self) -> None:
        if time.monotonic() - self._heard > self._watchdog_s:
            self._hold(f"no command for {self._watchdog_s:g} s")
            self._lock.notify_all()

    def _act(self) -> None:
        """The latest command, within the limits."""
        self._sent = self._commands
        self._action = self.limiter.allowed(self._command, self._place())
        try:
            if self._arm:
                self._arm.command(self._action)
            else:
                self._result = self._env.step(self._action)
        except ArmError as error:
            self._hold(str(error))

    def _observe(self) -> None:
        """What came of it, at the end of its control step."""
        try:
            if self._arm:
                self._result = self._arm.observe()
        except ArmError as error:
            self._hold(str(error))
            return
        self._found, reward, terminated, truncated, info = self._result
        self._state = encoded(
            observation=flatten(self._found),
            **named_images(self._found),
            action=self._action,
            reward=np.float32(reward),
            flags=np.array([terminated, truncated, bool(info.get("success", False))]),
        )
        self._done = self._sent
        if terminated or truncated:
            self._hold("the episode has ended")

    def _hold(self, reason: str) -> None:
        if self.stopped in (EMERGENCY, reason):
            return
        if not self.stopped:
            since = time.monotonic() - self._heard
            self.stops.append((reason, since))
            log.info("the arm stands still %.3f s after its last command: %s", since, reason)
            if self._arm:  # a simulated one stands when it is not stepped
                self._arm.stop()
        self.stopped = reason
        self._command = np.zeros(self._action_dim, np.float32)

    def _place(self) -> NDArray[Any]:
        """Where the hand is, or what a real arm's commands start from."""
        if self._arm:
            return self._arm.reference
        key, first = self._hand["key"], int(self._hand["first"])
        flat = self._found[key] if isinstance(self._found, dict) else self._found
        position: NDArray[Any] = np.asarray(flat).reshape(-1)[first : first + 3]
        return position

    def _describe(self, request: Any, context: grpc.ServicerContext) -> Any:
        return SERVICES[ROBOT]["Describe"][1](description=self._description)

    def _reset(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            driven = not self.stopped and request.driver != self._driver
            if driven or self.stopped == GOING_HOME:
                context.abort(
                    grpc.StatusCode.ALREADY_EXISTS, f"{self._driver!r} is driving this robot"
                )
            if self.stopped == EMERGENCY:
                context.abort(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    "the emergency stop is on; robopref hil release takes it off",
                )
            self._lease, self._driver = secrets.token_hex(16), request.driver
            self.limiter.start()
            try:
                self._found, _ = self._env.reset(seed=request.seed)
                if self._arm:
                    self._go_home(self._arm)
            except ArmError as error:
                self._hold(str(error))
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            self._commands = self._sent = self._done = 0
            self._heard, self.stopped = time.monotonic(), ""
            state = encoded(observation=flatten(self._found), **named_images(self._found))
            return SERVICES[ROBOT]["Reset"][1](lease=self._lease, state=state)

    def _go_home(self, arm: ArmEnv) -> None:
        """Moves to where episodes begin, within the limits; an emergency stop ends it."""
        self.stopped, end = GOING_HOME, time.monotonic() + HOME_S
        scale = self.limiter.per_action
        while np.abs(arm.home - arm.place).max() > arm.arm.near:
            if self.stopped != GOING_HOME or time.monotonic() > end:
                arm.stop()
                raise ArmError(f"the arm did not get home ({self.stopped})")
            move = np.zeros(self._action_dim, np.float32)
            away = arm.home - arm.reference
            move[: arm.moves] = np.clip(away / scale, -1.0, 1.0)
            arm.command(self.limiter.allowed(move, arm.reference))
            self._lock.wait_for(lambda: self.stopped != GOING_HOME, self._period)
            self._found, *_ = arm.observe()
        arm.stop()
        self.limiter.start()
        self._found = arm.begin()

    def _step(self, request: Any, context: grpc.ServicerContext) -> Any:
        action = decoded(request.action).get("action", np.zeros(0))
        with self._lock:
            if request.lease != self._lease:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "somebody else has reset it")
            if action.shape != (self._action_dim,) or not np.isfinite(action).all():
                context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"an action has {self._action_dim} finite numbers",
                )
            if self.stopped:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.stopped)
            self._commands += 1
            own = self._commands
            self._command, self._heard = action.astype(np.float32), time.monotonic()
            self._lock.notify_all()
            while self._done < own and not self.stopped:
                self._lock.wait(1.0)
            if self._done < own:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.stopped)
            return SERVICES[ROBOT]["Step"][1](state=self._state)

    def _stop(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            if request.reason:
                self._hold(EMERGENCY)
                self.stopped = EMERGENCY
            elif self.stopped == EMERGENCY:
                self.stopped = "released; reset it"
            self._lock.notify_all()
        return SERVICES[ROBOT]["Stop"][1]()

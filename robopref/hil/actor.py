"""The actor of a session: it drives the robot, by the policy or by a person, at a fixed rate.

Each step is in the actor's own file before anything else happens to it. A thread of its own sends
what the learner lacks and fetches new weights; the robot never waits for the network.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from robopref.data.images import camera_images
from robopref.errors import InputError
from robopref.evaluation.rollout import flatten
from robopref.hil.link import DEADLINE_S, LinkClient, permanent
from robopref.hil.log import StepLog
from robopref.hil.operators import EmergencyStopError, Teleoperator
from robopref.hil.steps import Steps, one_step
from robopref.networks.persistence import WEIGHTS
from robopref.policies.base import Policy
from robopref.policies.registry import load_policy
from robopref.seeding import torch_generator

log = logging.getLogger("robopref.hil")
SWAP_STEP, SWAP_EPISODE = "step", "episode"
SILENCE_S = 2.0
"""Longest time without a sign of life to the learner."""
RETRY_S = 1.0


@dataclass
class ActingConfig:
    """How the robot is driven."""

    rate_hz: float = 0.0
    """Steps per second; 0 for as many as the simulator makes."""
    swap: str = SWAP_EPISODE
    """When new weights are taken: at the next step, or at the next episode."""
    end_at_success: bool = True
    """Whether success ends an episode and is all the reward there is, as a classifier's would be;
    otherwise the environment's own reward and length count."""
    seed: int = 0
    """Seed of starts and actions."""

    def __post_init__(self) -> None:
        if self.rate_hz < 0 or self.seed < 0:
            raise InputError(
                f"acting.rate_hz={self.rate_hz}, acting.seed={self.seed}: must be at least 0"
            )
        if self.swap not in (SWAP_STEP, SWAP_EPISODE):
            raise InputError(f"acting.swap={self.swap}: choose {SWAP_STEP} or {SWAP_EPISODE}")


class Acts(Protocol):
    """What chooses actions while the hands are off, such as a `Policy`."""

    def act(
        self,
        observations: NDArray[np.float32],
        deterministic: bool = True,
        generator: torch.Generator | None = None,
    ) -> NDArray[np.float32]:
        """(B, A) actions from flat observations (B, D); one that looks takes `images` too."""


Judge = Callable[[NDArray[np.float32], NDArray[np.uint8] | None], bool]
"""Whether the task is done, from an observation (D,) and its images (C, H, W)."""


class Kept(Protocol):
    """Where an actor's steps go first: a `StepLog`, or the learner itself in the same process."""

    @property
    def last(self) -> int:
        """Sequence number of the last step; 0 when there is none."""

    def append(self, steps: Steps) -> int:
        """Keeps what is new of these steps, and returns the number of the last one."""


@dataclass
class EpisodeOutcome:
    """What came of one episode."""

    steps: int
    success: bool
    intervened: int
    """Steps that a person chose."""
    takeovers: int
    """Times that a person began to."""
    disagreed: bool = False
    """Whether the person called it otherwise than the environment or the classifier."""


@dataclass
class Pace:
    """How well the rate was kept."""

    errors_ms: list[float] = field(default_factory=list)
    """Of each step: how late it began."""


class Actor:
    """Plays episodes; `play` plays one."""

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        policy: Acts,
        version: int,
        operator: Teleoperator,
        steps: Kept,
        config: ActingConfig,
        on_step: Callable[[Steps], None] = lambda steps: None,
        looks: bool = False,
        judge: Judge | None = None,
    ) -> None:
        """
        Args:
            env: actions in [-1, 1].
            policy: acts, with random actions of its own.
            version: of its weights.
            operator: corrects it.
            steps: gets every step.
            config: how.
            on_step: told each step once it is in the file.
            looks: whether the policy is given the observations' images, and steps hold them.
            judge: says whether the task is done; the environment does when None.
        """
        self.env, self.operator, self.log, self.config = env, operator, steps, config
        self.pace = Pace()
        self._policy, self._version = policy, version
        self.on_step = on_step
        self._looks, self._judge = looks, judge
        self._newest: tuple[Acts, int] | None = None
        self._generator = torch_generator(config.seed, "actor")
        self._generator.manual_seed(self._generator.initial_seed() + steps.last)

    def offer(self, policy: Acts, version: int) -> None:
        """New weights, to be taken when the config says so. May be called from another thread."""
        self._newest = (policy, version)

    def play(self) -> EpisodeOutcome:
        """Plays one episode to its end, or until the operator calls it a success or a failure.

        Raises:
            EmergencyStopError: if the operator asks for it; the robot stands still by then.
        """
        self._take_newest()
        seed = np.random.SeedSequence([self.config.seed, self.log.last])
        found, _ = self.env.reset(seed=int(seed.generate_state(1)[0]))
        observation, start = flatten(found), True
        images = camera_images(found) if self._looks else None
        self.operator.start(found)
        outcome = EpisodeOutcome(0, False, 0, 0)
        before, due = False, time.monotonic()
        while True:
            if self.config.rate_hz:
                due = self._wait(due)
            if self.config.swap == SWAP_STEP:
                self._take_newest()
            seen = {} if images is None else {"images": images[None]}
            proposed = self._policy.act(observation[None], False, self._generator, **seen)[0]
            correction = self._read()
            action = proposed if correction is None else np.asarray(correction, np.float32)
            found, reward, terminated, truncated, info = self.env.step(action)
            if "stopped" in info:  # the robot did not carry it out, so there is no step
                return outcome
            following, success = flatten(found), bool(info.get("success", False))
            next_images = camera_images(found) if self._looks else None
            if self._judge is not None:
                success = self._judge(following, next_images)
            action = info.get("executed_action", action)  # a robot's limits may have changed it
            self.operator.watch(found, float(reward), success)
            if self.operator.shows and self.env.render_mode:
                self.operator.show(self.env.render())
            verdict = self.operator.verdict()
            if verdict is not None:
                outcome.disagreed = verdict != success
                success, terminated = verdict, True
            if self.config.end_at_success:
                reward, terminated = float(success), terminated or success
            step = one_step(
                self.log.last + 1, start, observation, action, proposed, float(reward), following,
                terminated=bool(terminated), truncated=bool(truncated and not terminated),
                success=success, intervened=correction is not None, version=self._version,
                images=images, next_images=next_images,
            )  # fmt: skip
            self.log.append(step)
            self.on_step(step)
            took_over = correction is not None
            outcome.steps += 1
            outcome.success |= success
            outcome.intervened += took_over
            outcome.takeovers += took_over and not before
            before, observation, images, start = took_over, following, next_images, False
            if terminated or truncated:
                return outcome

    def _read(self) -> NDArray[np.float32] | None:
        try:
            return self.operator.read()
        except EmergencyStopError:
            stop = getattr(self.env, "emergency_stop", None)
            if stop is not None:  # a simulation stands still when nobody steps it
                stop("the operator's device")
            raise

    def _wait(self, due: float) -> float:
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)
        late = time.monotonic() - due
        self.pace.errors_ms.append(1e3 * late)
        period = 1.0 / self.config.rate_hz
        # After a step that took too long the pace goes on from there, and hurries after nothing.
        return due + period if late < period else time.monotonic() + period

    def _take_newest(self) -> None:
        newest, self._newest = self._newest, None
        if newest is not None:
            self._policy, self._version = newest


class Sender(threading.Thread):
    """Brings steps to the learner and weights back, through every break of the connection."""

    def __init__(
        self, client: LinkClient, steps: StepLog, on_weights: Callable[[Policy, int], None]
    ) -> None:
        super().__init__(daemon=True, name="sender")
        self._client, self._log, self._on_weights = client, steps, on_weights
        self._ending = threading.Event()
        self._wake = threading.Event()
        self.connected = False
        self.failure = ""
        """What is wrong for good; the actor goes on without the learner."""
        self.stored = 0
        """Steps that the learner has."""
        self._version = 0
        self._give_up = 0.0  # when to stop trying, once it is ending

    def notice(self, steps: Steps) -> None:
        """There is a step to send."""
        self._wake.set()

    def run(self) -> None:
        """Until `finish`, or for as long as nothing is wrong for good."""
        while not self.failure and not (self._ending.is_set() and self._over):
            try:
                self.stored, newest = self._client.open()
                self.connected = True
                self._fetch(newest)
                self._send_all()
            except grpc.RpcError as error:
                if self.connected:
                    log.warning("lost the learner; steps are kept until it is back")
                self.connected, self.failure = False, permanent(error)
                time.sleep(RETRY_S)
        self.connected = False

    @property
    def _over(self) -> bool:
        """Whether there is nothing left to do, or no time for it."""
        return self._complete or time.monotonic() > self._give_up

    @property
    def _complete(self) -> bool:
        """Whether the learner has every step."""
        return self.stored >= self._log.last

    def _send_all(self) -> None:
        while True:
            steps = self._log.after(self.stored)
            if steps is not None:
                self.stored, newest = self._client.push(steps.to_bytes())
            elif self._ending.is_set():
                return
            else:
                self._wake.clear()
                if self._complete:
                    self._wake.wait(SILENCE_S)
                if not self._complete or self._ending.is_set():
                    continue
                _, newest = self._client.push()
            self._fetch(newest)

    def _fetch(self, newest: int) -> None:
        if newest > self._version:
            version, weights, description = self._client.weights()
            self._on_weights(received_policy(weights, description), version)
            self._version = version

    def finish(self, timeout_s: float) -> bool:
        """Sends what is left, for so long at most; says whether the learner has all."""
        self._give_up = time.monotonic() + timeout_s
        self._ending.set()
        self._wake.set()
        self.join(timeout_s + DEADLINE_S)
        return self._complete


def received_policy(weights: bytes, description: str) -> Policy:
    """A policy from what the learner sends.

    Raises:
        InputError: if that is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "policy.json").write_text(description, encoding="utf-8")
        (Path(folder) / WEIGHTS).write_bytes(weights)
        return load_policy(folder)


def first_policy(client: LinkClient, timeout_s: float) -> tuple[Policy, int]:
    """The learner's newest policy, waiting for the learner for so long at most.

    Raises:
        InputError: if it does not answer, or refuses.
    """
    end = time.monotonic() + timeout_s
    while True:
        try:
            client.open()
            version, weights, description = client.weights()
            return received_policy(weights, description), version
        except grpc.RpcError as error:
            reason = permanent(error)
            if reason:
                raise InputError(f"the learner refuses: {reason}") from error
            if time.monotonic() > end:
                raise InputError(
                    f"no learner answers within {timeout_s:.0f} s ({error.code().name.lower()}: "
                    f"{error.details()}); start robopref hil learner first, or mend link.address="
                ) from error
            time.sleep(RETRY_S)

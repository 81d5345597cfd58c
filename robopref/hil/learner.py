"""The learner of a session: it stores what actors send, learns from it, and hands out weights.

RLPD (Ball et al. 2023, arXiv 2302.02948) as HIL-SERL runs it (Luo et al. 2024, arXiv 2410.21845,
section 3): half of every batch comes from demonstrations and from the steps that a person chose,
the other half from all of the robot's own. Steps are on the disk before they are acknowledged; the
replay is made anew from there after a restart, so that a checkpoint holds the policy alone.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.images import seen
from robopref.data.replay import ReplayBuffer
from robopref.errors import InputError
from robopref.hil.log import StepLog
from robopref.hil.rewards import SessionReward, takeovers
from robopref.hil.steps import Sizes, Steps
from robopref.hil.watch import Watch
from robopref.networks.persistence import model_description
from robopref.policies.base import Policy
from robopref.policies.recorded import RecordedUpdates
from robopref.seeding import torch_generator
from robopref.training.checkpoint import restore_checkpoint, save_checkpoint
from robopref.training.offline import check_metrics

PAID_AT_ONCE = 20_000
"""Steps whose learned rewards are predicted at once; bounds memory."""
STEPS_FOLDER, CHECKPOINTS_FOLDER = "steps", "checkpoints"


@dataclass
class LearningConfig:
    """How much is learned from how many steps."""

    batch_size: int = 256
    demonstrations_share: float = 0.5
    """Share of each batch from demonstrations and corrections."""
    n_step: int = 5
    """Steps of a critic's target: success is known further ahead sooner, and what was done in
    between counts as if the policy had chosen it."""
    start_steps: int = 100
    """Steps of the robot before learning starts."""
    pretraining_updates: int = 0
    """Updates on the demonstrations alone before the first step."""
    updates_per_step: float = 1.0
    """Most updates per step of the robot; 0 for as many as the machine can make."""
    publish_every: int = 50
    """Updates between two versions of the weights."""
    checkpoint_every: int = 2_000
    """Updates between two checkpoints."""
    replay_capacity: int = 200_000
    """Most observations kept in memory; older ones make room."""
    seed: int = 0
    """Seed of weights and batches."""

    def __post_init__(self) -> None:
        least = {
            "batch_size": 2,
            "n_step": 1,
            "start_steps": 1,
            "updates_per_step": 0,
            "publish_every": 1,
        }
        least |= {"pretraining_updates": 0, "checkpoint_every": 1, "replay_capacity": 2, "seed": 0}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise InputError(
                    f"learning.{name}={getattr(self, name)}: must be at least {minimum}"
                )
        if not 0.0 <= self.demonstrations_share <= 1.0:
            raise InputError(
                f"learning.demonstrations_share={self.demonstrations_share}: must lie in [0, 1]"
            )


class SessionLearner:
    """One session's steps, replay and policy. Calls of the network come from other threads."""

    def __init__(
        self,
        policy: Policy,
        config: LearningConfig,
        folder: Path,
        demonstrations: TrajectoryDataset | None = None,
        reward: SessionReward | None = None,
    ) -> None:
        """Goes on with the session in `folder`, if there is one; `reward` pays beside success.

        Raises:
            InputError: if it holds a session of other sizes or settings.
        """
        self.policy, self.config, self.folder = policy, config, folder
        self._sizes = Sizes(policy.observation_dim, policy.action_dim, policy.image_shape or (0,))
        self._generator = torch_generator(config.seed, "hil", policy.device)
        self._recorded = RecordedUpdates(policy, self._generator)
        self.replay = ReplayBuffer(
            config.replay_capacity, policy.observation_dim, policy.action_dim, demonstrations,
            policy.device, image_shape=policy.image_shape, see=policy.see,
        )  # fmt: skip
        self._reward = reward
        self._takeovers = 0
        self._by_hand: dict[str, bool] = {}
        """Whether a person drove in the latest step of each actor."""
        self._logs: dict[str, StepLog] = {}
        self._arrived: collections.deque[tuple[str, Steps]] = collections.deque()
        self._latest = ""  # actor whose step came last
        self._seen: dict[str, NDArray[Any]] = {}
        """What is kept of each actor's latest images."""
        self._lock = threading.Lock()
        self.watch = Watch()
        """What the session's page shows."""
        self.steps = 0
        """Steps of the robot that are in the replay."""
        settings = {
            name: value
            for name, value in dataclasses.asdict(config).items()
            if name not in ("checkpoint_every", "publish_every")
        } | {"policy": dataclasses.asdict(policy.config)}
        self._settings = json.loads(json.dumps(settings))
        self.updates = restore_checkpoint(
            folder / CHECKPOINTS_FOLDER, policy, self._generator, self._settings
        )
        for path in sorted((folder / STEPS_FOLDER).glob("*.steps")):
            log = self._log(path.stem)
            if (steps := log.all()) is not None:
                self._arrived.append((path.stem, steps))
        if reward is not None and demonstrations is not None:
            rows = self.replay.demonstration_rows
            paid = torch.from_numpy(reward.pay_dataset(demonstrations)).to(self.replay.rewards)
            self.replay.rewards[rows] = self.replay.true_rewards[rows] + paid
        self._metrics: list[dict[str, Tensor]] = []
        self._published: tuple[int, bytes, str] = (0, b"", "")
        self._version = 0
        self.absorb()
        if demonstrations is not None:
            while self.updates < config.pretraining_updates:
                self._update(1.0)
        self.publish()

    @property
    def version(self) -> int:
        """Of the newest weights; higher after each restart, too."""
        return self._version

    def open(self, actor: str, sizes: Sizes) -> int:
        """See `link.Receiver`."""
        if sizes[:2] != self._sizes[:2]:
            raise InputError(
                f"actor {actor}: has {sizes[0]} observation and {sizes[1]} action "
                f"features, the learner {self._sizes[0]} and {self._sizes[1]}; give both the same "
                "environment"
            )
        if sizes.image_shape != self._sizes.image_shape:
            raise InputError(
                f"actor {actor}: has images {sizes.image_shape}, the learner "
                f"{self._sizes.image_shape}; give both the same cameras= and image_size="
            )
        if not actor or not all(letter.isalnum() or letter in "-_" for letter in actor):
            raise InputError(f"actor {actor!r}: a name has letters, digits, - and _ only")
        return self.last(actor)

    def last(self, actor: str) -> int:
        """The number of the last step that is stored of an actor."""
        return self._log(actor).last

    def store(self, actor: str, steps: bytes) -> int:
        """See `link.Receiver`."""
        return self.receive(actor, Steps.from_bytes(steps, self._sizes, f"actor {actor}"))

    def receive(self, actor: str, steps: Steps, durable: bool = True) -> int:
        """Stores steps and returns the number of the last one; those known are passed over."""
        log = self._log(actor)
        with self._lock:
            before = log.last
            stored = log.append(steps, durable)
            new = steps[max(before + 1 - int(steps.sequence[0]), 0) :]
            if len(new):
                self._arrived.append((actor, new))
        return stored

    def alive(self, actor: str) -> None:
        """See `link.Receiver`."""
        self.watch.alive(actor)

    @property
    def paused(self) -> bool:
        """See `link.Receiver`."""
        return self.watch.paused

    def weights(self) -> tuple[int, bytes, str]:
        """See `link.Receiver`."""
        return self._published

    def absorb(self) -> None:
        """Takes what has arrived into the replay."""
        while self._arrived:
            actor, steps = self._arrived.popleft()
            self.watch.see(actor, steps)
            paid = steps.rewards
            if self._reward is not None:
                paid = paid + self._reward.pay_steps(actor, steps)
            firsts, following = iter(self._kept(steps.first_images)), self._kept(steps.next_images)
            for row in range(len(steps)):
                if steps.starts[row]:
                    self._seen[actor] = next(firsts)
                # Rows of an episode follow each other; another actor's steps are another run.
                if steps.starts[row] or actor != self._latest:
                    self.replay.add_reset(steps.observations[row], self._seen[actor])
                self._latest, self._seen[actor] = actor, following[row]
                self.replay.add_step(
                    steps.actions[row],
                    float(steps.rewards[row]),
                    steps.next_observations[row],
                    bool(steps.terminated[row]),
                    bool(steps.success[row]),
                    learned_reward=float(paid[row]),
                    intervened=bool(steps.intervened[row]),
                    images=following[row],
                )
            self.steps += len(steps)
            self._takeovers += takeovers(steps, self._by_hand.get(actor, False))
            self._by_hand[actor] = bool(steps.intervened[-1])
            self._learn_reward()

    def _kept(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """What the policy keeps of images (N, C, H, W)."""
        return seen(self.policy.see, images, self.policy.device) if images.size else images

    def _learn_reward(self) -> None:
        """From the corrections, if it is time, and pays every step anew."""
        reward, count = self._reward, self._takeovers
        if reward is not None and reward.is_due(count) and reward.learn(self.session(), count):
            self._pay_anew(reward)

    def _pay_anew(self, reward: SessionReward) -> None:
        replay = self.replay
        for rows in replay.valid.nonzero()[:, 0].split(PAID_AT_ONCE):
            steps = replay.observations[rows].cpu().numpy(), replay.actions[rows].cpu().numpy()
            paid = torch.from_numpy(reward.pay(*steps)).to(replay.rewards)
            replay.rewards[rows] = replay.true_rewards[rows] + paid

    def learn(self) -> bool:
        """Makes one update if one is due, and says whether it did."""
        self.absorb()
        config = self.config
        if self.steps < config.start_steps:
            return False
        due = (self.steps - config.start_steps + 1) * config.updates_per_step
        if config.updates_per_step and self.updates >= due + config.pretraining_updates:
            return False
        known = len(self.replay.demonstration_rows) or self.replay.corrected
        share = config.demonstrations_share
        if not known and share == 1.0:
            return False
        self._update(share if known else 0.0)
        if self.updates % config.publish_every == 0:
            self.publish()
        if self.updates % config.checkpoint_every == 0:
            self.checkpoint()
        return True

    def _update(self, demonstrations: float) -> None:
        size = self.config.batch_size * self.policy.batches_per_update
        batch = self.replay.sample(
            size, self._generator, self.policy.discount, self.config.n_step, demonstrations
        )
        self._metrics.append(self._recorded.from_batch(batch))
        self.updates += 1

    def publish(self) -> None:
        """Makes the present weights the newest version."""
        # One above what any step says, so that versions grow over restarts as well.
        known = max((log.newest_version for log in self._logs.values()), default=0)
        version = max(self._version, known) + 1
        state = {
            name: value.detach().cpu().contiguous()
            for name, value in self.policy.state_dict().items()
        }
        weights = safetensors.torch.save(state)
        description = json.dumps(model_description(self.policy, "policy"))
        self._published = (version, weights, description)
        self._version = version

    def checkpoint(self) -> None:
        """Keeps the policy as it is."""
        folder = self.folder / CHECKPOINTS_FOLDER
        save_checkpoint(folder, self.policy, self._generator, self.updates, self._settings)

    def take_metrics(self) -> dict[str, float]:
        """Means of the updates since the last call.

        Raises:
            InputError: if the training diverged.
        """
        metrics: dict[str, float] = {}
        if self._metrics:
            rows = torch.stack([torch.stack(list(each.values())) for each in self._metrics])
            means = rows.double().mean(0).tolist()
            metrics = dict(zip(self._metrics[0], means, strict=True))
            check_metrics(metrics, self.updates, len(self._metrics))
            self._metrics = []
        return metrics

    def session(self) -> list[Steps]:
        """All steps of each actor.

        Raises:
            InputError: if there is none yet.
        """
        found = [steps for log in self._logs.values() if (steps := log.all()) is not None]
        if not found:
            raise InputError(f"{self.folder}: the session has no step yet")
        return found

    def close(self) -> None:
        """Ends the session; its steps are on the disk."""
        for log in self._logs.values():
            log.close()

    def _log(self, actor: str) -> StepLog:
        with self._lock:
            if actor not in self._logs:
                path = self.folder / STEPS_FOLDER / f"{actor}.steps"
                self._logs[actor] = StepLog(path, *self._sizes)
            return self._logs[actor]


class OwnSteps:
    """The steps of an actor in the learner's own process: one file for both."""

    def __init__(self, session: SessionLearner, actor: str) -> None:
        self._session, self._actor = session, actor

    @property
    def last(self) -> int:
        """Sequence number of the last step; 0 when there is none."""
        return self._session.last(self._actor)

    def append(self, steps: Steps) -> int:
        """Stores them with the learner; the disk is waited for when the session ends."""
        return self._session.receive(self._actor, steps, durable=False)


def intervention_rates(steps: Steps) -> NDArray[np.float64]:
    """(E,): share of each episode's steps that a person chose."""
    bounds = np.flatnonzero(steps.starts)
    lengths = np.diff([*bounds, len(steps)])
    rates: NDArray[np.float64] = np.add.reduceat(steps.intervened.astype(float), bounds) / lengths
    return rates

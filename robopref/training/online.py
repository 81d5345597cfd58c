"""Learning a policy while it acts: one environment, a replay buffer, updates after every step.

With demonstrations, half of each batch comes from them (RLPD: Ball et al. 2023, arXiv 2302.02948,
Algorithm 1). Episodes are never cut by a checkpoint, and each starts from a seed that follows from
the run's seed and the step alone, so no state of the simulator has to be kept.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.images import camera_images, seen
from robopref.data.replay import ReplayBuffer
from robopref.environments import make_env, without_pictures
from robopref.errors import InputError
from robopref.evaluation.rollout import NOTHING_LEARNED, flatten
from robopref.policies.base import Policy
from robopref.policies.recorded import RecordedUpdates
from robopref.seeding import torch_generator
from robopref.training.checkpoint import Companion, restore_checkpoint, save_checkpoint
from robopref.training.evaluated import (
    EvaluationConfig,
    evaluations_on_the_way,
    save_and_evaluate,
)
from robopref.training.logger import MetricsLogger
from robopref.training.offline import check_metrics
from robopref.training.resets import DatasetResets


@dataclass
class OnlineTrainingConfig:
    """How long to act, and how much to learn from each step."""

    steps: int = 100_000
    """Steps of the environment; the last episode is played to its end."""
    random_steps: int = 5_000
    """Steps with uniformly random actions before the policy acts and learns; none follow
    pretraining."""
    pretraining_updates: int = 0
    """Updates on the demonstrations alone before the first step: offline first, then online."""
    batch_size: int = 256
    updates_per_step: int = 1
    n_step: int = 1
    """Most steps whose rewards are summed before the value takes over."""
    demonstrations_share: float | None = None
    """Share of each batch from the demonstrations, where there are any. null is a half, as RLPD has
    it, or, after pretraining, in proportion to how many steps they are beside the policy's own."""
    replay_capacity: int = 1_000_000
    """Most observations kept; older ones make room."""
    seed: int = 0
    """Seed of starts, actions and batches."""
    log_every: int = 1_000
    """Steps between two lines of metrics, at the end of an episode."""
    checkpoint_every: int = 10_000
    """Steps between two checkpoints; a multiple of `log_every`."""

    def __post_init__(self) -> None:
        least = {
            "steps": 1,
            "random_steps": 0,
            "pretraining_updates": 0,
            "batch_size": 1,
            "updates_per_step": 1,
        }
        least |= {"n_step": 1, "replay_capacity": 2, "log_every": 1, "checkpoint_every": 1}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise InputError(f"online.{name}={getattr(self, name)}: must be at least {minimum}")
        share = self.demonstrations_share
        if share is not None and not 0.0 <= share <= 1.0:
            raise InputError(f"online.demonstrations_share={share}: must lie in [0, 1]")
        if self.checkpoint_every % self.log_every:
            raise InputError(
                f"online.checkpoint_every={self.checkpoint_every}: must be a multiple of "
                f"log_every={self.log_every}"
            )


class RewardSource(Companion, Protocol):
    """Pays other rewards than the environment's: by a model, saved or learned on the way."""

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with this one."""

    def pay(self, observation: Any, action: NDArray[np.float32]) -> float:
        """Reward of one step, from the raw observation before it and the action (A,)."""

    def before_update(self) -> None:
        """May change what the replay holds before anything learns from it."""

    def after_episode(self, step: int, replay: ReplayBuffer) -> dict[str, float]:
        """May ask, learn and relabel the replay; returns metrics."""


OnMetrics = Callable[[int, Mapping[str, float]], None]
"""Told steps done and metrics."""


def train_online(
    policy: Policy,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    replay: ReplayBuffer,
    config: OnlineTrainingConfig,
    evaluation: EvaluationConfig,
    run_dir: Path,
    rewards: RewardSource | None = None,
    resets: DatasetResets | None = None,
    on_metrics: OnMetrics = lambda step, metrics: None,
    learned: Sequence[str] = NOTHING_LEARNED,
) -> dict[str, float]:
    """Trains `policy` in place and evaluates it; goes on from the newest checkpoint in `run_dir`.

    A resumed run equals an uninterrupted one bit for bit on the CPU.

    Args:
        policy: as made.
        env_id: Gymnasium id; actions in [-1, 1], time limits as truncation.
        env_kwargs: arguments of the environment; a policy that looks at no images is evaluated
            without its cameras, where it shows the same state.
        replay: as made, with demonstrations if there are any.
        config: length and seed.
        evaluation: when and how long to evaluate; `every` counts steps.
        run_dir: gets `metrics.jsonl`, TensorBoard events, `checkpoints/`,
            `evaluation/metrics.jsonl`, `policy/`, and `evaluation.json`.
        rewards: what the policy learns from; the environment's reward when None.
        resets: lets episodes start from recorded states.
        on_metrics: told steps done and metrics at every line.
        learned: as in `train_and_evaluate`.

    Returns:
        The last metrics.

    Raises:
        InputError: if the training diverges, the environment does not fit, or the checkpoint is of
            a run with other settings.
    """
    learner = _Learner(policy, replay, config, rewards)
    settings = {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in ("steps", "checkpoint_every")
    }
    settings["policy"] = dataclasses.asdict(policy.config)
    settings["rewards"] = rewards.settings if rewards else None
    settings["resets"] = dataclasses.asdict(resets.config) if resets else None
    checkpoints = run_dir / "checkpoints"
    companions: list[Companion] = [replay, *([rewards] if rewards else [])]
    step = restore_checkpoint(checkpoints, policy, learner.generator, settings, companions)
    env = make_env(env_id, **env_kwargs)
    tried_in = env_kwargs if policy.image_shape else _unseen(env_id, env_kwargs, env)
    with (
        MetricsLogger(run_dir, step) as logger,
        evaluations_on_the_way(evaluation, env_id, tried_in, run_dir, step, learned) as evaluations,
    ):
        metrics = logger.last

        def keep() -> None:
            save_checkpoint(checkpoints, policy, learner.generator, step, settings, companions)

        if config.pretraining_updates and not list(checkpoints.glob("*")):
            learner.pretrain()
            metrics = learner.take_metrics(step)
            logger.log(step, metrics)
            evaluations.look(policy, step)
            keep()
        while step < config.steps:
            before, (step, outcome) = step, _play(learner, env, step, resets)
            outcome |= rewards.after_episode(step, replay) if rewards else {}
            learner.note(outcome)
            ended = step >= config.steps
            if ended or _crossed(before, step, config.log_every):
                metrics = learner.take_metrics(step)
                logger.log(step, metrics)
                on_metrics(step, metrics)
            if _crossed(before, step, evaluation.every):
                evaluations.look(policy, step)
            if ended or _crossed(before, step, config.checkpoint_every):
                keep()
    env.close()
    save_and_evaluate(policy, evaluation, env_id, tried_in, run_dir, learned)
    return metrics


def _unseen(
    env_id: str, env_kwargs: Mapping[str, Any], env: gymnasium.Env[Any, Any]
) -> Mapping[str, Any]:
    """Arguments by which the environment renders nothing, if it then still shows the same state."""
    kwargs = without_pictures(env_kwargs)
    if kwargs == dict(env_kwargs):
        return env_kwargs
    other = make_env(env_id, **kwargs)
    shown = [len(flatten(each.reset(seed=0)[0])) for each in (env, other)]
    other.close()
    return kwargs if shown[0] == shown[1] else env_kwargs


def _play(
    learner: _Learner,
    env: gymnasium.Env[Any, Any],
    step: int,
    resets: DatasetResets | None,
) -> tuple[int, dict[str, float]]:
    """Plays one episode from `step` on, learning after each step."""
    sequence = np.random.SeedSequence([learner.config.seed, step])
    found = env.reset(seed=int(sequence.generate_state(1)[0]))[0]
    start = resets.draw(step, np.random.default_rng(sequence)) if resets else None
    if resets and start is not None:
        found = resets.restore(env, start)
    observation, images = flatten(found), learner.images(found)
    learner.replay.add_reset(observation, images)
    total, success, ended = 0.0, False, False
    while not ended:
        action = learner.act(observation, images, step)
        paid = learner.rewards.pay(found, action) if learner.rewards else None
        found, reward, terminated, truncated, info = env.step(action)
        following, images = flatten(found), learner.images(found)
        succeeded = bool(info.get("success", False))
        learner.replay.add_step(
            action,
            float(reward),
            following,
            terminated,
            succeeded,
            learned_reward=paid,
            images=images,
        )
        step += 1
        learner.learn(step)
        observation, ended = following, terminated or truncated
        total, success = total + float(reward), success or succeeded
    outcome = {"return": total, "success": float(success)}
    if start is not None:  # success from the middle of an episode is another thing
        outcome = {f"{name}_from_dataset": value for name, value in outcome.items()}
    return step, outcome


class _Learner:
    """Policy, replay and one stream of random numbers, with the metrics since the last line."""

    def __init__(
        self,
        policy: Policy,
        replay: ReplayBuffer,
        config: OnlineTrainingConfig,
        rewards: RewardSource | None,
    ) -> None:
        self.policy, self.replay, self.config, self.rewards = policy, replay, config, rewards
        self.generator = torch_generator(config.seed, "online", policy.device)
        self._random_steps = 0 if config.pretraining_updates else config.random_steps
        self._discount = policy.discount
        self._recorded = RecordedUpdates(policy, self.generator)
        self._updates: list[dict[str, Tensor]] = []
        self._episodes: list[dict[str, float]] = []
        self._since = time.monotonic()

    def images(self, observation: Any) -> NDArray[Any] | None:
        """What the policy keeps of an observation's images, if it looks at any."""
        if not self.policy.image_shape:
            return None
        images = camera_images(observation)[None]
        kept: NDArray[Any] = seen(self.policy.see, images, self.policy.device)[0]
        return kept

    def act(
        self, observation: NDArray[np.float32], images: NDArray[Any] | None, step: int
    ) -> NDArray[np.float32]:
        """(A,): a random action at first, then one of the policy's."""
        if step < self._random_steps:
            size, device = self.policy.action_dim, self.policy.device
            uniform = torch.rand(size, generator=self.generator, device=device)
            return np.asarray((2.0 * uniform - 1.0).cpu(), dtype=np.float32)
        kept = {} if images is None else {"images": images[None]}
        return np.asarray(self.policy.act(observation[None], False, self.generator, **kept)[0])

    def learn(self, step: int) -> None:
        """Updates the policy as often as one step asks for."""
        if step <= self._random_steps:
            return
        for _ in range(self.config.updates_per_step):
            self._update(self._share())

    def _share(self) -> float:
        recorded, own = len(self.replay.demonstration_rows), len(self.replay)
        if not recorded:
            return 0.0
        if self.config.demonstrations_share is not None:
            return self.config.demonstrations_share
        # A half would be the first few hundred own steps over and over, which undoes what was
        # learned from the recorded ones.
        return recorded / (recorded + own) if self.config.pretraining_updates else 0.5

    def pretrain(self) -> None:
        """Updates the policy on the demonstrations alone."""
        for _ in range(self.config.pretraining_updates):
            self._update(1.0)

    def _update(self, demonstrations: float) -> None:
        if self.rewards:
            self.rewards.before_update()
        size = self.config.batch_size * self.policy.batches_per_update
        batch = self.replay.sample(
            size, self.generator, self._discount, self.config.n_step, demonstrations
        )
        self._updates.append(self._recorded.from_batch(batch))

    def note(self, outcome: dict[str, float]) -> None:
        """Remembers what came of an episode."""
        self._episodes.append(outcome)

    def take_metrics(self, step: int) -> dict[str, float]:
        """Means since the last call: of the updates, and of the episodes."""
        now = time.monotonic()
        metrics = {"updates_per_second": len(self._updates) / (now - self._since)}
        if self._updates:
            rows = torch.stack([torch.stack(list(update.values())) for update in self._updates])
            means = rows.double().mean(0).tolist()
            metrics |= dict(zip(self._updates[0], means, strict=True))
            check_metrics(metrics, step, len(self._updates))
        for name in {name for outcome in self._episodes for name in outcome}:
            values = [outcome[name] for outcome in self._episodes if name in outcome]
            metrics[f"episode/{name}"] = float(np.mean(values))
        self._updates, self._episodes, self._since = [], [], now
        return metrics


def _crossed(before: int, after: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return before // every != after // every

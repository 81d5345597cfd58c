r"""Trains a policy on a dataset, or in an environment, from true rewards or from a learned reward.

With `env=` the policy acts while it learns; `dataset=` then holds demonstrations, of which half of
every batch is taken, and `rewards=learned` asks a scripted teacher on the way. The run's folder
gets metrics, TensorBoard events, checkpoints, the policy, and the outcome of every episode of the
last evaluation. `resume=` goes on with a run, other options on top of its own.

Examples:
  robopref train dataset=drawer.hdf5 rewards=true
  robopref train dataset=drawer.hdf5 rewards=runs/train-reward/drawer/reward name=drawer
  robopref train dataset=drawer.hdf5 policy=behavior_cloning best_episodes=0.1
  robopref train dataset=drawer.hdf5 policy=oppo preferences=labels.parquet
  robopref train resume=runs/train/drawer training.updates=40000
  robopref train -m dataset=drawer.hdf5 training.seed=0,1,2
  robopref train policy=sac env=metaworld/reach-v3 horizon=200 online.steps=50000
  robopref train policy=rlpd env=metaworld/drawer-open-v3 dataset=demonstrations.hdf5
  robopref train policy=sac env=metaworld/reach-v3 rewards=learned ask.budget=500
  robopref train policy=sac env=metaworld/reach-v3 rewards=runs/train-reward/reach/reward
  robopref train policy=iql env=metaworld/reach-v3 dataset=d.hdf5 online.pretraining_updates=9000 \
      iql.target_update_rate=0.02
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from robopref.cli.config import run
from robopref.cli.device import chosen_device
from robopref.cli.rewards import (
    LEARNED,
    ZERO,
    chosen_rewards,
    is_folder,
    paying_online,
    reward_of_states,
)
from robopref.cli.runs import run_folder
from robopref.cli.train_config import TrainConfig
from robopref.cli.training_progress import told_of_metrics
from robopref.data.dataset import TrajectoryDataset
from robopref.data.images import ImageTransitions, camera_images, features_file, seen, seen_once
from robopref.data.normalization import reward_scale
from robopref.data.replay import ReplayBuffer
from robopref.data.robomimic import load_dataset
from robopref.data.transitions import transitions
from robopref.environments import environment_options, make_env, recorded_env
from robopref.errors import InputError
from robopref.evaluation.rollout import flatten
from robopref.files import write_json
from robopref.policies.base import BatchSource
from robopref.policies.dpo import DPO
from robopref.policies.iql import IQL
from robopref.policies.oppo import OPPO
from robopref.policies.registry import (
    FROM_LABELS,
    make_policy,
    new_policy,
)
from robopref.policies.segment_pairs import PairBatches
from robopref.policies.visual import VisualConfig
from robopref.preferences.dataset import load_preferences
from robopref.preferences.hierarchy import hierarchy_answers
from robopref.preferences.queries import Pairs
from robopref.preferences.teachers import teacher_answers
from robopref.processes import long_time_slices, one_thread
from robopref.report.contexts import contexts_picture
from robopref.report.outcomes import outcome_line, outcome_metrics
from robopref.report.over_optimization import over_optimization
from robopref.rewards.relabel import in_extreme_episodes
from robopref.training.evaluated import (
    CURVE_FOLDER,
    POLICY_FOLDER,
    RESULT_FILE,
    load_result,
    train_and_evaluate,
)
from robopref.training.online import RewardSource, train_online
from robopref.training.online_preferences import OnlinePreferences
from robopref.training.resets import DatasetResets

OVER_OPTIMIZATION_FILE = "over_optimization.png"
"""True against learned return as a policy trains."""
CONTEXTS_FILE = "contexts.png"
"""What OPPO learned about the data."""


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    run("train", TrainConfig, arguments, train)


def train(config: TrainConfig) -> None:
    """Trains and evaluates one policy and says how well it does."""
    one_thread()
    long_time_slices()
    device = chosen_device(config.device)
    if config.env:
        train_in_environment(config, device)
    else:
        train_on_dataset(config, device)


def train_on_dataset(config: TrainConfig, device: torch.device) -> None:
    """Offline: the dataset is all there is."""
    dataset = load_dataset(config.dataset, images=config.images)
    rewards = chosen_rewards(dataset, config, device)
    data, rows = transitions(dataset, rewards).to(device), dataset.observation_rows
    shares = config.best_episodes, config.worst_episodes
    if shares != (1.0, 0.0):
        best = in_extreme_episodes(rewards, dataset, *shares)
        data, rows = data[torch.from_numpy(best).to(device)], rows[best]
    own = settings = getattr(config, config.policy)
    batches: BatchSource = data
    if config.images:
        images = camera_images(dataset.observations)
        settings = _visual(config, images.shape[1:])
    policy = make_policy(settings, data, config.training.seed, device)
    if config.images:
        kept: NDArray[Any] = images
        looking = policy.tuned if isinstance(policy, DPO) else policy
        if encoder := looking.config.encoder.pretrained:
            kept = seen_once(looking.see, images, device, features_file(dataset, encoder))
        elif isinstance(policy, DPO):
            kept = seen(policy.see, images, device)
        batches = ImageTransitions(kept, rows, data)
    if config.policy in FROM_LABELS:
        labels = load_preferences(config.preferences)
        if config.images:
            batches = PairBatches(dataset, labels, own.pairs, own.segment_steps, device, kept)
        else:
            batches = FROM_LABELS[config.policy](dataset, labels, own, config.training.seed, device)
    env_id, env_kwargs = _environment(dataset, config)
    with run_folder("train", config.name, config) as folder:
        with told_of_metrics(config, folder, config.training.updates, "updates") as told:
            metrics = train_and_evaluate(
                policy,
                batches,
                config.training,
                config.evaluation,
                env_id,
                env_kwargs,
                folder,
                on_metrics=told,
                learned=(reward_of_states(config.rewards), config.whose),
            )
        metrics |= over_optimization(folder / CURVE_FOLDER, folder / OVER_OPTIMIZATION_FILE)
        if isinstance(policy, OPPO):
            length = int(np.median(labels.first.lengths))
            correlation = contexts_picture(policy, dataset, length, folder / CONTEXTS_FILE)
            if np.isfinite(correlation):
                metrics["context_rank_correlation"] = correlation
        write_outcome(folder, config, metrics, config.training.updates, "updates")


def train_in_environment(config: TrainConfig, device: torch.device) -> None:
    """Online: the policy acts, with demonstrations beside it where a dataset is given."""
    with_states = config.resets.share > 0
    prior = None
    if config.dataset:
        prior = load_dataset(config.dataset, states=with_states, images=config.images)
    env_kwargs = environment_options(config.horizon, config.cameras, config.image_size)
    env = make_env(config.env, **env_kwargs)
    observation, _ = env.reset(seed=0)
    space = env.action_space
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise InputError(f"env={config.env}: has actions {space}; choose one with a vector of them")
    sizes = len(flatten(observation)), space.shape[0]
    online, seed = config.online, config.online.seed
    settings = getattr(config, config.policy)
    if config.images:
        settings = _visual(config, camera_images(observation).shape)
    policy = new_policy(settings, *sizes, seed, device)
    # IQL weighs actions by the exponent of an advantage, whose size the rewards decide.
    scale = (0.0, 1.0)
    if config.rewards == ZERO:
        scale = (0.0, math.inf)
    elif prior is not None and config.policy == IQL.name:
        scale = reward_scale(prior.rewards, prior.terminated)
    looks = (policy.image_shape, policy.see)
    replay = ReplayBuffer(online.replay_capacity, *sizes, prior, device, scale, *looks)
    if prior is not None:
        policy.standardizer.fit(prior.flat_observations)
    rewards: RewardSource | None = None
    if config.rewards == LEARNED:
        rewards = _asking(config, seed, env)
    elif is_folder(config.rewards):
        rewards = paying_online(replay, prior, config, observation)
    resets = _resets(config, prior, env) if config.resets.share else None
    env.close()
    with run_folder("train", config.name, config) as folder:
        with told_of_metrics(config, folder, online.steps, "steps") as told:
            metrics = train_online(
                policy,
                config.env,
                env_kwargs,
                replay,
                online,
                config.evaluation,
                folder,
                rewards,
                resets,
                told,
                learned=(reward_of_states(config.rewards), config.whose),
            )
        metrics |= over_optimization(folder / CURVE_FOLDER, folder / OVER_OPTIMIZATION_FILE)
        write_outcome(folder, config, metrics, online.steps, "steps")


def _visual(config: TrainConfig, image_shape: Sequence[int]) -> VisualConfig:
    """The learner behind an encoder of such images."""
    learner = getattr(config, config.policy)
    return VisualConfig(config.policy, learner, list(image_shape), config.encoder)


def _resets(
    config: TrainConfig, dataset: TrajectoryDataset | None, env: gymnasium.Env[Any, Any]
) -> DatasetResets:
    if dataset is None:
        raise InputError("resets.share: starts from states of a dataset; give dataset=")
    path = config.resets.preferences
    preferences = load_preferences(path) if path else None
    return DatasetResets(config.resets, dataset, env, preferences)


def _asking(config: TrainConfig, seed: int, env: gymnasium.Env[Any, Any]) -> OnlinePreferences:
    env_args = getattr(env.unwrapped, "env_args", {})

    def teacher(
        dataset: TrajectoryDataset, pairs: Pairs, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        if not config.heron.ranking:
            return teacher_answers(dataset, pairs, config.teacher, rng)
        located = replace(dataset, env_args=env_args)  # where hand and object are
        return hierarchy_answers(located, pairs, config.heron)[0]

    return OnlinePreferences(config.ask, config.reward, teacher, seed)


def write_outcome(
    folder: Path, config: TrainConfig, metrics: dict[str, float], done: int, unit: str
) -> None:
    """Writes `metrics.json` and says how well the policy does."""
    if config.evaluation.episodes:
        metrics |= outcome_metrics(load_result(folder / RESULT_FILE))
    write_json(folder / "metrics.json", {unit: done, **metrics})
    outcome = f", {outcome_line(metrics)}" if config.evaluation.episodes else ""
    print(f"{folder / POLICY_FOLDER}: {done} {unit}{outcome}")


def _environment(dataset: TrajectoryDataset, config: TrainConfig) -> tuple[str, dict[str, Any]]:
    """Gymnasium id and arguments, tried before the long work; empty when none is needed."""
    if not config.evaluation.episodes:
        return "", {}
    env_id, env_kwargs = recorded_env(dataset.env_args, dataset.observations, config.images)
    try:
        make_env(env_id, **env_kwargs).close()
    except InputError as error:
        raise InputError(f"{error}; evaluation.episodes=0 trains without it") from error
    return env_id, env_kwargs

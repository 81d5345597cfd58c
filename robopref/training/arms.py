"""Arms of a comparison: policies that differ in where their reward comes from, in parallel.

Each arm and seed is one process on one thread, writes a folder of its own, and passes over what
is there already, so a broken-off comparison is finished by starting it again.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.data.lazy import load_dataset_lazily
from robopref.data.transitions import transitions
from robopref.policies.base import BatchSource
from robopref.policies.registry import FROM_LABELS, make_policy
from robopref.preferences.dataset import load_preferences
from robopref.processes import end_with_parent, interrupts_ignored, long_time_slices, one_thread
from robopref.rewards.base import RewardModel
from robopref.rewards.registry import load_reward, make_reward
from robopref.rewards.relabel import in_extreme_episodes, relabel
from robopref.rewards.visual import as_seen
from robopref.training.evaluated import RESULT_FILE, EvaluationConfig, train_and_evaluate
from robopref.training.logger import read_metrics
from robopref.training.offline import OfflineTrainingConfig

REWARD_FOLDER = "reward"
"""Where a run keeps its reward model."""


@dataclass(frozen=True)
class ArmRun:
    """One arm with one seed: preferences, reward, policy, evaluation."""

    arm: str
    """Name of the arm."""
    folder: Path
    """The run's own folder."""
    dataset: Path
    """Dataset that is relabelled and learned from."""
    preferences: Path | None
    """Preferences over it; None for the control whose every reward is zero."""
    reward: Any
    """Config of one of `REWARDS`, unused without preferences; None for a policy that learns from
    these alone."""
    policy: Any
    """Config of one of `POLICIES`."""
    training: OfflineTrainingConfig
    """Its seed is that of reward and policy too."""
    evaluation: EvaluationConfig
    env_id: str
    env_kwargs: Mapping[str, Any]
    true_reward: bool = False
    """Learns from the dataset's true rewards instead: the oracle."""
    best_episodes: float = 1.0
    """Share of the episodes to learn from, those of the highest rewards."""

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return (self.folder / RESULT_FILE).is_file()

    @property
    def updates_done(self) -> int:
        """Updates of the policy so far."""
        if self.done:
            return self.training.updates
        lines = read_metrics(self.folder)
        return int(lines[-1]["step"]) if lines else 0


def run_arms(
    runs: Sequence[ArmRun],
    workers: int = 0,
    on_look: Callable[[], None] = lambda: None,
    look_every_s: float = 0.5,
) -> None:
    """Makes all runs, as many at once as there are workers.

    Args:
        runs: their folders differ.
        workers: processes, all cores when 0.
        on_look: called again and again while they run; progress stands in the runs' folders.
        look_every_s: seconds between two calls.

    Raises:
        InputError: as the first run that fails.
    """
    open_runs = [run for run in runs if not run.done]
    workers = min(workers or os.cpu_count() or 1, len(open_runs))
    if not workers:
        on_look()
        return
    # Not fork: OpenMP and OpenGL do not survive it.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, context, end_with_parent)
    try:
        with interrupts_ignored():
            futures = [executor.submit(make_run, run) for run in open_runs]
        while not all(future.done() for future in futures):
            _raise_first(futures)
            on_look()
            time.sleep(look_every_s)
        _raise_first(futures)
        on_look()
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    executor.shutdown()


def _raise_first(futures: Sequence[Any]) -> None:
    for future in futures:
        if future.done() and future.exception() is not None:
            raise future.exception()


def make_run(run: ArmRun) -> None:
    """Makes one run in this process, from its preferences to its evaluation."""
    one_thread()
    long_time_slices()
    run.folder.mkdir(parents=True, exist_ok=True)  # says that the run has begun
    dataset = load_dataset_lazily(run.dataset)  # images are read by a reward that looks at them
    rewards, seed = run_rewards(run, dataset), run.training.seed
    data = transitions(dataset, rewards)
    if run.best_episodes < 1.0:
        data = data[torch.from_numpy(in_extreme_episodes(rewards, dataset, run.best_episodes))]
    policy = make_policy(run.policy, data, seed)
    batches: BatchSource = data
    if policy.name in FROM_LABELS:
        assert run.preferences is not None
        labels = load_preferences(run.preferences)
        batches = FROM_LABELS[policy.name](dataset, labels, run.policy, seed, policy.device)
    train_and_evaluate(
        policy, batches, run.training, run.evaluation, run.env_id, run.env_kwargs, run.folder
    )


def run_rewards(run: ArmRun, dataset: TrajectoryDataset) -> np.ndarray[Any, Any]:
    """(N,): rewards that the run learns from."""
    if run.true_reward:
        return dataset.rewards
    if run.preferences is None or run.reward is None:
        return np.zeros(dataset.num_steps, dtype=np.float32)
    dataset = as_seen(dataset, run.reward)
    return relabel(dataset, run_reward_model(run, dataset)).mean


def run_reward_model(run: ArmRun, dataset: TrajectoryDataset) -> RewardModel:
    """The run's reward model, trained unless it has been; the dataset is as it sees it."""
    assert run.preferences is not None
    folder = run.folder / REWARD_FOLDER
    if (folder / "reward.json").is_file():  # written last
        return load_reward(folder)
    seed = run.training.seed
    model = make_reward(run.reward, dataset, seed)
    model.fit(load_preferences(run.preferences), dataset, seed)
    model.save(folder)
    return model

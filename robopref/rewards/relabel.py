"""A dataset's steps with learned rewards. `data.transitions` brings them to a policy's scale."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import gather, whole_episodes
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.rewards.base import RewardModel
from robopref.structures import Segments

CHUNK_STEPS = 20_000
"""Steps whose rewards are predicted at once; bounds memory."""


class LearnedRewards(NamedTuple):
    """Rewards of all steps of a dataset."""

    mean: NDArray[np.float32]
    """(N,)"""
    std: NDArray[np.float32] | None
    """(N,): standard deviation, where the model has one."""


def relabel(
    dataset: TrajectoryDataset, model: RewardModel, chunk_steps: int = CHUNK_STEPS
) -> LearnedRewards:
    """Predicts the reward of every step, episode by whole episode.

    Args:
        dataset: the episodes; its true rewards are not read.
        model: a fitted reward model for the same observations and actions.
        chunk_steps: steps at once, padding included.

    Raises:
        InputError: if the sizes differ from those the model was trained for.
    """
    episodes = whole_episodes(dataset)
    per_chunk = max(chunk_steps // int(dataset.lengths.max()), 1)
    means, stds = [], []
    for start in range(0, len(dataset), per_chunk):
        segments = gather(dataset, episodes[start : start + per_chunk], model.device)
        prediction = model.predict(segments)
        real = segments.mask > 0
        means.append(prediction.mean[real].cpu().numpy())
        if prediction.std is not None:
            stds.append(prediction.std[real].cpu().numpy())
    return LearnedRewards(np.concatenate(means), np.concatenate(stds) if stds else None)


def episode_sums(
    rewards: NDArray[np.floating[Any]], dataset: TrajectoryDataset
) -> NDArray[np.float64]:
    """(E,): sum of `rewards` (N,) over each episode."""
    sums: NDArray[np.float64] = np.add.reduceat(rewards.astype(np.float64), dataset.offsets[:-1])
    return sums


def sum_differences(
    rewards: NDArray[np.floating[Any]], preferences: Preferences, dataset: TrajectoryDataset
) -> NDArray[np.float64]:
    """(B,): sum of `rewards` (N,) over the second segment of each pair, minus the first's."""
    running = np.concatenate([[0.0], np.cumsum(rewards, dtype=np.float64)])

    def sums(segments: Segments) -> NDArray[np.float64]:
        first = dataset.offsets[segments.episodes] + segments.starts
        found: NDArray[np.float64] = running[first + segments.lengths] - running[first]
        return found

    return sums(preferences.second) - sums(preferences.first)


def in_best_episodes(
    rewards: NDArray[np.floating[Any]], dataset: TrajectoryDataset, share: float
) -> NDArray[np.bool_]:
    """(N,): steps of the share of episodes with the highest sums of `rewards` (N,).

    Raises:
        InputError: if `share` lies outside (0, 1], or all sums are equal.
    """
    if not 0.0 < share <= 1.0:
        raise InputError(f"best_episodes={share}: must lie in (0, 1]")
    sums = episode_sums(rewards, dataset)
    if share < 1.0 and np.ptp(sums) == 0.0:
        raise InputError(
            f"best_episodes={share}: all episodes of {dataset.source} have the same sum of "
            "rewards; give other rewards, or best_episodes=1"
        )
    chosen = np.zeros(len(sums), dtype=bool)
    chosen[np.argsort(-sums, kind="stable")[: max(round(share * len(sums)), 1)]] = True
    return np.repeat(chosen, dataset.lengths)

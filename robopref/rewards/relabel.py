"""A dataset's steps with learned rewards. `data.transitions` brings them to a policy's scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import gather, whole_episodes
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.rewards.base import RewardModel
from robopref.structures import SegmentBatch, Segments

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
    means, stds = [], []
    for segments in _chunks(dataset, model, chunk_steps):
        prediction = model.predict(segments)
        real = segments.mask > 0
        means.append(prediction.mean[real].cpu().numpy())
        if prediction.std is not None:
            stds.append(prediction.std[real].cpu().numpy())
    return LearnedRewards(np.concatenate(means), np.concatenate(stds) if stds else None)


@dataclass(frozen=True)
class Caution:
    """What is taken off a learned reward where the model is unsure of it."""

    pessimism: float = 0.0
    """Standard deviations that are taken off the mean."""
    lower_bound: bool = False
    """Whether the lowest of an ensemble's rewards of a step counts in place of their mean."""

    def __post_init__(self) -> None:
        if self.lower_bound and self.pessimism:
            raise InputError("lower_bound=true: is pessimism of another kind; leave pessimism= out")

    @torch.no_grad()
    def rewards(self, model: RewardModel, segments: SegmentBatch) -> Tensor:
        """(B, T): the rewards of segments; zero on padding.

        Raises:
            InputError: if the sizes differ from those the model was trained for, or it does not
                say how sure it is.
        """
        if self.lower_bound:
            members = model.predict_members(segments)
            if len(members) < 2:
                raise InputError(
                    f"lower_bound=true: reward {model.name} has no ensemble; train one with "
                    "reward.members above 1"
                )
            return members.amin(0)
        prediction = model.predict(segments)
        if not self.pessimism:
            return prediction.mean
        if prediction.std is None:
            raise InputError(
                f"pessimism={self.pessimism}: reward {model.name} predicts no standard deviation; "
                "train one with reward.members above 1"
            )
        return prediction.mean - self.pessimism * prediction.std


def relabel_cautiously(
    dataset: TrajectoryDataset, model: RewardModel, caution: Caution
) -> NDArray[np.float32]:
    """(N,): the reward of every step, less what `caution` takes off.

    Raises:
        InputError: as `Caution.rewards`.
    """
    chunks = _chunks(dataset, model, CHUNK_STEPS)
    parts = [caution.rewards(model, each)[each.mask > 0].cpu().numpy() for each in chunks]
    return np.concatenate(parts)


def _chunks(
    dataset: TrajectoryDataset, model: RewardModel, chunk_steps: int
) -> Iterator[SegmentBatch]:
    """All episodes in order, several at a time."""
    episodes = whole_episodes(dataset)
    per_chunk = max(chunk_steps // int(dataset.lengths.max()), 1)
    for start in range(0, len(dataset), per_chunk):
        yield gather(dataset, episodes[start : start + per_chunk], model.device)


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


def in_extreme_episodes(
    rewards: NDArray[np.floating[Any]],
    dataset: TrajectoryDataset,
    share: float,
    worst: float = 0.0,
) -> NDArray[np.bool_]:
    """(N,): steps of the episodes with the highest and of those with the lowest sums of `rewards`.

    Both ends: Zhang et al.: Policy Filtration for RLHF to Mitigate Noise in Reward Models, ICML
    2025, arXiv 2409.06957 (PF-PPO), which learns from the best and the worst samples, since a
    learned reward orders the extremes most reliably.

    Args:
        rewards: (N,)
        dataset: the episodes.
        share: of the episodes, with the highest sums.
        worst: share with the lowest.

    Raises:
        InputError: if `share` lies outside (0, 1] or `worst` outside [0, 1), they overlap, or all
            sums are equal.
    """
    if not 0.0 < share <= 1.0:
        raise InputError(f"best_episodes={share}: must lie in (0, 1]")
    if worst and not 0.0 < worst <= 1.0 - share:
        raise InputError(
            f"worst_episodes={worst}: must be at least 0 and, with best_episodes={share}, at most "
            f"{1.0 - share:g}"
        )
    sums = episode_sums(rewards, dataset)
    if share < 1.0 and np.ptp(sums) == 0.0:
        raise InputError(
            f"best_episodes={share}: all episodes of {dataset.source} have the same sum of "
            "rewards; give other rewards, or best_episodes=1"
        )
    chosen, order = np.zeros(len(sums), dtype=bool), np.argsort(-sums, kind="stable")
    chosen[order[: max(round(share * len(sums)), 1)]] = True
    chosen[order[len(sums) - round(worst * len(sums)) :]] = True
    return np.repeat(chosen, dataset.lengths)

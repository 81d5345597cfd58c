"""Active questions: the pairs of a dataset that a reward so far would learn most from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import gather
from robopref.errors import InputError
from robopref.preferences.active import (
    BETWEEN_MEMBERS,
    BLIND,
    STRATEGIES,
    UNIFORM,
    Candidates,
    check_strategy,
)
from robopref.preferences.queries import Pairs, distinct_segments, pairs_left, uniform_pairs
from robopref.rewards.base import RewardModel
from robopref.rewards.relabel import CHUNK_STEPS
from robopref.structures import Segments

POOL = 10
"""Candidates per question, drawn uniformly (BPref: Lee et al. 2021 takes as many)."""


def choose_pairs(
    strategy: str,
    dataset: TrajectoryDataset,
    segments: Segments,
    count: int,
    rng: np.random.Generator,
    model: RewardModel | None = None,
    asked: Pairs | None = None,
) -> Pairs:
    """Chooses `count` pairs to ask, none of them asked before.

    Args:
        strategy: one of `STRATEGIES`.
        dataset: the episodes; its true rewards are not read.
        segments: what can be compared, from `whole_episodes` or `all_segments`.
        count: pairs to ask now: one batch, or what is left of the budget.
        rng: source of randomness.
        model: the reward so far; `uniform` and `k_center` need none.
        asked: pairs that were asked before.

    Raises:
        InputError: if there is no such strategy, it needs a reward that is an ensemble, or fewer
            pairs are left.
    """
    check_strategy(strategy)
    if strategy == UNIFORM:
        return uniform_pairs(segments, count, rng, asked)
    size = max(min(POOL * count, pairs_left(segments, asked)), count)
    pool = uniform_pairs(segments, size, rng, asked)
    before = asked if asked is not None else (segments[:0], segments[:0])
    returns = _believed(strategy, model, dataset, pool)
    chosen = STRATEGIES[strategy](Candidates(dataset, pool, before, *returns), count, rng)
    return pool[0][chosen], pool[1][chosen]


def member_returns(
    model: RewardModel, dataset: TrajectoryDataset, segments: Segments
) -> NDArray[np.float64]:
    """(E, B): sum of the rewards of each segment, by member.

    Raises:
        InputError: if the sizes differ from those the model was trained for.
    """
    per_chunk = max(CHUNK_STEPS // int(segments.lengths.max()), 1)
    sums = [
        model.predict_members(gather(dataset, segments[start : start + per_chunk], model.device))
        .sum(-1)
        .cpu()
        for start in range(0, len(segments), per_chunk)
    ]
    return np.asarray(torch.cat(sums, dim=1).double())


def _believed(
    strategy: str, model: RewardModel | None, dataset: TrajectoryDataset, pool: Pairs
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(E, C) of both sides; no member where the strategy looks at none."""
    if strategy in BLIND:
        nothing = np.zeros((0, len(pool[0])))
        return nothing, nothing
    if model is None:
        raise InputError(f"strategy={strategy}: looks at a reward so far; give one, or ask uniform")
    distinct, (first, second) = distinct_segments(*pool)
    returns = member_returns(model, dataset, distinct)
    if len(returns) < 2 and strategy in BETWEEN_MEMBERS:
        raise InputError(
            f"strategy={strategy}: compares members of an ensemble, but reward {model.name} has "
            "one; train it with reward.members=3 or more"
        )
    return returns[:, first], returns[:, second]

"""HERON: a ranking of factors by importance compares segments, without a label by hand.

Bukharin, Li, He, Zhao: Deep Reinforcement Learning with Hierarchical Reward Modeling, ICML 2025,
arXiv 2309.02632. The most important factor that differs by more than its margin decides; a pair
that no factor decides has no label. Factors are better when larger: give costs negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import step_indices
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import Pairs
from robopref.structures import Array, Segments

UNDECIDED = -1
"""Level of a pair that no factor decides."""


@dataclass
class HierarchyConfig:
    """A ranking of factors and how much each must differ to decide."""

    ranking: list[str]
    """Factors, the most important first: those of the dataset, `success` or `energy`."""
    margins: list[float] = field(default_factory=list)
    """One per factor, none of them below 0; all 0 when empty."""
    absolute: bool = False
    """Margins are in the factor's own unit; otherwise they are shares of its standard deviation
    over the segments compared, which no change of a factor's scale alters."""

    def __post_init__(self) -> None:
        if not self.ranking:
            raise InputError("ranking=[]: name at least one factor")
        twice = [name for name in dict.fromkeys(self.ranking) if self.ranking.count(name) > 1]
        if twice:
            raise InputError(f"ranking names {', '.join(twice)} more than once; name each once")
        if self.margins and len(self.margins) != len(self.ranking):
            raise InputError(
                f"margins has {len(self.margins)} numbers for the {len(self.ranking)} factors of "
                "the ranking; give one for each, or none"
            )
        wrong = [margin for margin in self.margins if not 0.0 <= margin < np.inf]
        if wrong:
            raise InputError(f"margins holds {wrong[0]}: a margin is finite and at least 0")


def decide(
    first: NDArray[np.float64], second: NDArray[np.float64], margins: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Walks HERON's decision tree (section 3): the first level beyond its margin decides.

    Args:
        first: (B, L) factors of the first segments, most important level first.
        second: (B, L) of the second segments.
        margins: (L,)

    Returns:
        (B,) labels, 1 where the second is preferred and NaN where no level decides; and (B,) the
        level that decided, `UNDECIDED` where none did.
    """
    difference = second - first
    apart = np.abs(difference) > margins
    decided = apart.any(axis=1)
    level = apart.argmax(axis=1)
    labels = (difference[np.arange(len(level)), level] > 0.0).astype(np.float64)
    return np.where(decided, labels, np.nan), np.where(decided, level, UNDECIDED)


def segment_factors(
    dataset: TrajectoryDataset, segments: Segments, ranking: list[str]
) -> NDArray[np.float64]:
    """(B, L): mean of each factor over a segment's steps.

    Raises:
        InputError: if the dataset lacks a factor.
    """
    known: Mapping[str, Array] = {
        "success": dataset.success,
        "energy": -np.square(dataset.actions, dtype=np.float64).sum(axis=1),
        **dataset.factors,
    }
    unknown = [name for name in ranking if name not in known]
    if unknown:
        raise InputError(
            f"ranking names {unknown[0]}, which {dataset.source} lacks; it has {', '.join(known)}"
        )
    rows, mask = step_indices(dataset, segments)
    values = [
        np.where(mask, known[name][rows].astype(np.float64), 0.0).sum(axis=1) / segments.lengths
        for name in ranking
    ]
    return np.stack(values, axis=1)


def hierarchy_labels(
    dataset: TrajectoryDataset,
    pairs: Pairs,
    config: HierarchyConfig,
    created_at: datetime,
    *,
    annotator: str = "heron",
) -> tuple[Preferences, dict[str, int]]:
    """Labels pairs by the ranking; those that no factor decides are left out, as in the paper.

    Returns:
        The preferences, and how many pairs each factor decided, in the order of the ranking.
    """
    first, second = (segment_factors(dataset, segments, config.ranking) for segments in pairs)
    margins = np.array(config.margins or [0.0] * len(config.ranking))
    if not config.absolute:
        margins = margins * np.concatenate([first, second]).std(axis=0)
    labels, level = decide(first, second, margins)
    asked = level != UNDECIDED
    preferences = Preferences.from_labels(
        dataset,
        pairs[0][asked],
        pairs[1][asked],
        labels[asked],
        source="heron",
        annotator=annotator,
        created_at=created_at,
    )
    decided = {name: int((level == place).sum()) for place, name in enumerate(config.ranking)}
    return preferences, decided

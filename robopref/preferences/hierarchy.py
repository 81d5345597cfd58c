"""HERON: a ranking of factors by importance compares segments, without a label by hand.

Bukharin, Li, He, Zhao: Deep Reinforcement Learning with Hierarchical Reward Modeling, ICML 2025,
arXiv 2309.02632. The most important factor that differs by more than its margin decides; a pair
that no factor decides has no label. Factors are better when larger: give costs negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.preferences.factors import FactorFunction, segment_factors
from robopref.preferences.queries import Pairs

UNDECIDED = -1
"""Level of a pair that no factor decides."""


@dataclass
class HierarchyConfig:
    """A ranking of factors and how much each must differ to decide."""

    ranking: list[str] = field(default_factory=list)
    """Factors, the most important first: those of `factors.py`, of the dataset, or `functions`."""
    margins: list[float] = field(default_factory=list)
    """One per factor, none of them below 0; all 0 when empty."""
    absolute: bool = False
    """Margins are in the factor's own unit; otherwise they are shares of its standard deviation
    over the segments compared, which no change of a factor's scale alters."""
    functions: dict[str, Any] = field(default_factory=dict)
    """Factors of one's own: name to the options of a `FactorFunction`."""

    def __post_init__(self) -> None:
        self.functions = {
            name: options if isinstance(options, FactorFunction) else _function(name, options)
            for name, options in self.functions.items()
        }
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


def _function(name: str, options: Any) -> FactorFunction:
    try:
        return FactorFunction(**options)
    except TypeError as error:
        raise InputError(
            f"functions.{name}={options}: is of the form {{key: flat, at: [0, 1, 2], to: [4, 5, "
            "6], smaller_is_better: true}, of which to, to_key and smaller_is_better may be left "
            "out"
        ) from error


def decide(
    first: NDArray[np.float64], second: NDArray[np.float64], margins: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Walks HERON's decision tree: the first level beyond its margin decides.

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


def hierarchy_answers(
    dataset: TrajectoryDataset, pairs: Pairs, config: HierarchyConfig
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What the ranking says to each pair: labels and levels, as from `decide`.

    Raises:
        InputError: if the ranking is empty or names a factor that the dataset lacks.
    """
    if not config.ranking:
        raise InputError("ranking=[]: name at least one factor")
    first, second = (
        segment_factors(dataset, segments, config.ranking, config.functions) for segments in pairs
    )
    margins = np.array(config.margins or [0.0] * len(config.ranking))
    if not config.absolute:
        margins = margins * np.concatenate([first, second]).std(axis=0)
    return decide(first, second, margins)


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
    labels, level = hierarchy_answers(dataset, pairs, config)
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


def in_words(decided: Mapping[str, int], pairs: int) -> list[str]:
    """A line for each factor: how many pairs it decided.

    Args:
        decided: factor to pairs, the most important first.
        pairs: how many were compared.
    """
    left, lines = pairs, []
    for name, count in decided.items():
        share = f" ({count / left:.0%})" if left else ""
        lines.append(f"{name}: decides {count} of {left} pairs{share}")
        left -= count
    lines.append(f"no label: {left} pairs in which no factor differs by more than its margin")
    return lines

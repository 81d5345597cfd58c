"""Aggregates over runs and tasks with intervals (Agarwal et al. 2021, arXiv 2108.13264)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def interquartile_mean(scores: Scores, seed: int = 0, resamples: int = 2_000) -> Estimate:
    """Mean of the middle half of all scores.

    Args:
        scores: (runs, tasks).
        seed: of the bootstrap.
        resamples: bootstrap samples; runs are drawn anew within each task.
    """
    from rliable import metrics

    return _estimate(scores, metrics.aggregate_iqm, seed, resamples)


def mean(scores: Scores, seed: int = 0, resamples: int = 2_000) -> Estimate:
    """Mean over tasks of the mean over runs.

    Args:
        scores: (runs, tasks).
        seed: of the bootstrap.
        resamples: bootstrap samples; runs are drawn anew within each task.
    """
    from rliable import metrics

    return _estimate(scores, metrics.aggregate_mean, seed, resamples)


def _estimate(
    scores: Scores, aggregate: Callable[[Scores], float], seed: int, resamples: int
) -> Estimate:
    from rliable import library  # brings pandas and statsmodels: slow to import

    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0 or not np.isfinite(scores).all():
        raise InputError(
            f"scores must be (runs, tasks) finite numbers, found {scores.shape}; "
            "finish the missing runs first"
        )
    # rliable draws from NumPy's global generator, whatever it is given.
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        points, intervals = library.get_interval_estimates(
            {"scores": scores}, lambda sample: np.array([aggregate(sample)]), reps=resamples
        )
    finally:
        np.random.set_state(state)
    low, high = intervals["scores"][:, 0]
    return Estimate(float(points["scores"][0]), float(low), float(high))

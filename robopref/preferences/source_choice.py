"""Which labelled task to transfer from, and which task to label next.

After model-based transfer learning (Cho, Li et al.: Model-Based Transfer Learning for Contextual
Reinforcement Learning, NeurIPS 2024, arXiv 2408.04498). There, a Gaussian process predicts how well
a policy trained on one context does, and what it loses on another grows with the distance between
the two; the context to train on next is the one that promises most over all contexts. Here a
context is a task, what is carried over are labels, and the distance is that of optimal transport
between the tasks' trajectories, for which no label is read. What is learned from are the pairs of
tasks that both have labels: there the labels carried over can be compared with those given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import sample_segments, whole_episodes
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.preferences.transfer import (
    TransferConfig,
    align,
    task_distance,
    transfer_preferences,
)

Array = NDArray[np.float64]
VARIANCES = {"slope": 0.3, "source": 0.3, "target": 0.5, "noise": 0.5}
"""Prior variances, in units of the variance of the known qualities: of each feature's slope, of
what a source and what a target adds, and of the rest."""
KNOWN_PAIRS = 6
"""Fewest pairs of labelled tasks that a prediction is made from: those of three tasks."""
CONFIDENCE_BOUND = 1.0
"""Standard deviations added to what a task that has no labels yet promises (eq. 6 of the paper)."""


@dataclass(frozen=True)
class LabelledPair:
    """What is known of a transfer from one task to another."""

    source: str
    target: str
    distance: float
    """Transport distance between the tasks' trajectories."""
    labels: int = 0
    """Labels on the source; 0 where it has none yet."""
    confidence: float = float("nan")
    """Mean confidence of the labels carried over, where the source has any."""
    quality: float = float("nan")
    """Share of right labels among those carried over, where the target has labels too."""


def observe(
    source: tuple[TrajectoryDataset, Preferences | None],
    target: tuple[TrajectoryDataset, Preferences | None],
    config: TransferConfig,
) -> LabelledPair:
    """Measures a pair of tasks: their distance, and the quality of a transfer if both have labels.

    Args:
        source: dataset and labels.
        target: dataset and labels; these are read for nothing but the quality.
        config: of the transfer.
    """
    (origin, given), (other, known) = source, target
    distance, unknown = task_distance(origin, other, config), float("nan")
    if given is None:
        return LabelledPair(origin.source, other.source, distance)
    confidence, quality = _confidence(origin, given, other, config), unknown
    if known is not None:
        pairs, now = (known.first, known.second), datetime.now(UTC)
        carried, _ = transfer_preferences(origin, given, other, pairs, config, now)
        sure = known.labels != 0.5
        right = np.where(carried.labels == 0.5, 0.5, (carried.labels > 0.5) == (known.labels > 0.5))
        quality = float(right[sure].mean()) if sure.any() else quality
    return LabelledPair(origin.source, other.source, distance, len(given), confidence, quality)


def _confidence(
    source: TrajectoryDataset,
    labels: Preferences,
    target: TrajectoryDataset,
    config: TransferConfig,
) -> float:
    """Of labels carried over to episodes of the target, or to pieces as long as those labelled."""
    length = int(labels.first.lengths.max(initial=0))
    points = whole_episodes(target)
    if (points.lengths > length).all():
        points = sample_segments(target, len(target), length, np.random.default_rng(0))
    return align(source, labels, target, points, config).confidence


class TransferQuality:
    """Gaussian process from what is known of a pair of tasks to the quality of the transfer.

    Quality is a linear function of distance, confidence and number of labels, plus what the source
    and the target have in common with the other pairs that they are in, plus noise. All parts have
    Gaussian priors of fixed variance (`VARIANCES`): of a handful of tasks, fitted ones predicted
    worse (docs/transfer.md).
    """

    def __init__(self, pairs: Sequence[LabelledPair]) -> None:
        """
        Args:
            pairs: those whose quality is not known are passed over.

        Raises:
            InputError: if there are fewer than `KNOWN_PAIRS`.
        """
        self._known = [pair for pair in pairs if np.isfinite(pair.quality)]
        if len(self._known) < KNOWN_PAIRS:
            raise InputError(
                f"{len(self._known)} pairs of tasks with labels on both; a prediction needs at "
                f"least {KNOWN_PAIRS}, as three labelled tasks have"
            )
        features = _features(self._known)
        self._centre, self._scale = features.mean(0), np.maximum(features.std(0), 1e-9)
        quality = np.array([pair.quality for pair in self._known])
        self._mean, self._std = float(quality.mean()), max(float(quality.std()), 1e-9)
        covariance = self._covariance(self._known) + VARIANCES["noise"] * np.eye(len(self._known))
        self._factor = cho_factor(covariance)
        self._weights = cho_solve(self._factor, (quality - self._mean) / self._std)

    def predict(self, pairs: Sequence[LabelledPair]) -> tuple[Array, Array]:
        """(P,) means and (P,) standard deviations of the quality of transfers."""
        shared, own = self._covariance(pairs), self._covariance(pairs, pairs)
        explained = np.einsum("pk,kp->p", shared, cho_solve(self._factor, shared.T))
        variance = np.maximum(own.diagonal() - explained, 0.0)
        return self._mean + self._std * shared @ self._weights, self._std * np.sqrt(variance)

    def _covariance(
        self, pairs: Sequence[LabelledPair], others: Sequence[LabelledPair] | None = None
    ) -> Array:
        """(P, O) prior covariance of qualities, in units of their variance."""
        others = self._known if others is None else others
        # What is not known (the confidence of labels that nobody gave yet) is as usual.
        left, right = (
            np.nan_to_num((_features(side) - self._centre) / self._scale)
            for side in (pairs, others)
        )
        same = {
            end: np.array([[getattr(p, end) == getattr(o, end) for o in others] for p in pairs])
            for end in ("source", "target")
        }
        found: Array = VARIANCES["slope"] * left @ right.T
        return found + sum(VARIANCES[end] * same[end] for end in same)


def _features(pairs: Sequence[LabelledPair]) -> Array:
    """(P, 3): distance, confidence, and logarithm of the number of labels."""
    return np.array([
        (pair.distance, pair.confidence, np.log(max(pair.labels, 1))) for pair in pairs
    ])  # fmt: skip


def next_task(best: Array, mean: Array, std: Array) -> int:
    """The unlabelled task whose labels promise most.

    Args:
        best: (T,) quality that each task has from the best source so far.
        mean: (U, T) predicted quality from each of the unlabelled tasks, were it labelled.
        std: (U, T) of the predictions.

    Returns:
        The row with the largest mean over tasks of the better of the two, at the upper confidence
        bound.
    """
    promised = np.maximum(best, np.minimum(mean + CONFIDENCE_BOUND * std, 1.0)).mean(axis=1)
    return int(promised.argmax())

"""Labels carried from one task to another: how many are right.

Source labels are random pairs of whole episodes by a scripted oracle. Accuracy is over all pairs of
the target's episodes, against the order of their true returns, which nothing else reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robopref.benchmark.cell import MIXED, NOW, Cell, dataset_path, recorded
from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import whole_episodes
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.preferences.trajectory_features import align_features, progress_features
from robopref.preferences.transfer import PRESETS, align, complete_labels
from robopref.seeding import numpy_generator

TABLE, MIX = "transfers", MIXED
BASELINE = "pearl_paper"
NEIGHBOURS = 5

Matrix = NDArray[np.float64]
Transfer = Callable[[TrajectoryDataset, Preferences, TrajectoryDataset], Matrix]
"""From a labelled task to the labels (E, E) of all pairs of episodes of another."""
Features = Callable[[TrajectoryDataset, TrajectoryDataset], tuple[Matrix, Matrix]]
"""Of the episodes of two tasks (E, D)."""


def accuracy(cell: Cell, folder: Path) -> float:
    """Carries the labels over and compares them with the truth."""
    source, target = (
        recorded(dataset_path(task, MIX, folder)) for task in (cell.source, cell.task)
    )
    labels = oracle_labels(source, cell.labels)
    return label_accuracies(METHODS[cell.method](source, labels, target), target.returns)[0]


def oracle_labels(dataset: TrajectoryDataset, pairs: int, seed: int = 0) -> Preferences:
    """Pairs of whole episodes, ordered by their true return."""
    chosen = uniform_pairs(whole_episodes(dataset), pairs, numpy_generator(seed, "pairs"))
    rng = numpy_generator(seed, "oracle")
    return scripted_labels(dataset, chosen, TEACHERS["oracle"], rng, NOW)


def label_accuracies(labels: Matrix, returns: Matrix) -> tuple[float, float]:
    """Share of right labels (E, E) over all pairs, and over the half farthest from a tie."""
    first, second = np.triu_indices(len(returns), k=1)
    label, better = labels[first, second], returns[second] > returns[first]
    right = np.where(label == 0.5, 0.5, (label > 0.5) == better)
    sure = np.argsort(-np.abs(label - 0.5), kind="stable")[: len(label) // 2]
    return float(right.mean()), float(right[sure].mean())


def by_transport(
    preset: str, source: TrajectoryDataset, labels: Preferences, target: TrajectoryDataset
) -> Matrix:
    """Labels by cross-task preference alignment with the settings of a preset."""
    plan = align(source, labels, target, whole_episodes(target), PRESETS[preset])
    return plan.label_matrix()


def by_neighbours(
    features: Features,
    source: TrajectoryDataset,
    labels: Preferences,
    target: TrajectoryDataset,
) -> Matrix:
    """Control without transport: mean label of the nearest source episodes in some features."""
    left, right = features(source, target)
    distances = np.linalg.norm(left[:, None] - right[None], axis=2)
    nearest = np.argsort(distances, axis=0)[:NEIGHBOURS]
    weights = np.zeros_like(distances)
    np.put_along_axis(weights, nearest, 1.0 / NEIGHBOURS, axis=0)
    given = complete_labels(len(source), labels.first.episodes, labels.second.episodes, labels)
    found: Matrix = weights.T @ given @ weights
    return found


def progress(source: TrajectoryDataset, target: TrajectoryDataset) -> tuple[Matrix, Matrix]:
    """The features that the alignment uses."""
    return align_features(
        progress_features(source, whole_episodes(source)),
        progress_features(target, whole_episodes(target)),
    )


METHODS: Mapping[str, Transfer] = {
    **{name: partial(by_transport, name) for name in PRESETS},
    "neighbours": partial(by_neighbours, progress),
}

"""Cross-task Preference Alignment (CPA): labels of one task become labels of another.

Liu, Du, Bai, Lyu, Li: PEARL: Zero-shot Cross-task Preference Alignment and Robust Reward Learning
for Robotic Manipulation, ICML 2024, arXiv 2306.03615. A transport plan T between source and
target trajectories says which correspond. A target pair's label is the mean of the source labels,
weighted by how strongly their trajectories correspond:

    z(j, j') = sum_{i,i'} T_ij T_i'j' z(i, i') / sum_{i,i'} T_ij T_i'j'

The weights are normalised; without that the identity plan of three trajectories gives 1/9 where
the truth is 1.

`TransferConfig()` departs from the paper: see docs/transfer.md for what each step is worth.
`PEARL_PAPER` follows it as far as it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import whole_episodes
from robopref.errors import InputError
from robopref.optimal_transport.gromov_wasserstein import (
    Matrix,
    balanced_plan,
    proximal_plan,
    semi_relaxed_columns,
    semi_relaxed_plan,
    transport_objective,
)
from robopref.preferences.dataset import Preferences, check_dataset, check_informative
from robopref.preferences.prototypes import chunks, find_prototypes, squared_distances
from robopref.preferences.queries import Pairs, distinct_segments
from robopref.preferences.trajectory_features import (
    Features,
    align_features,
    progress_features,
    state_action_features,
)
from robopref.structures import Segments


class Cost(Enum):
    """What makes two trajectories of one task different."""

    PROGRESS = "progress"
    """Object-centred progress, which means the same on both tasks."""
    STATE_ACTION = "state_action"
    """Standardised states and actions, flattened; comparable only within a task."""


class Solver(Enum):
    """Which transport problem is solved."""

    SEMI_RELAXED = "semi_relaxed"
    """Fused, with the source marginal free: any share of good and bad on either side."""
    BALANCED = "balanced"
    """Structure alone, uniform marginals, conditional gradient."""
    PROXIMAL = "proximal"
    """Structure alone, uniform marginals, proximal entropic steps."""


@dataclass
class TransferConfig:
    """Options of the transfer."""

    cost: Cost = Cost.PROGRESS
    """Distances between trajectories."""
    solver: Solver = Solver.SEMI_RELAXED
    """The transport problem."""
    structure_weight: float = 0.8
    """Weight of structure against the fused cost, in [0, 1]; semi_relaxed only."""
    temperature: float = 0.2
    """Entropy of the plan, in units of the costs; semi_relaxed and proximal only."""
    prototypes: int = 600
    """Most target trajectories that are aligned with each other. Of more, so many prototypes are,
    and every trajectory is then aligned with these; semi_relaxed only."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.structure_weight <= 1.0:
            raise InputError(
                f"transfer.structure_weight={self.structure_weight}: must lie in [0, 1]"
            )
        if self.temperature <= 0.0:
            raise InputError(f"transfer.temperature={self.temperature}: must be above 0")
        if self.prototypes < 2:
            raise InputError(f"transfer.prototypes={self.prototypes}: must be at least 2")
        if self.solver is Solver.SEMI_RELAXED and self.cost is Cost.STATE_ACTION:
            raise InputError(
                "transfer.cost=state_action: cannot be compared between tasks, which "
                "solver=semi_relaxed does; use cost=progress, or solver=balanced or proximal"
            )


PRESETS: Mapping[str, TransferConfig] = {
    "default": TransferConfig(),
    "pearl_paper": TransferConfig(Cost.STATE_ACTION, Solver.BALANCED),
    "proximal": TransferConfig(Cost.STATE_ACTION, Solver.PROXIMAL, temperature=0.05),
}
"""Named settings. `pearl_paper` is plain Gromov-Wasserstein on trajectory distances."""


ALL_PAIRS, SAMPLED_PAIRS = 2_000, 100_000
"""Most target points all of whose pairs are looked at, and how many pairs of more points are."""
RIDGE = 0.01
"""Ridge on Bradley-Terry scores."""
TINY = float(np.finfo(np.float64).tiny)
"""Smallest divisor."""


@dataclass(frozen=True)
class Transfer:
    """A transport plan with everything that labels follow from."""

    plan: NDArray[np.floating[Any]]
    """(N, M): source points to target points; float32 where prototypes stood for the target."""
    source_labels: Matrix
    """(N, N): probability that the second (column) source point is preferred."""
    source_points: Segments
    """(N,)"""
    target_points: Segments
    """(M,)"""
    objective: float
    """Transport objective per unit of structure; smaller means that the tasks fit better."""

    def label_matrix(self) -> Matrix:
        """(M, M): transferred label of every target pair, the normalised rule of the module."""
        weights = self._weights()
        labels: Matrix = weights.T @ self.source_labels.astype(weights.dtype) @ weights
        return np.clip(labels, 0.0, 1.0)

    def labels(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """(B,): transferred labels of these pairs of target points (B,), in little memory."""
        weights = np.ascontiguousarray(self._weights().T)
        truth = self.source_labels.astype(weights.dtype)
        found = np.empty(len(first))
        order = np.argsort(first, kind="stable")  # each first point's product once
        for piece in chunks(len(first)):
            rows = order[piece]
            points, which = np.unique(first[rows], return_inverse=True)
            seen = weights[points] @ truth
            found[rows] = np.einsum("bn,bn->b", seen[which], weights[second[rows]])
        return np.clip(found, 0.0, 1.0)

    def _weights(self) -> NDArray[np.floating[Any]]:
        sums = np.maximum(self.plan.sum(axis=0), np.finfo(self.plan.dtype).tiny)
        return np.asarray(self.plan / sums)

    @property
    def confidence(self) -> float:
        """Mean of `pair_confidence` over all target pairs, in [0, 1], or over many where there are
        very many; ranks candidate sources.
        """
        count = len(self.target_points)
        if count <= ALL_PAIRS:
            return float(pair_confidence(self.label_matrix()[np.triu_indices(count, k=1)]).mean())
        pairs = np.random.default_rng(0).integers(0, count, (2, SAMPLED_PAIRS))
        pairs = pairs[:, pairs[0] != pairs[1]]
        return float(pair_confidence(self.labels(pairs[0], pairs[1])).mean())


def pair_confidence(labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of labels from a tie, |2 z - 1|: how far the matched source pairs agree."""
    confidence: NDArray[np.float64] = np.abs(2.0 * labels - 1.0)
    return confidence


def align(
    source: TrajectoryDataset,
    preferences: Preferences,
    target: TrajectoryDataset,
    target_points: Segments,
    config: TransferConfig,
) -> Transfer:
    """Finds which source segments the target's correspond to. Reads no reward.

    Args:
        source: the labelled task.
        preferences: labels over it.
        target: the task without labels.
        target_points: (M,) segments of the target.
        config: options.

    Raises:
        InputError: if the labels belong to other data, are too few or all equal, or the
            segments of the two sides differ in length.
    """
    check_dataset(preferences, source)
    check_informative(preferences)
    source_points, (first, second) = distinct_segments(preferences.first, preferences.second)
    _check_lengths(source, source_points, target, target_points)
    if len(target_points) < 2:
        raise InputError(
            f"{target.source}: {len(target_points)} segment; transfer needs at least 2"
        )
    left, right = _both_features((source, source_points), (target, target_points), config)
    plan, objective = _plan(left, right, config)
    return Transfer(
        plan=plan,
        source_labels=complete_labels(len(source_points), first, second, preferences),
        source_points=source_points,
        target_points=target_points,
        objective=objective,
    )


def task_distance(
    source: TrajectoryDataset, target: TrajectoryDataset, config: TransferConfig
) -> float:
    """Transport objective between all episodes of two tasks: smaller means that they fit better.

    Reads neither labels nor rewards.
    """
    ends = [(dataset, whole_episodes(dataset)) for dataset in (source, target)]
    return _plan(*_both_features(ends[0], ends[1], config), config)[1]


def _both_features(
    source: tuple[TrajectoryDataset, Segments],
    target: tuple[TrajectoryDataset, Segments],
    config: TransferConfig,
) -> tuple[Matrix, Matrix]:
    """(N, D) and (M, D) features of segments of both tasks."""
    if config.cost is Cost.PROGRESS:
        return align_features(_progress(*source), _progress(*target))
    return state_action_features(*source), state_action_features(*target)


def _progress(dataset: TrajectoryDataset, points: Segments) -> dict[str, Features]:
    """`progress_features`, a part of the points at a time."""
    parts = [progress_features(dataset, points[piece]) for piece in chunks(len(points))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _plan(
    left: Matrix, right: Matrix, config: TransferConfig
) -> tuple[NDArray[np.floating[Any]], float]:
    """(N, M) plan between the features of source (N, D) and target points (M, D), and the objective
    of what was solved.
    """
    many = len(right) > config.prototypes
    if many and config.solver is not Solver.SEMI_RELAXED:
        raise InputError(
            f"transfer.solver={config.solver.value}: {len(right)} target trajectories are more "
            f"than transfer.prototypes={config.prototypes}, and only solver=semi_relaxed does with "
            "prototypes; label fewer pairs or raise transfer.prototypes"
        )
    points, masses = find_prototypes(right, config.prototypes) if many else (right, None)
    inside_source, inside_target = _scaled_distances(left), _scaled_distances(points)
    weight, temperature = config.structure_weight, config.temperature
    cost: Matrix | None = None
    match config.solver:
        case Solver.SEMI_RELAXED:
            cost = squared_distances(left, points)
            unit = max(float(np.median(cost)), TINY)
            cost /= unit
            plan = semi_relaxed_plan(
                cost, inside_source, inside_target, weight, temperature, masses=masses
            )
        case Solver.BALANCED:
            plan = balanced_plan(inside_source, inside_target)
        case Solver.PROXIMAL:
            plan = proximal_plan(inside_source, inside_target, temperature)
    objective = transport_objective(cost, inside_source, inside_target, plan, weight)
    if not many:
        return plan, objective
    whole = np.empty((len(left), len(right)), dtype=np.float32)
    longest = float(np.sqrt(squared_distances(points, points).max()))
    for piece in chunks(len(right)):
        near = np.sqrt(squared_distances(right[piece], points)) / max(longest, TINY)
        here = squared_distances(left, right[piece]) / unit
        whole[:, piece] = semi_relaxed_columns(
            here, inside_source, near, plan, weight, temperature
        ) / len(right)
    return whole, objective


def _check_lengths(
    source: TrajectoryDataset,
    source_points: Segments,
    target: TrajectoryDataset,
    target_points: Segments,
) -> None:
    """Refuses two sides that each have one length, but not the same. Whole episodes may vary."""
    here, there = np.unique(source_points.lengths), np.unique(target_points.lengths)
    if len(here) == len(there) == 1 and here[0] != there[0]:
        raise InputError(
            f"segments of {source.source} have {here[0]} steps and those of {target.source} "
            f"{there[0]}; label or transfer segments of equal length (segment_length={here[0]})"
        )


def transfer_preferences(
    source: TrajectoryDataset,
    preferences: Preferences,
    target: TrajectoryDataset,
    target_pairs: Pairs,
    config: TransferConfig,
    created_at: datetime,
) -> tuple[Preferences, Transfer]:
    """Labels pairs of the target task from labels of the source task.

    Args:
        source: the labelled task.
        preferences: labels over it.
        target: the task without labels.
        target_pairs: pairs of target segments to label.
        config: options.
        created_at: time stamp of the labels.

    Returns:
        Preferences over the target with a confidence for each pair, and how they came about.

    Raises:
        InputError: as `align`.
    """
    points, (first, second) = distinct_segments(*target_pairs)
    transfer = align(source, preferences, target, points, config)
    labels = transfer.labels(first, second)
    transferred = Preferences.from_labels(
        target,
        *target_pairs,
        labels,
        source="transferred",
        annotator=f"cpa:{source.fingerprint}",
        created_at=created_at,
        confidence=pair_confidence(labels),
    )
    return transferred, transfer


def complete_labels(
    points: int,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    preferences: Preferences,
) -> Matrix:
    """Labels of all pairs of points, those not compared filled in by Bradley-Terry scores.

    The scores s minimise the weighted cross entropy of sigmoid(s_second - s_first) with a small
    ridge, which keeps them finite when the labels never contradict each other.

    Args:
        points: number of points, N.
        first: (B,) index of each first segment.
        second: (B,) index of each second segment.
        preferences: (B,) labels and confidences.

    Returns:
        (N, N): probability that the column's point is preferred to the row's.
    """
    weights = preferences.confidence / max(float(preferences.confidence.mean()), 1e-12)

    def loss(scores: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = scores[second] - scores[first]
        entropy = np.logaddexp(0.0, margin) - preferences.labels * margin
        slope = weights * (expit(margin) - preferences.labels)
        gradient = np.bincount(second, slope, points) - np.bincount(first, slope, points)
        value = float((weights * entropy).sum()) + 0.5 * RIDGE * float((scores**2).sum())
        return value, gradient + RIDGE * scores

    scores = minimize(loss, np.zeros(points), jac=True, method="L-BFGS-B").x
    labels: Matrix = expit(scores[None, :] - scores[:, None])
    # Labels that were given count as they are; a pair asked twice gets the mean of its answers.
    total, count = np.zeros((points, points)), np.zeros((points, points))
    for rows, columns, values in (
        (first, second, preferences.labels),
        (second, first, 1.0 - preferences.labels),
    ):
        np.add.at(total, (rows, columns), values)
        np.add.at(count, (rows, columns), 1.0)
    return np.where(count > 0, total / np.maximum(count, 1.0), labels)


def _scaled_distances(points: NDArray[Any]) -> Matrix:
    """(N, N) Euclidean distances inside one task, scaled to at most 1."""
    distances = np.sqrt(squared_distances(points, points))
    np.fill_diagonal(distances, 0.0)
    return distances / max(float(distances.max()), TINY)

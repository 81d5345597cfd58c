"""Gromov-Wasserstein transport between two sets, each known by the distances inside it.

The balanced problems are POT's. The semi-relaxed one with entropy is ours: POT's solver takes the
entropy as a step size only, so its plans end up nearly one-to-one, and a label averaged over one
source trajectory is coarse.

Shape letters: `N` source points, `M` target points.
"""

from __future__ import annotations

import warnings

import numpy as np
import ot
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def balanced_plan(source_distances: Matrix, target_distances: Matrix) -> Matrix:
    """Gromov-Wasserstein plan with uniform marginals on both sides, by conditional gradient.

    min_T sum_{i,i',j,j'} (Cs_ii' - Ct_jj')^2 T_ij T_i'j'  (Peyre, Cuturi, Solomon 2016, eq. 5).

    Args:
        source_distances: (N, N).
        target_distances: (M, M).

    Returns:
        (N, M) plan; rows sum to 1 / N, columns to 1 / M.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT warns when it stops at its iteration limit
        plan: Matrix = ot.gromov.gromov_wasserstein(
            source_distances,
            target_distances,
            _uniform(source_distances),
            _uniform(target_distances),
        )
    return plan


def proximal_plan(source_distances: Matrix, target_distances: Matrix, temperature: float) -> Matrix:
    """The same problem by proximal point steps with a KL term (Xu et al. 2019), as in POT.

    Args:
        source_distances: (N, N).
        target_distances: (M, M).
        temperature: weight of the KL term.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan: Matrix = ot.gromov.entropic_gromov_wasserstein(
            source_distances,
            target_distances,
            _uniform(source_distances),
            _uniform(target_distances),
            epsilon=temperature,
            solver="PPA",
            max_iter=50,
        )
    return plan


def semi_relaxed_plan(
    cost: Matrix,
    source_distances: Matrix,
    target_distances: Matrix,
    structure_weight: float,
    temperature: float,
    iterations: int = 100,
    tolerance: float = 1e-5,
    masses: NDArray[np.float64] | None = None,
) -> Matrix:
    """Fused Gromov-Wasserstein plan whose source marginal is free, smoothed by entropy.

    min_T (1 - a) <M, T> + a sum (Cs_ii' - Ct_jj')^2 T_ij T_i'j' + eps sum T log T, subject to
    columns that sum to 1 / M alone (Vincent-Cuaz et al. 2022, eq. 5, with an entropy). A source
    trajectory may be used by many targets or by none, so the sides need not hold equal shares of
    good and bad. With gradient G(T), the fixed point is T_ij ~ exp(-G_ij(T) / eps) per column;
    half of each step is kept, which settles it.

    Args:
        cost: (N, M) cost between source and target points.
        source_distances: (N, N).
        target_distances: (M, M).
        structure_weight: `a` in [0, 1].
        temperature: `eps`, above 0.
        iterations: most steps.
        tolerance: stops when the plan's mass moves less than this.
        masses: (M,) what the columns sum to, together 1; 1 / M each when None.

    Returns:
        (N, M) plan.
    """
    points, targets = cost.shape
    if masses is None:
        masses = np.full(targets, 1.0 / targets)
    plan = np.tile(masses / points, (points, 1))
    for _ in range(iterations):
        gradient = (1.0 - structure_weight) * cost
        gradient += (
            2.0 * structure_weight * _structure_cost(source_distances, target_distances, plan)
        )
        following = _softmax(-gradient / temperature) * masses
        moved = np.abs(following - plan).sum()
        plan = 0.5 * plan + 0.5 * following
        if moved < tolerance:
            break
    return plan


def semi_relaxed_columns(
    cost: Matrix,
    source_distances: Matrix,
    to_prototypes: Matrix,
    plan: Matrix,
    structure_weight: float,
    temperature: float,
) -> Matrix:
    """Where target points go that are aligned with prototypes, which stand for all of them.

    The fixed point of `semi_relaxed_plan` for a single column, all others being those of `plan`.

    Args:
        cost: (N, B) cost between the source and these target points.
        source_distances: (N, N).
        to_prototypes: (B, P) distances of the points to the prototypes.
        plan: (N, P) of the prototypes.
        structure_weight: as there.
        temperature: as there.

    Returns:
        (N, B): columns that sum to 1.
    """
    structure = _structure_cost(source_distances, to_prototypes.T, plan)
    gradient = (1.0 - structure_weight) * cost + 2.0 * structure_weight * structure
    return _softmax(-gradient / temperature)


def _softmax(exponent: Matrix) -> Matrix:
    """Columns that sum to 1."""
    powers: Matrix = np.exp(exponent - exponent.max(axis=0))
    powers /= powers.sum(axis=0)
    return powers


def transport_objective(
    cost: Matrix | None,
    source_distances: Matrix,
    target_distances: Matrix,
    plan: Matrix,
    structure_weight: float,
) -> float:
    """Fused Gromov-Wasserstein objective of a plan, without entropy; smaller fits better.

    Args:
        cost: (N, M), or None for the structure alone.
        source_distances: (N, N).
        target_distances: (M, M).
        plan: (N, M).
        structure_weight: `a` in [0, 1].
    """
    structure = float((_structure_cost(source_distances, target_distances, plan) * plan).sum())
    if cost is None:
        return structure
    return (1.0 - structure_weight) * float((cost * plan).sum()) + structure_weight * structure


def _structure_cost(source: Matrix, target: Matrix, plan: Matrix) -> Matrix:
    """sum_{i'j'} (Cs_ii' - Ct_j'j)^2 T_i'j', by the square's three terms: (N, M).

    `target` may have other columns than those of the plan: (M', M) for a plan (N, M').
    """
    rows, columns = plan.sum(axis=1), plan.sum(axis=0)
    total: Matrix = ((source**2) @ rows)[:, None] + (columns @ (target**2))[None]
    total -= 2.0 * source @ plan @ target
    return total


def _uniform(distances: Matrix) -> Matrix:
    return np.full(len(distances), 1.0 / len(distances))

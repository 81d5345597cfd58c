"""A few points that stand for very many, so that what grows with their square need not.

Shape letters: `M` points, `P` prototypes, `D` features.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

Points = NDArray[np.float64]
CHUNK = 5_000
"""Points that are looked at at once; bounds memory."""
PER_PROTOTYPE, TURNS = 20, 10
"""Points of each prototype that k-means looks at, and how often it moves them."""


def find_prototypes(points: Points, count: int) -> tuple[Points, NDArray[np.float64]]:
    """k-means (Lloyd 1982, started by k-means++) over a sample of the points.

    Args:
        points: (M, D)
        count: `P`, below `M`.

    Returns:
        (P', D) prototypes that any point is nearest to, and (P',) the share of the points that
        each one stands for.
    """
    rng = np.random.default_rng(0)
    sample = points[np.sort(rng.permutation(len(points))[: PER_PROTOTYPE * count])]
    centres, _ = kmeans2(sample, count, TURNS, minit="++", rng=rng)
    numbers = np.concatenate([
        squared_distances(points[piece], centres).argmin(axis=1) for piece in chunks(len(points))
    ])  # fmt: skip
    counts = np.bincount(numbers, minlength=len(centres))
    return centres[counts > 0], counts[counts > 0] / len(points)


def chunks(count: int) -> Iterator[slice]:
    """Slices that cover so many rows."""
    for start in range(0, count, CHUNK):
        yield slice(start, start + CHUNK)


def squared_distances(left: Points, right: Points) -> Points:
    """(N, M) between (N, D) and (M, D)."""
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2.0 * left @ right.T, 0.0))

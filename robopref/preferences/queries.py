"""Which segments are compared, and which episodes are kept aside for testing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref.structures import Segments

Pairs = tuple[Segments, Segments]
"""(B,) first and (B,) second segments."""


def uniform_pairs(segments: Segments, count: int, rng: np.random.Generator) -> Pairs:
    """Draws `count` different pairs of different segments, uniformly; sides are random too.

    Args:
        segments: the candidates, from `whole_episodes` or `all_segments`.
        count: number of pairs.
        rng: source of randomness.

    Raises:
        InputError: if there are fewer pairs than that.
    """
    total = len(segments) * (len(segments) - 1) // 2
    if not 1 <= count <= total:
        raise InputError(
            f"pairs={count}: {len(segments)} segments give between 1 and {total} different pairs"
        )
    # Unordered pair (i, j), i < j, has number j (j - 1) / 2 + i.
    numbers = rng.choice(total, size=count, replace=False)
    j = np.floor((1.0 + np.sqrt(1.0 + 8.0 * numbers)) / 2.0).astype(np.int64)
    j += (j + 1) * j // 2 <= numbers  # mends rounding of the root for very many segments
    j -= j * (j - 1) // 2 > numbers
    i = numbers - j * (j - 1) // 2
    swap = rng.random(count) < 0.5
    return segments[np.where(swap, j, i)], segments[np.where(swap, i, j)]


def all_pairs(segments: Segments) -> Pairs:
    """Every unordered pair of the segments, the earlier one first."""
    i, j = np.triu_indices(len(segments), k=1)
    return segments[i], segments[j]


def split_episodes(
    episodes: int, held_out: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Splits episodes so that held-out pairs share none with training pairs.

    Args:
        episodes: number of episodes.
        held_out: share to keep aside; each part gets at least two episodes.
        rng: source of randomness.

    Returns:
        Training and held-out episodes, each ascending.

    Raises:
        InputError: if there are fewer than four episodes or the share is not in (0, 1).
    """
    if not 0.0 < held_out < 1.0:
        raise InputError(f"held_out={held_out}: a share must lie between 0 and 1")
    if episodes < 4:
        raise InputError(f"{episodes} episodes cannot be split into two parts with pairs; need 4")
    count = min(max(round(held_out * episodes), 2), episodes - 2)
    order = rng.permutation(episodes)
    return np.sort(order[count:]), np.sort(order[:count])

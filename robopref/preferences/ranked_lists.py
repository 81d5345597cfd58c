"""Ranked lists of segments: asked for with few comparisons, and read from preferences.

Shape letters: `L` lists, `K` places of the longest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref.preferences.dataset import ALONE, Preferences
from robopref.preferences.queries import Pairs, distinct_segments
from robopref.structures import Segments

Compare = Callable[[Pairs], NDArray[np.float64]]
"""Pairs to the probability that the second of each is preferred; NaN where that is not said."""


@dataclass(frozen=True)
class RankedLists:
    """Segments in the order of preference."""

    segments: Segments
    """(L * K,): list by list, the best first; after a list's last segment that one again."""
    sizes: NDArray[np.int64]
    """(L,): segments of each list, at least 2."""
    weights: NDArray[np.float64]
    """(L,): how much each list counts."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(L, K): whether a place is taken."""
        mask: NDArray[np.bool_] = np.arange(self.sizes.max()) < self.sizes[:, None]
        return mask


def ranked_lists(preferences: Preferences) -> RankedLists:
    """The ranked lists that preferences come from; a pair by itself is a list of two.

    A pair whose label is not certain counts less, a tie not at all.

    Raises:
        InputError: if the pairs of a list contradict each other, do not make a whole order, or
            compare a segment with itself.
    """
    segments, (first, second) = distinct_segments(preferences.first, preferences.second)
    itself = np.flatnonzero(first == second)
    if len(itself):
        raise InputError(
            f"preferences: row {int(itself[0])} compares a segment with itself; drop the row"
        )
    prefers_second = preferences.labels > 0.5
    better, worse = np.where(prefers_second, second, first), np.where(prefers_second, first, second)
    sureness = preferences.confidence * np.abs(2.0 * preferences.labels - 1.0)
    alone = (preferences.ranking == ALONE) & (sureness > 0.0)
    orders = [np.array(pair) for pair in zip(better[alone], worse[alone], strict=True)]
    weights = sureness[alone].tolist()
    for number in np.unique(preferences.ranking[preferences.ranking != ALONE]):
        rows = preferences.ranking == number
        orders.append(_order(better[rows], worse[rows], int(number)))
        weights.append(float(preferences.confidence[rows].mean()))
    if not orders:
        raise InputError("preferences: every label is a tie, so nothing is ranked")
    sizes = np.array([len(order) for order in orders])
    places = np.minimum(np.arange(sizes.max()), sizes[:, None] - 1)
    padded = [order[place] for order, place in zip(orders, places, strict=True)]
    return RankedLists(segments[np.concatenate(padded)], sizes, np.array(weights))


def _order(better: NDArray[np.int64], worse: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """(K,): what was compared, the best first."""
    names = np.unique(np.concatenate([better, worse]))
    size = len(names)
    wins = np.array([(better == name).sum() for name in names])
    whole = len({*zip(better.tolist(), worse.tolist(), strict=True)}) == size * (size - 1) // 2
    if not whole or len(better) != size * (size - 1) // 2 or len(set(wins.tolist())) < size:
        raise InputError(
            f"preferences: the {len(better)} pairs of ranking {number} put its {size} segments in "
            "no one order (some contradict each other or are missing); drop or mend them"
        )
    return np.asarray(names[np.argsort(-wins)])


def ask_for_lists(
    segments: Segments, size: int, budget: int, compare: Compare, rng: np.random.Generator
) -> tuple[Pairs, NDArray[np.float64], NDArray[np.int64], int]:
    """Has lists ranked by comparisons, each segment put into its list by binary search.

    Choi et al.: LiRE, Listwise Reward Estimation, ICML 2024, arXiv 2408.04190, section 4.1: a list
    of `K` takes about `K log2 K` comparisons and tells about all its `K (K - 1) / 2` pairs. Where
    the answer is a tie, or there is none, the segment goes behind the one that it was compared to.

    Args:
        segments: the candidates.
        size: `K`, of every list.
        budget: most comparisons.
        compare: who is asked.
        rng: source of randomness.

    Returns:
        All pairs of the lists; their labels, 0 or 1, the better one on either side at random; the
        number of each pair's list; and how many comparisons were made.

    Raises:
        InputError: if a list cannot be had.
    """
    most = sum(int(np.ceil(np.log2(placed + 1))) for placed in range(1, size))
    count = budget // most if most else 0
    if size < 2 or size > len(segments) or not count:
        raise InputError(
            f"ranking_size={size}: a list needs between 2 and {len(segments)} segments, and "
            f"up to {most} comparisons of pairs={budget}"
        )
    drawn = np.stack([rng.choice(len(segments), size, replace=False) for _ in range(count)])
    orders, asked = [[int(row[0])] for row in drawn], 0
    for placed in range(1, size):
        low, high = np.zeros(count, dtype=np.int64), np.full(count, placed)
        while (low < high).any():
            open_lists = np.flatnonzero(low < high)
            middle = (low + high) // 2
            known = np.array([orders[row][middle[row]] for row in open_lists])
            new = drawn[open_lists, placed]
            better = compare((segments[known], segments[new])) > 0.5
            asked += len(open_lists)
            high[open_lists[better]] = middle[open_lists[better]]
            low[open_lists[~better]] = middle[open_lists[~better]] + 1
        for row, order in enumerate(orders):
            order.insert(int(low[row]), int(drawn[row, placed]))
    pairs = np.array([pair for order in orders for pair in itertools.combinations(order, 2)])
    numbers = np.repeat(np.arange(count), size * (size - 1) // 2)
    swapped = rng.random(len(pairs)) < 0.5
    first, second = np.where(swapped[:, None], pairs[:, ::-1], pairs).T
    return (segments[first], segments[second]), swapped.astype(np.float64), numbers, asked

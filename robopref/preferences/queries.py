"""Which segments are compared, and which episodes are kept aside for testing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref.structures import Segments

Pairs = tuple[Segments, Segments]
"""(B,) first and (B,) second segments."""


def uniform_pairs(
    segments: Segments, count: int, rng: np.random.Generator, asked: Pairs | None = None
) -> Pairs:
    """Draws `count` different pairs of different segments, uniformly; sides are random too.

    Args:
        segments: the candidates, from `whole_episodes` or `all_segments`.
        count: number of pairs.
        rng: source of randomness.
        asked: pairs that are not drawn again, whichever side is the first.

    Raises:
        InputError: if there are fewer pairs than that.
    """
    known = _asked_numbers(segments, asked)
    left = len(segments) * (len(segments) - 1) // 2 - len(known)
    if not 1 <= count <= left:
        beside = f" beside the {len(known)} asked already" if len(known) else ""
        raise InputError(
            f"pairs={count}: {len(segments)} segments give between 1 and {left} different pairs"
            + beside
        )
    # Unordered pair (i, j), i < j, has number j (j - 1) / 2 + i. Numbers of asked ones are stepped
    # over: the k-th of those left has as many asked ones before it as lie below its number.
    numbers = rng.choice(left, size=count, replace=False)
    numbers = numbers + np.searchsorted(known - np.arange(len(known)), numbers, side="right")
    j = np.floor((1.0 + np.sqrt(1.0 + 8.0 * numbers)) / 2.0).astype(np.int64)
    j += (j + 1) * j // 2 <= numbers  # mends rounding of the root for very many segments
    j -= j * (j - 1) // 2 > numbers
    i = numbers - j * (j - 1) // 2
    swap = rng.random(count) < 0.5
    return segments[np.where(swap, j, i)], segments[np.where(swap, i, j)]


def pairs_left(segments: Segments, asked: Pairs | None = None) -> int:
    """How many different pairs there are beside those asked."""
    return len(segments) * (len(segments) - 1) // 2 - len(_asked_numbers(segments, asked))


def _asked_numbers(segments: Segments, asked: Pairs | None) -> NDArray[np.int64]:
    """Ascending numbers of the asked pairs whose segments are both among the candidates."""
    if asked is None or not len(asked[0]):
        return np.zeros(0, dtype=np.int64)
    places, (own, first, second) = distinct_segments(segments, *asked)
    position = np.full(len(places), -1)
    position[own] = np.arange(len(segments))
    i, j = np.sort([position[first], position[second]], axis=0)
    among = (i >= 0) & (i < j)
    return np.asarray(np.unique(j[among] * (j[among] - 1) // 2 + i[among]))


def join_pairs(one: Pairs, other: Pairs) -> Pairs:
    """The pairs of both, in order."""
    return one[0].join(other[0]), one[1].join(other[1])


def distinct_segments(*groups: Segments) -> tuple[Segments, list[NDArray[np.int64]]]:
    """The segments that occur in any group, each once, and where each group's are among them."""
    rows = np.concatenate([np.stack([s.episodes, s.starts, s.lengths], axis=1) for s in groups])
    unique, inverse = np.unique(rows, axis=0, return_inverse=True)
    ends = np.cumsum([len(group) for group in groups])
    return Segments(*unique.T), np.split(inverse.reshape(-1), ends[:-1])


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

"""Segments of episodes: which there are, and their contents as padded tensors.

Shape letters: `B` segments, `T` steps of the longest one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.structures import Array, SegmentBatch, Segments

if TYPE_CHECKING:
    import torch


def whole_episodes(
    dataset: TrajectoryDataset, episodes: NDArray[np.int64] | None = None
) -> Segments:
    """One segment per episode, from its first step to its last.

    Args:
        dataset: the episodes.
        episodes: which of them, all when None.
    """
    chosen = np.arange(len(dataset)) if episodes is None else np.asarray(episodes, dtype=np.int64)
    return Segments(chosen, np.zeros_like(chosen), dataset.lengths[chosen])


def all_segments(
    dataset: TrajectoryDataset, length: int, episodes: NDArray[np.int64] | None = None
) -> Segments:
    """Every segment of `length` steps, ordered by episode and start; episodes too short have none.

    Args:
        dataset: the episodes.
        length: steps of a segment.
        episodes: which of them, all when None.

    Raises:
        InputError: if `length` is not positive or no episode is that long.
    """
    if length < 1:
        raise InputError(f"segment_length={length}: must be at least 1")
    chosen = np.arange(len(dataset)) if episodes is None else np.asarray(episodes, dtype=np.int64)
    counts = np.maximum(dataset.lengths[chosen] - length + 1, 0)
    total = int(counts.sum())
    if total == 0:
        raise InputError(
            f"segment_length={length}: the longest episode of {dataset.source} has "
            f"{int(dataset.lengths[chosen].max(initial=0))} steps; choose shorter segments"
        )
    # Position within its episode's run of segments is the start.
    starts = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    return Segments(np.repeat(chosen, counts), starts, np.full(total, length, dtype=np.int64))


def segments_of_length(dataset: TrajectoryDataset, length: int) -> Segments:
    """`all_segments` of `length` steps; `whole_episodes` when it is 0, as commands mean it."""
    return all_segments(dataset, length) if length else whole_episodes(dataset)


def sample_segments(
    dataset: TrajectoryDataset,
    count: int,
    length: int,
    rng: np.random.Generator,
    episodes: NDArray[np.int64] | None = None,
) -> Segments:
    """Draws `count` segments of `length` steps, uniformly over valid starts, with replacement.

    Args:
        dataset: the episodes.
        count: number of segments.
        length: steps of a segment.
        rng: source of randomness.
        episodes: which episodes, all when None.

    Raises:
        InputError: if no episode has `length` steps.
    """
    valid = all_segments(dataset, length, episodes)
    return valid[rng.integers(len(valid), size=count)]


def check_segments(dataset: TrajectoryDataset, segments: Segments, where: str) -> None:
    """Raises `InputError` unless every segment lies inside an episode.

    Args:
        dataset: the episodes.
        segments: the segments.
        where: what the message calls them.
    """
    known = (segments.episodes >= 0) & (segments.episodes < len(dataset))
    lengths = dataset.lengths[np.where(known, segments.episodes, 0)]
    inside = (
        (segments.starts >= 0)
        & (segments.lengths >= 1)
        & (segments.starts + segments.lengths <= lengths)
    )
    wrong = np.flatnonzero(~(known & inside))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{where}: segment {row} (episode {segments.episodes[row]}, start "
            f"{segments.starts[row]}, length {segments.lengths[row]}) lies outside the "
            f"{len(dataset)} episodes of {dataset.source}; use the dataset that it was made from"
        )


def step_indices(
    dataset: TrajectoryDataset, segments: Segments
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows of the segments' steps in the per-step arrays.

    Returns:
        (B, T) rows, padded by repeating the last one, and (B, T) mask, True on real steps.
    """
    steps = np.arange(int(segments.lengths.max(initial=0)))
    mask = steps < segments.lengths[:, None]
    within = np.minimum(steps, segments.lengths[:, None] - 1)
    first = dataset.offsets[segments.episodes] + segments.starts
    return first[:, None] + within, mask


def segment_returns(dataset: TrajectoryDataset, segments: Segments) -> NDArray[np.float64]:
    """(B,): undiscounted sum of the true rewards of each segment."""
    indices, mask = step_indices(dataset, segments)
    sums: NDArray[np.float64] = np.where(mask, dataset.rewards[indices], 0.0).sum(axis=1)
    return sums


def gather(
    dataset: TrajectoryDataset, segments: Segments, device: torch.device | str = "cpu"
) -> SegmentBatch:
    """Copies the contents of segments to a device, padded with zeros to the longest.

    Args:
        dataset: the episodes.
        segments: (B,) segments of it.
        device: where the tensors go.

    Raises:
        InputError: if a segment lies outside the dataset.
    """
    import torch

    check_segments(dataset, segments, "segments")
    indices, mask = step_indices(dataset, segments)
    # Step n of episode e has its observation in row n + e.
    rows = indices + segments.episodes[:, None]

    def padded(values: Array) -> torch.Tensor:
        return torch.from_numpy(np.where(mask[..., None], values, np.float32(0.0))).to(device)

    return SegmentBatch(
        observations=padded(dataset.flat_observations[rows]),
        actions=padded(dataset.actions[indices]),
        mask=torch.from_numpy(mask.astype(np.float32)).to(device),
    )

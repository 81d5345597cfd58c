"""From positions in the flat arrays that published labels index to segments of episodes."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.structures import Segments


class Layout(Enum):
    """Which steps the flat arrays hold, and in which order."""

    D4RL = "d4rl"
    """`qlearning_dataset` of D4RL: episodes in order, steps that were cut off left out."""
    ROBOMIMIC = "robomimic"
    """Episodes by name (demo_0, demo_1, demo_10, ...), each without its last step."""
    STEPS = "steps"
    """Every step of every episode, in order."""


def episode_runs(
    dataset: TrajectoryDataset, layout: Layout
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Episodes in the order of the flat arrays, and the number of steps of each there."""
    order = np.arange(len(dataset))
    counts = dataset.lengths.copy()
    if layout is Layout.ROBOMIMIC:
        # h5py lists names in the order of text.
        names = dataset.names or [f"demo_{episode}" for episode in range(len(dataset))]
        order = np.array(sorted(order, key=lambda episode: names[episode]), dtype=np.int64)
        counts -= 1
    elif layout is Layout.D4RL:
        counts -= dataset.truncated[dataset.offsets[1:] - 1]
    return order, counts[order]


def locate(
    dataset: TrajectoryDataset,
    positions: NDArray[Any],
    lengths: NDArray[np.int64],
    layout: Layout,
    where: str,
) -> tuple[Segments, NDArray[np.bool_]]:
    """Finds the segments that start at flat positions.

    Args:
        dataset: what the positions index.
        positions: (B,) whole numbers.
        lengths: (B,) steps of the segments.
        layout: how the flat arrays were made.
        where: the file, for messages.

    Returns:
        (B,) segments, and (B,) whether each lies within one episode. The others must be dropped.

    Raises:
        InputError: if a position does not index this dataset.
    """
    try:
        with np.errstate(invalid="ignore"):
            starts = positions.astype(np.int64)
    except OverflowError:
        starts = np.zeros(0, dtype=np.int64)
    if starts.shape != lengths.shape or not np.array_equal(starts, positions):
        raise InputError(f"{where}: positions must be a list of whole numbers; check the file")
    order, counts = episode_runs(dataset, layout)
    ends = np.cumsum(counts)
    outside = np.flatnonzero((starts < 0) | (lengths < 1) | (starts + lengths > ends[-1]))
    if len(outside):
        row = int(outside[0])
        raise InputError(
            f"{where}: row {row} (position {starts[row]}, {lengths[row]} steps) lies outside the "
            f"{ends[-1]} steps of {dataset.source} in layout {layout.value}; use the dataset that "
            "was labelled, or another layout"
        )
    runs = np.searchsorted(ends, starts, side="right")
    within = starts - (ends - counts)[runs]
    segments = Segments(order[runs], within, lengths)
    return segments, within + lengths <= counts[runs]

"""Corrections as preferences: what a person did is better than what the policy was doing.

Each takeover is a comparison of the policy's last steps before it with the person's first ones, of
equal length. That is more than HIL-SERL makes of it: the comparison trains a reward.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.structures import Segments

SHORTEST = 3
"""Steps of a segment at least."""


def correction_preferences(
    dataset: TrajectoryDataset, length: int, now: datetime, annotator: str = "operator"
) -> Preferences:
    """A comparison for every takeover; the person's steps are preferred, and take sides in turn.

    Args:
        dataset: episodes with `interventions`.
        length: most steps of a segment; shorter where there are fewer on either side.
        now: when.
        annotator: who corrected.

    Raises:
        InputError: if the dataset does not say who acted, or nobody took over after at least three
            steps of the policy's.
    """
    if dataset.interventions is None:
        raise InputError(
            f"{dataset.source}: does not say which steps a person chose; record with robopref hil"
        )
    rows: list[tuple[int, int, int, int]] = []
    for episode in range(len(dataset)):
        chosen: NDArray[np.bool_] = dataset.interventions[dataset.step_slice(episode)]
        edges = np.flatnonzero(np.diff(chosen.astype(np.int8))) + 1
        bounds = [0, *edges.tolist(), len(chosen)]
        for before, start, end in zip(bounds, bounds[1:], bounds[2:], strict=False):
            steps = min(length, start - before, end - start)
            if chosen[start] and steps >= SHORTEST:
                rows.append((episode, start - steps, start, steps))
    if not rows:
        raise InputError(
            f"{dataset.source}: nobody took over after at least {SHORTEST} steps of the policy's, "
            "so there is nothing to compare"
        )
    episodes, first, second, lengths = np.array(rows, dtype=np.int64).T
    swapped = np.arange(len(rows)) % 2 == 1
    return Preferences.from_labels(
        dataset,
        Segments(episodes, np.where(swapped, second, first), lengths),
        Segments(episodes, np.where(swapped, first, second), lengths),
        np.where(swapped, 0.0, 1.0),
        source="intervention",
        annotator=annotator,
        created_at=now,
    )

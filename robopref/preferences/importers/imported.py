"""What every importer ends with: labels over segments, and what is to be said about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import segment_returns
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.preferences.importers.positions import Layout, locate


@dataclass(frozen=True)
class Imported:
    """Published labels as preferences over a dataset."""

    preferences: Preferences
    dataset: TrajectoryDataset
    """What they are about."""
    crossing: int = 0
    """Pairs that were dropped because a segment crosses the end of an episode."""

    @property
    def agreement(self) -> float | None:
        """Share of decided labels that prefer the larger true return.

        None where the true rewards are unknown (all zero) or no label is decided.
        """
        labels = self.preferences.labels
        gain = segment_returns(self.dataset, self.preferences.second) - segment_returns(
            self.dataset, self.preferences.first
        )
        decided = (labels != 0.5) & (gain != 0.0)
        if not decided.any() or not self.dataset.rewards.any():
            return None
        return float(((labels > 0.5) == (gain > 0.0))[decided].mean())

    def summary(self) -> str:
        """Counts of the labels, and their agreement with the true return, on one line."""
        labels = self.preferences.labels
        agreement = self.agreement
        said = (
            f"{len(labels)} labels: {int((labels < 0.5).sum())} prefer the first, "
            f"{int((labels > 0.5).sum())} the second, {int((labels == 0.5).sum())} ties; "
        )
        said += (
            "true rewards unknown"
            if agreement is None
            else f"{100 * agreement:.1f} % agree with the true return"
        )
        if self.crossing:
            said += f"; {self.crossing} dropped, a segment crosses the end of an episode"
        return said


def agreement_with(preferences: Preferences, other: Preferences) -> tuple[int, float | None]:
    """How far two sets of labels agree on the pairs that both have, whatever the rows' order.

    Returns:
        Number of pairs that both have and decide, and the share of them with the same answer;
        None if there is no such pair.
    """
    answers = dict(zip(_pairs(other), other.labels.tolist(), strict=True))
    same = [
        (label > 0.5) == (answers[pair] > 0.5)
        for pair, label in zip(_pairs(preferences), preferences.labels.tolist(), strict=True)
        if label != 0.5 and answers.get(pair, 0.5) != 0.5
    ]
    return len(same), float(np.mean(same)) if same else None


def _pairs(preferences: Preferences) -> list[tuple[Any, ...]]:
    """What tells a pair from others: dataset, episode, start and length of both sides."""
    sides = (
        (preferences.first_dataset, preferences.first),
        (preferences.second_dataset, preferences.second),
    )
    columns = [
        values.tolist()
        for names, segments in sides
        for values in (names, segments.episodes, segments.starts, segments.lengths)
    ]
    return list(zip(*columns, strict=True))


def signed_labels(values: NDArray[Any], where: str) -> NDArray[np.float64]:
    """Labels 0 (first), 1 (second), -1 (equal) as probabilities that the second is preferred.

    Raises:
        InputError: if there is another value.
    """
    values = values.astype(np.float64)
    unknown = np.flatnonzero(~np.isin(values, (-1, 0, 1)))
    if values.ndim != 1 or len(unknown):
        found = f"{values[unknown[0]]:g} in row {unknown[0]}" if values.ndim == 1 else values.shape
        raise InputError(f"{where}: labels must be 0, 1 or -1 (equal), found {found}; check it")
    return np.where(values == -1, 0.5, values)


def pair_up(
    dataset: TrajectoryDataset,
    positions: tuple[NDArray[Any], NDArray[Any]],
    lengths: NDArray[np.int64] | int,
    labels: NDArray[np.float64],
    layout: Layout,
    path: Path,
    *,
    source: str,
    annotators: NDArray[np.str_] | str,
    created_at: datetime,
) -> Imported:
    """Makes preferences of flat positions; pairs with a segment that crosses episodes are dropped.

    Args:
        dataset: what the positions index.
        positions: (B,) starts of the first and of the second segments.
        lengths: (B,) steps of the segments, or one number.
        labels: (B,) probability that the second is preferred.
        layout: how the flat arrays were made.
        path: the file, for messages.
        source: one of `robopref.preferences.dataset.SOURCES`.
        annotators: (B,) who judged, or one for all.
        created_at: time stamp of the rows.

    Raises:
        InputError: if a position does not index this dataset or no pair is left.
    """
    steps = np.broadcast_to(np.asarray(lengths, dtype=np.int64), labels.shape)
    sides = [locate(dataset, side, steps, layout, str(path)) for side in positions]
    (first, first_inside), (second, second_inside) = sides
    kept = first_inside & second_inside
    if not kept.any():
        raise InputError(
            f"{path}: every pair has a segment that crosses the end of an episode; "
            f"check that {dataset.source} is the dataset that was labelled"
        )
    names = np.broadcast_to(np.asarray(annotators), labels.shape)[kept]
    preferences = Preferences.from_labels(
        dataset,
        first[kept],
        second[kept],
        labels[kept],
        source=source,
        annotator=str(names[0]),
        created_at=created_at,
    )
    return Imported(replace(preferences, annotator=names), dataset, int((~kept).sum()))

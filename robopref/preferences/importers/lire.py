"""Human feedback of LiRE (Choi et al., ICML 2024): pairs, sequential pairs, and ranked lists.

`*_Independent.txt` and `*_SeqRank.txt` hold a pair and an answer on each line: 1 the first is
better, 2 equal, 3 the second. `*_RLT_<k>.txt` holds a ranked list, `rank [position, ...]` on each
line, the best last; it answers every pair of its segments. Positions are first steps of segments
of 25 steps in the flat dataset of 500-step episodes.
"""

from __future__ import annotations

import ast
from datetime import datetime
from pathlib import Path

import numpy as np

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.files import existing_file
from robopref.preferences.importers.imported import Imported, pair_up
from robopref.preferences.importers.positions import Layout

STEPS = 25
"""Steps of a segment."""
ANSWERS = {1: 0.0, 2: 0.5, 3: 1.0}
LARGEST_LIST = 2000
"""Segments of a ranked list; their pairs are two million."""


def import_lire(
    path: Path,
    dataset: TrajectoryDataset,
    created_at: datetime,
    length: int | None = None,
    layout: Layout | None = None,
) -> Imported:
    """Reads one text file.

    Args:
        path: pairs or a ranked list; which of them is seen from its first line.
        dataset: the labelled data.
        created_at: time stamp of the rows.
        length: steps of a segment, 25 when None.
        layout: what the positions index; every step in order when None.

    Raises:
        InputError: if a line is not as above or does not index the dataset.
    """
    path = existing_file(path)
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = _ranked_pairs(lines) if lines and "[" in lines[0] else _pairs(lines)
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise InputError(
            f"{path}: a line is neither `first second answer` (answer 1, 2 or 3) nor "
            "`rank [positions]`; check the file"
        ) from error
    if not rows:
        raise InputError(f"{path}: holds no pair; check the file")
    first, second, labels = (np.array(column) for column in zip(*rows, strict=True))
    return pair_up(
        dataset,
        (first, second),
        length or STEPS,
        labels.astype(np.float64),
        layout or Layout.STEPS,
        path,
        source="human",
        annotators="lire",
        created_at=created_at,
    )


def _pairs(lines: list[str]) -> list[tuple[int, int, float]]:
    rows = []
    for line in lines:
        first, second, answer = (int(word) for word in line.split())
        rows.append((first, second, ANSWERS[answer]))
    return rows


def _ranked_pairs(lines: list[str]) -> list[tuple[int, int, float]]:
    """Every pair of the list: equal within a rank, else the higher rank wins.

    The winner stands second and first in turn, so that its side tells nothing.
    """
    ranked: list[tuple[int, int]] = []
    for line in lines:
        rank, _, positions = line.partition(" ")
        ranked += [(int(rank), int(position)) for position in ast.literal_eval(positions.strip())]
    if len(ranked) > LARGEST_LIST:
        raise ValueError("too long a list")
    ranked.sort(key=lambda item: item[0])
    pairs = [
        (worse, better, 0.5 if rank == other else 1.0)
        for place, (rank, worse) in enumerate(ranked)
        for other, better in ranked[place + 1 :]
    ]
    return [
        (second, first, 1.0 - label) if row % 2 else (first, second, label)
        for row, (first, second, label) in enumerate(pairs)
    ]

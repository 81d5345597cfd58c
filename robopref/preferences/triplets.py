"""Answers to: which of two videos is closer to a third? Asked by `ask.kinds=[triplet]`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import check_segments
from robopref.errors import InputError
from robopref.structures import Segments

TRIPLET = "triplet"
"""Kind of such a question in a file of answers."""
LABEL_OF_CHOICE = {"first": 0.0, "equal": 0.5, "second": 1.0}
"""What can be chosen of two, and the label that it is."""


@dataclass(frozen=True)
class Triplets:
    """`B` anchors, and which of two others is closer to each."""

    anchors: Segments
    first: Segments
    second: Segments
    labels: NDArray[np.float64]
    """(B,): 0 where the first is closer, 1 the second, 0.5 equal."""

    def __len__(self) -> int:
        return len(self.labels)


NOTHING = Segments(*np.zeros((3, 0), np.int64))
NONE = Triplets(NOTHING, NOTHING, NOTHING, np.zeros(0))
"""No answer."""


def load_triplets(path: Path | str, dataset: TrajectoryDataset) -> Triplets:
    """The triplets among all answers of a labelling session, those skipped left out.

    Args:
        path: `answers.parquet` of the label page.
        dataset: that was labelled.

    Raises:
        InputError: if the file is no such table, holds no triplet, or names other segments than the
            dataset has.
    """
    try:
        table = pq.read_table(path, columns=["kind", "pieces", "answer"]).to_pylist()
        rows = [
            (json.loads(row["pieces"]), LABEL_OF_CHOICE[answer["choice"]])
            for row in table
            if row["kind"] == TRIPLET and "choice" in (answer := json.loads(row["answer"]))
        ]
        pieces = np.array([each for each, _ in rows], dtype=np.int64).reshape(-1, 3, 3)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"triplets={path}: cannot be read as answers ({error}); give the answers.parquet of a "
            "robopref label session"
        ) from error
    if not rows:
        raise InputError(f"triplets={path}: holds no triplet; ask them with ask.kinds=[triplet]")
    anchors, first, second = (Segments(*pieces[:, place].T) for place in range(3))
    for side in (anchors, first, second):
        check_segments(dataset, side, f"triplets={path}")
    return Triplets(anchors, first, second, np.array([label for _, label in rows]))

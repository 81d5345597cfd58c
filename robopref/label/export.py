"""Answers as files: preferences for reward learning, and everything as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import check_segments
from robopref.files import atomic_path
from robopref.label.questions import ATTRIBUTE, RANKING, Piece, preferred_pairs
from robopref.label.store import Answer
from robopref.preferences.dataset import ALONE, Preferences, save_preferences
from robopref.structures import Segments

PREFERENCES, ANSWERS = "preferences.parquet", "answers.parquet"


def preferences_of(
    answers: Sequence[Answer], dataset: TrajectoryDataset, attribute: str = ""
) -> Preferences:
    """The pairs that answers tell about, in their order.

    A ranking's pairs share its weight: those of `k` segments count `k - 1` pairs together, since
    so many comparisons would have given the same order.

    Args:
        answers: all that stand.
        dataset: that was labelled.
        attribute: takes the answers about this attribute; when empty, those about no attribute.
    """
    rows: list[tuple[Piece, Piece, float, float, Answer, int]] = []
    for number, answer in enumerate(answers):
        about = answer.question.attribute if answer.question.kind == ATTRIBUTE else ""
        if about == attribute:
            pairs = preferred_pairs(answer.question, answer.answer)
            weight = 2.0 / len(answer.question.pieces) if len(pairs) > 1 else 1.0
            ranking = number if answer.question.kind == RANKING else ALONE
            rows += [(*pair, weight, answer, ranking) for pair in pairs]
    first, second = _segments([row[0] for row in rows]), _segments([row[1] for row in rows])
    check_segments(dataset, first, "first segments")
    check_segments(dataset, second, "second segments")
    given = [row[4] for row in rows]
    moments = [answer.created_at.replace(tzinfo=None) for answer in given]
    times = [answer.response_time_s for answer in given]
    return Preferences(
        first=first,
        second=second,
        first_dataset=np.full(len(rows), dataset.fingerprint),
        second_dataset=np.full(len(rows), dataset.fingerprint),
        labels=_numbers([row[2] for row in rows]),
        source=np.full(len(rows), "human"),
        annotator=np.array([answer.annotator for answer in given], dtype=np.str_),
        confidence=_numbers([row[3] for row in rows]),
        created_at=np.array(moments, dtype="datetime64[us]"),
        response_time_s=_numbers([np.nan if time is None else time for time in times]),
        ranking=np.array([row[5] for row in rows], dtype=np.int64),
    )


def export(
    answers: Sequence[Answer],
    dataset: TrajectoryDataset,
    folder: Path,
    earlier: Preferences | None = None,
) -> int:
    """Writes all files of a project; returns the number of labelled pairs.

    Args:
        answers: all that stand.
        dataset: that was labelled.
        folder: gets `preferences.parquet`, `preferences-ATTRIBUTE.parquet` for each attribute that
            was asked about, and `answers.parquet`.
        earlier: labels that stand first among the preferences.
    """
    names = {answer.question.attribute for answer in answers} - {""}
    for name in sorted(names):
        file = f"preferences-{re.sub(r'[^A-Za-z0-9]+', '_', name)}.parquet"
        save_preferences(folder / file, preferences_of(answers, dataset, name))
    preferences = preferences_of(answers, dataset)
    if earlier is not None:
        preferences = earlier.join(preferences)
    save_preferences(folder / PREFERENCES, preferences)
    _save_answers(folder / ANSWERS, answers)
    return len(preferences)


def _save_answers(path: Path, answers: Sequence[Answer]) -> None:
    columns = {
        "question": pa.array([answer.question_id for answer in answers], pa.int64()),
        "kind": pa.array([answer.question.kind for answer in answers], pa.string()),
        "attribute": pa.array([answer.question.attribute for answer in answers], pa.string()),
        "repeats": pa.array([answer.question.repeats for answer in answers], pa.bool_()),
        "pieces": pa.array([json.dumps(a.question.pieces) for a in answers], pa.string()),
        "annotator": pa.array([answer.annotator for answer in answers], pa.string()),
        "answer": pa.array([json.dumps(answer.answer) for answer in answers], pa.string()),
        "reason": pa.array([answer.reason for answer in answers], pa.string()),
        "response_time_s": pa.array([answer.response_time_s for answer in answers], pa.float64()),
        "created_at": pa.array(
            [answer.created_at for answer in answers], pa.timestamp("us", tz="UTC")
        ),
    }
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _segments(pieces: Sequence[Piece]) -> Segments:
    return Segments(*np.array(pieces, dtype=np.int64).reshape(-1, 3).T)


def _numbers(values: Sequence[float]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)

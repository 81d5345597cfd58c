"""The zip that Uni-RLHF's platform exports: `meta_data.json` and `label.csv`.

The order of the columns changes from one export to the next and `query_id` comes twice, so cells
are found by header. `label` holds {user: {question: option}} for every annotator of the query.
"""

from __future__ import annotations

import ast
import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.files import check_expansion, existing_file
from robopref.preferences.importers.imported import Imported, pair_up, signed_labels
from robopref.preferences.importers.positions import Layout

COLUMNS = ("start_indices_1", "end_indices_1", "start_indices_2", "end_indices_2", "label")
LARGEST = 2**40
"""No dataset has more steps."""
Options = Mapping[str, int]


def import_uni_rlhf_export(
    path: Path,
    dataset: TrajectoryDataset,
    created_at: datetime,
    options: Options,
    question: str = "0",
    layout: Layout | None = None,
) -> Imported:
    """Reads the comparisons of an exported project, one row for each annotator's answer.

    Args:
        path: the zip file.
        dataset: the labelled data.
        created_at: time stamp of the rows.
        options: what the options of the question mean: 0 (first), 1 (second) or -1 (equal), by
            the option's number. The platform lets each project choose.
        question: number of the question, where there are several.
        layout: what the positions index; D4RL's `qlearning_dataset` when None.

    Raises:
        InputError: if the file is damaged, lacks a column, or an answer has no meaning.
    """
    rows = list(_answers(_csv_rows(path), options, question, path))
    if not rows:
        raise InputError(f"{path}: no comparison is answered; export a labelled project")
    starts = np.array([row[:2] for row in rows], dtype=np.int64)
    labels = np.array([row[3] for row in rows], dtype=np.int64)
    return pair_up(
        dataset,
        (starts[:, 0], starts[:, 1]),
        np.array([row[2] for row in rows], dtype=np.int64),
        signed_labels(labels, str(path)),
        layout or Layout.D4RL,
        path,
        source="human",
        annotators=np.array([row[4] for row in rows]),
        created_at=created_at,
    )


def _csv_rows(path: Path) -> list[dict[str, str]]:
    path = existing_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            check_expansion(path, archive.getinfo("label.csv").file_size)
            content = archive.read("label.csv").decode("utf-8-sig")
        # Of the two columns query_id the later one wins; neither is read.
        return list(csv.DictReader(io.StringIO(content)))
    except InputError:
        raise
    except (
        KeyError, OSError, EOFError, RuntimeError, ValueError,
        csv.Error, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"{path}: no export with label.csv ({reason}); export it again") from error


def _answers(
    rows: list[dict[str, str]], options: Options, question: str, path: Path
) -> Iterator[tuple[int, int, int, int, str]]:
    """First and second start, length, label and annotator of every answer."""
    missing = [name for name in COLUMNS if rows and name not in rows[0]]
    if missing:
        raise InputError(
            f"{path}: label.csv has no column {', '.join(missing)}; only comparisons of two "
            "segments are read"
        )
    for number, row in enumerate(rows):
        where = f"{path}: row {number} of label.csv"
        if not (row["label"] or "").strip():
            continue  # nobody answered
        try:
            first, end, second, other_end = (int(row[name]) for name in COLUMNS[:4])
            answers = _parsed(row["label"])
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise InputError(f"{where}: is not readable; export it again") from error
        if max(map(abs, (first, end, second, other_end))) > LARGEST:
            raise InputError(f"{where}: its positions index no dataset; export it again")
        if end - first != other_end - second:
            raise InputError(f"{where}: its segments differ in length; drop the row")
        for user, given in answers.items():
            yield first, second, end - first, _meaning(given, options, question, where), str(user)


def _parsed(text: str) -> dict[Any, Any]:
    value = ast.literal_eval(text)
    if not isinstance(value, dict):
        raise ValueError("no dict")
    return value


def _meaning(given: Any, options: Options, question: str, where: str) -> int:
    chosen = given.get(question) if isinstance(given, dict) else None
    if str(chosen) not in options:
        raise InputError(
            f"{where}: question {question} has the answer {str(chosen)[:40]}, which is none of the "
            f"options {', '.join(options)}; say what each means, such as 0=first,1=second,2=equal"
        )
    return options[str(chosen)]

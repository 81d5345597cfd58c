"""Labels of Uni-RLHF (Yuan et al., ICLR 2024): crowd and scripted files of Clean-Offline-RLHF.

A set is three pickles whose names share a suffix `domain_<d>_env_<e>_num_<N>_len_<H>_<id>`:
`indices_1_*` and `indices_2_*`, start positions, and `human_label_*` (0 first, 1 second, -1 equal)
or `fake_label_*` (one-hot rows, [0.5, 0.5] for ties). Crowd and scripted files hold the same
queries in different orders, so labels are joined to the positions of their own suffix only.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.importers.imported import Imported, pair_up, signed_labels
from robopref.preferences.importers.pickles import array_of, read_data
from robopref.preferences.importers.positions import Layout

NAME = re.compile(r"(?P<kind>human|fake)_label_(?P<suffix>.*_len_(?P<length>\d+)(_.*)?)\.pkl")


def import_uni_rlhf(
    path: Path,
    dataset: TrajectoryDataset,
    created_at: datetime,
    length: int | None = None,
    layout: Layout | None = None,
) -> Imported:
    """Reads one set of labels.

    Args:
        path: the label file, or a folder with one.
        dataset: the labelled data.
        created_at: time stamp of the rows.
        length: steps of a segment; by the file's name when None.
        layout: what the positions index; D4RL's `qlearning_dataset` when None.

    Raises:
        InputError: if a file is missing, holds something else, or does not index the dataset.
    """
    path = _label_file(path)
    named = NAME.fullmatch(path.name)
    if named is None:
        raise InputError(f"{path}: is not named like human_label_..._len_200_....pkl; rename it")
    sides = []
    for side in ("indices_1", "indices_2"):
        positions = path.with_name(f"{side}_{named['suffix']}.pkl")
        if not positions.is_file():
            raise InputError(
                f"{path}: {positions.name} is not beside it; download it too (files of another "
                "suffix hold their rows in another order)"
            )
        sides.append(array_of(read_data(positions), positions, "the positions"))
        _check_positions(sides[-1], positions)
    labels = _labels(array_of(read_data(path), path, "the labels"), path)
    if not len(labels) == len(sides[0]) == len(sides[1]):
        raise InputError(
            f"{path}: {len(labels)} labels for {len(sides[0])} first and {len(sides[1])} second "
            "segments; download the three files again"
        )
    human = named["kind"] == "human"
    return pair_up(
        dataset,
        (sides[0], sides[1]),
        length or int(named["length"]),
        labels,
        layout or Layout.D4RL,
        path,
        source="human" if human else "scripted",
        annotators="uni-rlhf:crowd" if human else "uni-rlhf:scripted",
        created_at=created_at,
    )


def _label_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(file for file in path.iterdir() if NAME.fullmatch(file.name))
    if len(found) != 1:
        raise InputError(
            f"{path}: has {len(found)} label files, but one is needed; name the "
            "human_label_*.pkl or fake_label_*.pkl file itself"
        )
    return found[0]


def _labels(values: NDArray[Any], path: Path) -> NDArray[np.float64]:
    """P(second): one-hot rows are scripted labels, single numbers those of people."""
    if values.ndim == 1:
        return signed_labels(values, str(path))
    if values.ndim != 2 or values.shape[1] != 2 or not np.allclose(values.sum(axis=1), 1.0):
        raise InputError(f"{path}: labels must be pairs that add up to 1; check the file")
    return values[:, 1].astype(np.float64)


def _check_positions(positions: NDArray[Any], path: Path) -> None:
    """One published set holds the numbers of its queries in place of positions."""
    if len(positions) > 1 and np.array_equal(np.sort(positions), np.arange(len(positions))):
        raise InputError(
            f"{path}: holds every number from 0 to {len(positions) - 1} once: numbers of queries, "
            "not positions in a dataset; these labels cannot be used"
        )

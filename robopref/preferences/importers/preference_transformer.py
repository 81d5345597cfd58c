"""Human labels of Preference Transformer (Kim et al., ICLR 2023): `human_label/<env>/` folders.

A folder holds three pickles: `indices_num<N>[_q<H>]` and `indices_2_num<N>[_q<H>]`, start
positions of the first and second segments, and `label_human`, a list of 0 (first), 1 (second) or
-1 (equal). Label i is about row i; some folders have more rows than labels. H is in the names of
the robomimic folders only; the D4RL ones have 100 steps.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.importers.imported import Imported, pair_up, signed_labels
from robopref.preferences.importers.pickles import array_of, read_data
from robopref.preferences.importers.positions import Layout

D4RL_STEPS = 100
"""Steps of a segment where the files do not say."""
LENGTH = re.compile(r"_q(\d+)$")


def import_preference_transformer(
    folder: Path,
    dataset: TrajectoryDataset,
    created_at: datetime,
    length: int | None = None,
    layout: Layout | None = None,
) -> Imported:
    """Reads a folder of labels.

    Args:
        folder: with the three files.
        dataset: the labelled data: robomimic's v0.1 low_dim file, or D4RL's.
        created_at: time stamp of the rows.
        length: steps of a segment; by the files' names when None.
        layout: what the positions index; by the files' names when None.

    Raises:
        InputError: if a file is missing, holds something else, or does not index the dataset.
    """
    first_path, second_path = _only(folder, "indices_num*"), _only(folder, "indices_2_num*")
    label_path = _only(folder, "label_human")
    named = LENGTH.search(first_path.name)
    steps = length or (int(named[1]) if named else D4RL_STEPS)
    labels = signed_labels(
        array_of(read_data(label_path), label_path, "the labels"), str(label_path)
    )
    first, second = (
        array_of(read_data(path), path, "the positions") for path in (first_path, second_path)
    )
    if len(first) != len(second) or len(labels) > len(first):
        raise InputError(
            f"{folder}: {len(labels)} labels for {len(first)} first and {len(second)} second "
            "segments; download the three files again"
        )
    count = len(labels)
    return pair_up(
        dataset,
        (first[:count], second[:count]),
        steps,
        labels,
        layout or (Layout.ROBOMIMIC if named else Layout.D4RL),
        folder,
        source="human",
        annotators="preference-transformer",
        created_at=created_at,
    )


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(
            f"{folder}: has {len(found)} files {pattern}, but one is needed; name a folder such "
            "as human_label/Lift_ph"
        )
    return found[0]

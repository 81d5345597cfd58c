"""Preferences of the library imitation: the pickle that `PreferenceDataset.save` writes.

It carries the fragments themselves, with observations (T + 1, ...), and the probability that the
FIRST fragment is preferred: the other way round than here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import whole_episodes
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.preferences.importers.imported import Imported
from robopref.preferences.importers.pickles import Record, array_of, read_data
from robopref.structures import Trajectory

DATASET = "imitation.algorithms.preference_comparisons.PreferenceDataset"
FRAGMENT = "imitation.data.types.TrajectoryWithRew"


def import_imitation(path: Path, created_at: datetime) -> Imported:
    """Reads a pickle as a dataset of fragments and preferences over it.

    Each fragment is an episode that was cut off: whether its last state was a terminal one or a
    time limit is not recorded.

    Args:
        path: the pickle.
        created_at: time stamp of the rows.

    Raises:
        InputError: if it is no such pickle.
    """
    path = Path(path)
    content = _attributes(read_data(path, {DATASET, FRAGMENT}), DATASET, path)
    sides = [content.get(name) for name in ("fragments1", "fragments2")]
    first_preferred = array_of(content.get("preferences"), path, "preferences").astype(np.float64)
    if first_preferred.ndim != 1 or any(
        not isinstance(side, list) or len(side) != len(first_preferred) for side in sides
    ):
        raise InputError(f"{path}: fragments and preferences differ in number; save it again")
    if not ((first_preferred >= 0.0) & (first_preferred <= 1.0)).all():
        raise InputError(f"{path}: preferences must lie in [0, 1]; save it again")
    dataset = TrajectoryDataset.from_trajectories(
        [_trajectory(fragment, path) for side in sides for fragment in side or ()],
        source=str(path),
    )
    episodes = whole_episodes(dataset)
    preferences = Preferences.from_labels(
        dataset,
        episodes[: len(first_preferred)],
        episodes[len(first_preferred) :],
        1.0 - first_preferred,
        source="scripted",
        annotator="imitation",
        created_at=created_at,
    )
    return Imported(preferences, dataset)


def _attributes(value: Any, name: str, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, Record) or value.name != name or not isinstance(value.value, dict):
        raise InputError(f"{path}: holds no {name.rpartition('.')[2]} of imitation; check the file")
    return value.value


def _trajectory(fragment: Any, path: Path) -> Trajectory:
    content = _attributes(fragment, FRAGMENT, path)
    observations, actions, rewards = (
        array_of(content.get(name), path, name) for name in ("obs", "acts", "rews")
    )
    for values in (observations, actions, rewards):
        if not (np.abs(values.astype(np.float64)) <= np.finfo(np.float32).max).all():
            raise InputError(f"{path}: a fragment holds NaN, infinity or huge numbers; repair it")
    nothing = np.zeros(len(actions), dtype=bool)
    try:
        return Trajectory(
            observations={"state": observations},
            actions=actions,
            rewards=rewards,
            terminated=nothing,
            truncated=np.arange(len(actions)) == len(actions) - 1,
            success=nothing,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error

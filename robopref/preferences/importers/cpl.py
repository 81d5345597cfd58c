"""Score files of CPL (Hejna et al., ICLR 2024): npz files that carry their own segments.

`obs`, `action` and `reward` are (N, T, ...), and every other (N,) or (N, T) array is a score of
the segments. The first half of the segments is compared with the second half: the larger score is
preferred, equal ones tie. The old form has `obs_1`, `action_1`, `obs_2`, `action_2` and `label`.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.npz import read_npz
from robopref.data.segments import whole_episodes
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.preferences.importers.imported import Imported
from robopref.structures import Array, Trajectory

OWN = {"obs", "action", "reward", "obs_1", "obs_2", "action_1", "action_2", "label", "state"}
"""Arrays that are no scores."""


def import_cpl(path: Path, created_at: datetime, score: str = "") -> Imported:
    """Reads a score file as a dataset and preferences over it.

    The observation after the last action is not in the file, so every segment loses that action.

    Args:
        path: the npz file.
        created_at: time stamp of the rows.
        score: name of the score; may be empty if there is one only.

    Raises:
        InputError: if the file is damaged, or the score must be named.
    """
    arrays = _read(path)
    if "label" in arrays and "obs_1" in arrays:
        pairs = {name: _both_sides(arrays, name, path) for name in ("obs", "action")}
        labels = _needed(arrays, "label", path).astype(np.float64).reshape(-1)
        return _imported(path, pairs, labels, created_at)
    scores = {name: values for name, values in arrays.items() if name not in OWN}
    if score not in scores and (score or len(scores) != 1):
        raise InputError(
            f"{path}: has the scores {', '.join(scores) or 'none'}; choose one with score=NAME"
        )
    values = np.atleast_1d(scores[score or next(iter(scores))]).astype(np.float64)
    values = values.reshape(len(values), -1).sum(axis=1)
    half = len(values) // 2
    labels = 0.5 + 0.5 * np.sign(values[half : 2 * half] - values[:half])
    return _imported(path, arrays, labels, created_at)


def _imported(
    path: Path, arrays: dict[str, Array], labels: NDArray[np.float64], created_at: datetime
) -> Imported:
    """Episode i is compared with episode i + B."""
    observations, actions = (_needed(arrays, name, path) for name in ("obs", "action"))
    rewards = arrays.get("reward", np.zeros(actions.shape[:2], dtype=np.float32))
    count, steps = 2 * len(labels), observations.shape[1] if observations.ndim > 1 else 0
    if (
        min(observations.ndim, actions.ndim) < 3
        or {observations.shape[:2], actions.shape[:2], rewards.shape[:2]} != {actions.shape[:2]}
        or len(actions) not in (count, count + 1)
        or steps < 2
        or count == 0
    ):
        raise InputError(
            f"{path}: obs {observations.shape}, action {actions.shape}, reward {rewards.shape} and "
            f"{len(labels)} comparisons do not fit together; check the file"
        )
    last = np.arange(steps - 1) == steps - 2
    nothing = np.zeros(steps - 1, dtype=bool)
    dataset = TrajectoryDataset.from_trajectories(
        [
            Trajectory(
                observations={"state": observations[i]},
                actions=actions[i, :-1],
                rewards=rewards[i].reshape(steps, -1)[:-1, 0],
                terminated=nothing,
                truncated=last,
                success=nothing,
            )
            for i in range(count)
        ],
        source=str(path),
    )
    episodes = whole_episodes(dataset)
    if not ((labels >= 0.0) & (labels <= 1.0)).all():
        raise InputError(f"{path}: labels must lie in [0, 1]; check the file")
    preferences = Preferences.from_labels(
        dataset,
        episodes[: len(labels)],
        episodes[len(labels) :],
        labels,
        source="scripted",
        annotator="cpl",
        created_at=created_at,
    )
    return Imported(preferences, dataset)


def _both_sides(arrays: dict[str, Array], name: str, path: Path) -> Array:
    first, second = (_needed(arrays, f"{name}_{side}", path) for side in (1, 2))
    if first.ndim == 0 or first.shape != second.shape:
        raise InputError(
            f"{path}: {name}_1 {first.shape} and {name}_2 {second.shape} must have the same shape"
        )
    return np.concatenate([first, second])


def _needed(arrays: dict[str, Array], name: str, path: Path) -> Array:
    if name not in arrays:
        raise InputError(f"{path}: has no array {name!r}; it is no score file of CPL")
    return arrays[name]


def _read(path: Path) -> dict[str, Array]:
    arrays = read_npz(path)
    for name, values in arrays.items():
        if not (np.abs(values.astype(np.float64)) <= np.finfo(np.float32).max).all():
            raise InputError(f"{path}: {name} holds NaN, infinity or huge numbers; repair the file")
    return arrays

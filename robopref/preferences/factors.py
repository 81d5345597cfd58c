"""Factors by which segments are ranked: signals per step, of which the mean over a segment counts.

Built in are `success`; `energy` and `smoothness`, costs of the actions; and the progress of hand
and object (`reach`, `move`, `place`, `approach` of `trajectory_features.py`) where the dataset says
where these are. A dataset can bring factors of its own, and a config functions of observations.
Each is better when larger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import step_indices
from robopref.errors import InputError
from robopref.preferences.trajectory_features import progress_signals
from robopref.structures import Segments

Signal = NDArray[np.float64]


@dataclass
class FactorFunction:
    """A number of the observation after each step.

    With one index the entry there; with several, the length of the vector of these entries; with
    `to`, the distance between two places.
    """

    key: str
    """Observation, such as `flat` or `robot0_eef_pos`."""
    at: list[int]
    """Indices in it."""
    to: list[int] = field(default_factory=list)
    """As many indices of the place that the distance is measured to."""
    to_key: str = ""
    """Its observation, the same when empty."""
    smaller_is_better: bool = False
    """Whether the number is a cost."""

    def __post_init__(self) -> None:
        if not self.at or (self.to and len(self.to) != len(self.at)):
            raise InputError(
                f"functions: at={self.at}, to={self.to}: give at least one index, and as many to= "
                "as at="
            )

    def __call__(self, dataset: TrajectoryDataset, rows: NDArray[np.int64]) -> Signal:
        """(B, T): the number at rows (B, T) of the observations.

        Raises:
            InputError: if the dataset has no such observation or index.
        """
        values = self._entries(dataset, self.key, self.at, rows)
        if self.to:
            values = values - self._entries(dataset, self.to_key or self.key, self.to, rows)
        single = len(self.at) == 1 and not self.to
        number: Signal = values[..., 0] if single else np.linalg.norm(values, axis=-1)
        return -number if self.smaller_is_better else number

    def _entries(
        self, dataset: TrajectoryDataset, key: str, indices: list[int], rows: NDArray[np.int64]
    ) -> Signal:
        found = dataset.observations.get(key)
        if found is None or found.ndim != 2 or not all(0 <= i < found.shape[1] for i in indices):
            vectors = {
                name: values.shape[1]
                for name, values in dataset.observations.items()
                if values.ndim == 2
            }
            raise InputError(
                f"functions: {dataset.source} has no observations[{key!r}] with indices "
                f"{list(indices)}; it has {vectors} (name: size)"
            )
        entries: Signal = found[rows][..., indices].astype(np.float64)
        return entries


def segment_factors(
    dataset: TrajectoryDataset,
    segments: Segments,
    ranking: list[str],
    functions: Mapping[str, FactorFunction] | None = None,
) -> NDArray[np.float64]:
    """(B, L): mean of each factor over a segment's steps.

    Args:
        dataset: the episodes.
        segments: (B,) of them.
        ranking: names of `L` factors.
        functions: factors beside those of the dataset and the built-in ones.

    Raises:
        InputError: if there is no factor of a name.
    """
    steps, mask = step_indices(dataset, segments)
    known: dict[str, Signal] = {
        "success": dataset.success[steps].astype(np.float64),
        "energy": -np.square(dataset.actions, dtype=np.float64).sum(axis=1)[steps],
        "smoothness": -_jumps(dataset)[steps],
        **progress_signals(dataset, segments)[0],
        **{name: values[steps].astype(np.float64) for name, values in dataset.factors.items()},
    }
    after = steps + segments.episodes[:, None] + 1  # an episode has a row more than steps
    for name, function in (functions or {}).items():
        known[name] = function(dataset, after)
    unknown = [name for name in ranking if name not in known]
    if unknown:
        raise InputError(
            f"ranking names {unknown[0]}, which {dataset.source} lacks; it has {', '.join(known)}"
        )
    sums = [np.where(mask, known[name], 0.0).sum(axis=1) for name in ranking]
    means: Signal = np.stack(sums, axis=1) / segments.lengths[:, None]
    return means


def _jumps(dataset: TrajectoryDataset) -> Signal:
    """(N,): squared change of the action since the step before, none at an episode's start."""
    actions = dataset.actions.astype(np.float64)
    jumps = np.zeros(len(actions))
    jumps[1:] = np.square(np.diff(actions, axis=0)).sum(axis=1)
    jumps[dataset.offsets[:-1]] = 0.0
    return jumps

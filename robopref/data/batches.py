"""Batches of sequences, gathered from the dataset's flat arrays without a loop over samples.

Shape letters: `B` sequences, `T` steps of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError


@dataclass(frozen=True)
class SequenceBatch:
    """`B` sequences of `T` steps. Images are uint8: convert them on the device.

    A sequence that reaches beyond its episode is padded: the last observation and the last
    action are repeated, and the mask is False there.
    """

    observations: Mapping[str, Tensor]
    """Named, each (B, T, ...)."""
    actions: Tensor
    """(B, T, A)"""
    rewards: Tensor
    """(B, T)"""
    next_observations: Mapping[str, Tensor]
    """Named, each (B, T, ...); views of the memory of `observations`."""
    terminated: Tensor
    """(B, T) bool"""
    mask: Tensor
    """(B, T) bool: True on real steps."""

    def __len__(self) -> int:
        return len(self.mask)


class Sequences:
    """All sequences of a dataset: one begins at each of its `N` steps."""

    def __init__(
        self, dataset: TrajectoryDataset, length: int, keys: Sequence[str] | None = None
    ) -> None:
        """Chooses sequences.

        Args:
            dataset: the episodes, with images in memory or read lazily.
            length: steps of a sequence, `T`.
            keys: observations to gather, all when None.

        Raises:
            InputError: if `length` is not positive or a key is unknown.
        """
        if length < 1:
            raise InputError(f"length={length}: a sequence needs at least 1 step")
        unknown = [key for key in keys or () if key not in dataset.observations]
        if unknown:
            raise InputError(
                f"{dataset.source}: has no observation {unknown[0]!r}; choose from "
                f"{', '.join(dataset.observations)}"
            )
        self.dataset = dataset
        self.keys = tuple(dataset.observations if keys is None else keys)
        self._episodes = np.repeat(np.arange(len(dataset)), dataset.lengths)
        self._ends = dataset.offsets[1:][self._episodes]
        self._steps = np.arange(length + 1)

    def __len__(self) -> int:
        return len(self._ends)

    def batch(self, starts: NDArray[np.int64]) -> SequenceBatch:
        """Gathers sequences.

        Args:
            starts: (B,) first steps, as rows of the dataset's per-step arrays.
        """
        # With T + 1 observation rows, both observations and next observations are slices.
        ahead = starts[:, None] + self._steps
        ends = self._ends[starts][:, None]
        rows = np.minimum(ahead, ends) + self._episodes[starts][:, None]
        steps = np.minimum(ahead[:, :-1], ends - 1)
        gathered = {
            key: torch.from_numpy(self.dataset.observations[key][rows]) for key in self.keys
        }
        return SequenceBatch(
            observations={key: values[:, :-1] for key, values in gathered.items()},
            actions=torch.from_numpy(self.dataset.actions[steps]),
            rewards=torch.from_numpy(self.dataset.rewards[steps]),
            next_observations={key: values[:, 1:] for key, values in gathered.items()},
            terminated=torch.from_numpy(self.dataset.terminated[steps]),
            mask=torch.from_numpy(ahead[:, :-1] < ends),
        )

    def epoch(self, size: int, rng: np.random.Generator) -> Iterator[SequenceBatch]:
        """Every sequence once, in random order; the last batch may be smaller.

        Args:
            size: sequences of a batch, `B`.
            rng: source of randomness.
        """
        order = rng.permutation(len(self))
        for first in range(0, len(order), size):
            yield self.batch(order[first : first + size])

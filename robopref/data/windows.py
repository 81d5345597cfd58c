"""Windows of episodes for sequence policies, drawn by tensor indexing alone.

Shape letters: `N` steps of the dataset, `B` windows or segments, `K` steps of a window, `S` steps
looked at in a segment.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.spans import random_places, steps_in_parts
from robopref.structures import SegmentBatch


class Steps(NamedTuple):
    """Equally many steps of each of `B` segments."""

    observations: Tensor
    """(B, S, D)"""
    actions: Tensor
    """(B, S, A)"""


class Windows:
    """Draws windows of `K` steps, and steps of the episodes that they are from.

    A window may begin before its episode or end after it; it is then cut to the steps there are,
    which is what a policy that remembers `K` steps sees at the start. So each step is in exactly
    `K` windows, and no window reaches from one episode into another.
    """

    def __init__(
        self, dataset: TrajectoryDataset, window: int, device: torch.device | str = "cpu"
    ) -> None:
        """
        Args:
            dataset: the episodes.
            window: `K`.
            device: where batches are wanted.
        """
        self.window = window
        rows = dataset.observation_rows
        self._observations = torch.from_numpy(dataset.flat_observations[rows]).to(device)
        self._actions = torch.from_numpy(dataset.actions).to(device)
        self._first = torch.from_numpy(dataset.offsets[:-1]).to(device)
        self._lengths = torch.from_numpy(dataset.lengths).to(device)
        counts = self._lengths + window - 1
        self._episodes = torch.repeat_interleave(counts)  # (windows,)
        number = torch.arange(len(self._episodes), device=device)
        self._ends = number - (torch.cumsum(counts, 0) - counts)[self._episodes] + 1

    def __len__(self) -> int:
        return len(self._episodes)

    def draw(self, count: int, generator: torch.Generator) -> tuple[SegmentBatch, Tensor]:
        """Draws `count` windows, uniformly and with replacement.

        Args:
            count: `B`.
            generator: source of randomness, on the device.

        Returns:
            (B, K, ...) windows, padded at the end with their last step, and (B,) their episodes.
        """
        device = self._first.device
        drawn = torch.randint(len(self), (count,), generator=generator, device=device)
        return self[drawn], self._episodes[drawn]

    def __getitem__(self, index: Tensor) -> SegmentBatch:
        """(B, K, ...): the windows of these numbers, ordered by episode and last step."""
        episodes, ends = self._episodes[index], self._ends[index]
        starts = (ends - self.window).clamp(min=0)
        steps = torch.minimum(ends, self._lengths[episodes]) - starts
        within = torch.arange(self.window, device=index.device)
        rows = (self._first[episodes] + starts)[:, None]
        rows = rows + torch.minimum(within, steps[:, None] - 1)
        mask = (within < steps[:, None]).float()
        return SegmentBatch(self._observations[rows], self._actions[rows], mask)

    def segments(
        self, episodes: Tensor, lengths: Tensor, count: int, generator: torch.Generator
    ) -> Steps:
        """Steps of one segment per episode given, which begins anywhere in it.

        Args:
            episodes: (B,)
            lengths: (B,) of the segments; an episode that is shorter is taken whole.
            count: `S`.
            generator: source of randomness, on the device.
        """
        lengths = torch.minimum(lengths, self._lengths[episodes])
        starts = random_places(self._lengths[episodes] - lengths + 1, generator)
        return self.steps(self._first[episodes] + starts, lengths, count, generator)

    def steps(
        self,
        starts: Tensor,
        lengths: Tensor,
        count: int,
        generator: torch.Generator | None = None,
    ) -> Steps:
        """`S` steps of each segment, one from each of `S` equal parts of it, in their order.

        Args:
            starts: (B,) first rows of the segments in the flat arrays.
            lengths: (B,); where one is below `S`, steps are repeated.
            count: `S`.
            generator: draws the step in each part; None takes its middle.
        """
        rows = starts[:, None] + steps_in_parts(lengths, count, generator)
        return Steps(self._observations[rows], self._actions[rows])

"""Segments as places among all steps of a dataset, and steps drawn in them by tensor indexing.

Shape letters: `B` segments, `S` steps drawn in each. A span is where a segment lies: its first
step among all `N` steps of the dataset and its length, each (B,).
"""

from __future__ import annotations

import torch
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.structures import Segments

Spans = tuple[Tensor, Tensor]
"""First steps (B,) and lengths (B,)."""


def segment_spans(
    dataset: TrajectoryDataset, segments: Segments, device: torch.device | str = "cpu"
) -> Spans:
    """Where segments lie among all steps of their dataset."""
    starts = torch.from_numpy(dataset.offsets[segments.episodes] + segments.starts)
    return starts.to(device), torch.from_numpy(segments.lengths).to(device)


def random_places(room: Tensor, generator: torch.Generator) -> Tensor:
    """(B,): one of `room` (B,) places each, from 0 on, uniformly.

    Args:
        room: number of places, at least 1.
        generator: source of randomness, on the device of `room`.
    """
    share = torch.rand(len(room), generator=generator, device=room.device)
    return torch.minimum((share * room).long(), room - 1)  # inside, however the product is rounded


def steps_in_parts(lengths: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """(B, S): one step from each of `S` equal parts of each segment, counted from its first.

    Args:
        lengths: (B,); where one is below `S`, steps are repeated.
        count: `S`.
        generator: draws the step in each part, on the device of `lengths`; None takes its middle.
    """
    size, device = (len(lengths), count), lengths.device
    place = (
        torch.full(size, 0.5, device=device)
        if generator is None
        else torch.rand(size, generator=generator, device=device)
    )
    parts = torch.arange(count, device=device) + place
    return torch.minimum((parts * lengths[:, None] / count).long(), lengths[:, None] - 1)

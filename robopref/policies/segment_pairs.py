"""What policies from labelled pairs learn from: the pairs' steps, and transitions of all data.

Shape letters: `P` pairs, `S` steps looked at in a segment, `B` transitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.spans import Spans, segment_spans, steps_in_parts
from robopref.data.transitions import transitions
from robopref.preferences.dataset import Preferences, check_dataset, check_informative
from robopref.structures import TransitionBatch


class SegmentSteps(NamedTuple):
    """`S` steps of each of `P` segments."""

    observations: Tensor
    """(P, S, D)"""
    actions: Tensor
    """(P, S, A)"""
    next_observations: Tensor
    """(P, S, D)"""
    terminated: Tensor
    """(P, S)"""
    weights: Tensor
    """(P, S): how many steps of the segment each stands for; 0 on padding."""


@dataclass(frozen=True)
class PairBatch:
    """`P` labelled pairs and `B` transitions, on one device."""

    first: SegmentSteps
    second: SegmentSteps
    labels: Tensor
    """(P,) in [0, 1]: probability that the second is preferred."""
    confidence: Tensor
    """(P,): weights of the labels, 1 on average over the data."""
    steps: TransitionBatch
    """(B, ...): of the whole dataset, labelled or not; their rewards are zero."""


class PairBatches:
    """Draws batches by tensor indexing, with no Python per sample.

    A segment of at most `S` steps is taken whole; of a longer one, a random step of each of `S`
    equal parts, which makes sums over steps right on average.
    """

    def __init__(
        self,
        dataset: TrajectoryDataset,
        preferences: Preferences,
        pairs: int,
        steps: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Args:
            dataset: the data.
            preferences: labels of its segments.
            pairs: `P` of each batch.
            steps: `S`.
            device: where batches are wanted.

        Raises:
            InputError: if the preferences say nothing or are of another dataset.
        """
        check_informative(preferences)
        check_dataset(preferences, dataset)
        self.pairs, self.steps = pairs, steps
        self._transitions = transitions(dataset, np.zeros(dataset.num_steps)).to(device)
        self._labels = torch.tensor(preferences.labels, dtype=torch.float32).to(device)
        confidence = torch.tensor(preferences.confidence, dtype=torch.float32).to(device)
        self._confidence = confidence / confidence.mean()
        sides = (preferences.first, preferences.second)
        self._spans = [segment_spans(dataset, side, device) for side in sides]

    def __len__(self) -> int:
        return len(self._transitions)

    def draw(self, count: int, generator: torch.Generator) -> PairBatch:
        """Draws `P` pairs and `count` transitions.

        Args:
            count: `B`.
            generator: source of randomness, on the device.
        """
        labels = self._labels
        drawn = torch.randint(len(labels), (self.pairs,), generator=generator, device=labels.device)
        first, second = (
            segment_steps(self._transitions, (starts[drawn], lengths[drawn]), self.steps, generator)
            for starts, lengths in self._spans
        )
        steps = self._transitions.draw(count, generator)
        return PairBatch(first, second, labels[drawn], self._confidence[drawn], steps)


def segment_steps(
    data: TransitionBatch, spans: Spans, count: int, generator: torch.Generator | None
) -> SegmentSteps:
    """`S` steps of each segment.

    Args:
        data: all steps of a dataset.
        spans: where the segments lie among them.
        count: `S`.
        generator: draws the steps of longer segments; None takes the middle of each part.
    """
    starts, lengths = spans
    whole = lengths.clamp(min=count)  # a short segment has as many parts as it is padded to
    within = steps_in_parts(whole, count, generator)
    rows = starts[:, None] + torch.minimum(within, lengths[:, None] - 1)
    weights = (within < lengths[:, None]) * (whole / count)[:, None]
    return SegmentSteps(
        data.observations[rows],
        data.actions[rows],
        data.next_observations[rows],
        data.terminated[rows],
        weights,
    )

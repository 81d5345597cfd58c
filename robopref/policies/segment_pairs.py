"""What policies from labelled pairs learn from: the pairs' steps, and transitions of all data.

Shape letters: `P` pairs, `S` steps looked at in a segment, `B` transitions, `R = 2 P S + B` rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.images import ImageTransitions
from robopref.data.spans import Spans, steps_in_parts
from robopref.data.transitions import transitions
from robopref.policies.pair_labels import PairLabels
from robopref.preferences.dataset import Preferences
from robopref.structures import TransitionBatch


@dataclass(frozen=True)
class PairBatch:
    """`P` labelled pairs and `B` transitions, on one device."""

    transitions: TransitionBatch
    """(R, ...): the steps of the first segments, those of the second ones, and transitions of the
    whole dataset, labelled or not. Their rewards are zero."""
    weights: Tensor
    """(2, P, S): how many steps of a segment each step stands for; 0 on padding."""
    labels: Tensor
    """(P,) in [0, 1]: probability that the second is preferred."""
    confidence: Tensor
    """(P,): weights of the labels, 1 on average over the data."""

    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Values (..., R) of all rows as those of the segments (..., 2, P, S) and of the rest."""
        size = self.weights.numel()
        of_pairs, rest = values.split([size, values.shape[-1] - size], dim=-1)
        return of_pairs.unflatten(-1, self.weights.shape), rest

    def sums(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Values (..., R) summed over the steps of the first and second segments, (..., P) each."""
        first, second = (self.split(values)[0] * self.weights).sum(-1).unbind(-2)
        return first, second


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
        images: NDArray[Any] | None = None,
    ) -> None:
        """
        Args:
            dataset: the data.
            preferences: labels of its segments.
            pairs: `P` of each batch.
            steps: `S`.
            device: where batches are wanted.
            images: (N + E, ...) of the dataset, for policies that look at them.

        Raises:
            InputError: if the preferences say nothing or are of another dataset.
        """
        self.pairs, self.steps = pairs, steps
        self._labels = PairLabels.of(preferences, dataset, device)
        data = transitions(dataset, np.zeros(dataset.num_steps)).to(device)
        self._data: TransitionBatch | ImageTransitions = data
        if images is not None:
            self._data = ImageTransitions(images, dataset.observation_rows, data)

    def __len__(self) -> int:
        return len(self._data)

    def draw(self, count: int, generator: torch.Generator) -> PairBatch:
        """Draws `P` pairs and `count` transitions.

        Args:
            count: `B`.
            generator: source of randomness, on the device.
        """
        drawn = self._labels.draw(self.pairs, generator)
        sides = [segment_rows(span, self.steps, generator) for span in (drawn.first, drawn.second)]
        rows, weights = (torch.stack(parts) for parts in zip(*sides, strict=True))
        rest = torch.randint(len(self), (count,), generator=generator, device=rows.device)
        steps = self._data.take(torch.cat([rows.flatten(), rest]))
        return PairBatch(steps, weights, drawn.labels, drawn.confidence)


def segment_rows(
    spans: Spans, count: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """`S` steps of each segment: rows among all steps, and how many steps each stands for.

    Args:
        spans: where `P` segments lie.
        count: `S`.
        generator: draws the steps of longer segments; None takes the middle of each part.

    Returns:
        (P, S) rows and (P, S) weights, 0 where a shorter segment is padded with its last step.
    """
    starts, lengths = spans
    whole = lengths.clamp(min=count)  # a short segment has as many parts as it is padded to
    within = steps_in_parts(whole, count, generator)
    rows = starts[:, None] + torch.minimum(within, lengths[:, None] - 1)
    return rows, (within < lengths[:, None]) * (whole / count)[:, None]

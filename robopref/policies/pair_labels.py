"""The labels that policies learn from, drawn by tensor indexing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.spans import Spans, segment_spans
from robopref.preferences.dataset import Preferences, check_dataset, check_informative


@dataclass(frozen=True)
class PairLabels:
    """`P` labelled pairs of segments, on one device."""

    first: Spans
    """Where the first segments lie among all steps."""
    second: Spans
    """Where the second ones lie."""
    labels: Tensor
    """(P,) in [0, 1]: probability that the second is preferred."""
    confidence: Tensor
    """(P,): weights of the labels, 1 on average over the data."""

    @classmethod
    def of(
        cls,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        device: torch.device | str = "cpu",
    ) -> PairLabels:
        """All labels of a dataset.

        Raises:
            InputError: if the preferences say nothing or are of another dataset.
        """
        check_informative(preferences)
        check_dataset(preferences, dataset)
        confidence = torch.tensor(preferences.confidence, dtype=torch.float32).to(device)
        return cls(
            segment_spans(dataset, preferences.first, device),
            segment_spans(dataset, preferences.second, device),
            torch.tensor(preferences.labels, dtype=torch.float32).to(device),
            confidence / confidence.mean(),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, count: int, generator: torch.Generator) -> PairLabels:
        """Draws `count` pairs, uniformly and with replacement."""
        device = self.labels.device
        rows = torch.randint(len(self), (count,), generator=generator, device=device)
        first, second = ((starts[rows], lengths[rows]) for starts, lengths in self._sides)
        return PairLabels(first, second, self.labels[rows], self.confidence[rows])

    @property
    def _sides(self) -> tuple[Spans, Spans]:
        return self.first, self.second

"""What OPPO learns from: windows of a dataset, and labelled pairs of its segments."""

from __future__ import annotations

import torch
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.spans import segment_spans
from robopref.data.windows import Windows
from robopref.policies.oppo import OPPOBatch, OPPOConfig
from robopref.preferences.dataset import Preferences, check_dataset, check_informative


class OPPOBatches:
    """Draws batches by tensor indexing, with no Python per sample.

    The segments that give windows their contexts are as long as labelled ones, so that the encoder
    reads both alike.
    """

    def __init__(
        self,
        dataset: TrajectoryDataset,
        preferences: Preferences,
        config: OPPOConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Raises:
            InputError: if the preferences say nothing or are of another dataset.
        """
        check_informative(preferences)
        check_dataset(preferences, dataset)
        self.config = config
        self.windows = Windows(dataset, config.window, device)
        self._labels = torch.tensor(preferences.labels, dtype=torch.float32).to(device)
        confidence = torch.tensor(preferences.confidence, dtype=torch.float32).to(device)
        self._confidence = confidence / confidence.mean()
        sides = (preferences.first, preferences.second)
        self._spans = [segment_spans(dataset, side, device) for side in sides]

    def __len__(self) -> int:
        return len(self.windows)

    def draw(self, count: int, generator: torch.Generator) -> OPPOBatch:
        """Draws `count` windows and `config.pairs` pairs.

        Args:
            count: `B`.
            generator: source of randomness, on the device.
        """
        steps = self.config.encoder_steps
        windows, episodes = self.windows.draw(count, generator)
        lengths = self._spans[0][1][self._rows(count, generator)]
        hindsight = self.windows.segments(episodes, lengths, steps, generator)
        rows = self._rows(self.config.pairs, generator)
        first, second = (
            self.windows.steps(starts[rows], lengths[rows], steps, generator)
            for starts, lengths in self._spans
        )
        return OPPOBatch(
            windows, hindsight, first, second, self._labels[rows], self._confidence[rows]
        )

    def _rows(self, count: int, generator: torch.Generator) -> Tensor:
        device = self._labels.device
        return torch.randint(len(self._labels), (count,), generator=generator, device=device)

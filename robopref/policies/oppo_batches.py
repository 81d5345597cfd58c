"""What OPPO learns from: windows of a dataset, and labelled pairs of its segments."""

from __future__ import annotations

import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.data.windows import Windows
from robopref.policies.oppo import OPPOBatch, OPPOConfig
from robopref.policies.pair_labels import PairLabels
from robopref.preferences.dataset import Preferences


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
        self.config = config
        self._labels = PairLabels.of(preferences, dataset, device)
        self.windows = Windows(dataset, config.window, device)

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
        _, lengths = self._labels.draw(count, generator).first
        hindsight = self.windows.segments(episodes, lengths, steps, generator)
        drawn = self._labels.draw(self.config.pairs, generator)
        first, second = (
            self.windows.steps(*span, steps, generator) for span in (drawn.first, drawn.second)
        )
        return OPPOBatch(windows, hindsight, first, second, drawn.labels, drawn.confidence)

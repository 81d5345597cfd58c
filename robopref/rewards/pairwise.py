"""Rewards that are networks fitted to pairs: inputs, sampled steps and the loop they share.

Shape letters: `E` members, `B` segments or pairs, `S` steps looked at, `D` input features.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robopref.data.dataset import TrajectoryDataset
from robopref.data.normalization import Standardizer
from robopref.errors import InputError
from robopref.networks.mlp import EnsembleMLP
from robopref.preferences.dataset import Preferences, check_dataset, check_informative
from robopref.rewards.base import OnEpoch, RewardModel
from robopref.seeding import torch_generator
from robopref.structures import SegmentBatch, Segments


@dataclass
class PairwiseConfig:
    """What all rewards learned from pairs share."""

    actions: bool = False
    """Whether the reward looks at the action besides the observation."""
    logit_scale: float = 10.0
    """Log-odds of an average segment of the best steps against one of zero reward. Step rewards
    are bounded (tanh), so this is how sure of a pair the model can become."""
    epochs: int = 20
    """Passes over the pairs. Few: with flipped labels, later ones learn the flips."""
    batch_size: int = 32
    """Pairs per update."""
    learning_rate: float = 1e-3
    """At the start; it falls to zero along a cosine."""

    def __post_init__(self) -> None:
        for name in ("logit_scale", "epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise InputError(f"reward.{name}={getattr(self, name)}: must be positive")


def check_widths(name: str, widths: list[int]) -> None:
    """Raises `InputError` unless all layers have a positive width."""
    if not widths or min(widths) < 1:
        raise InputError(f"reward.{name}={widths}: needs positive widths")


class StepSample(NamedTuple):
    """Steps of `B` segments."""

    inputs: Tensor
    """(B, S, D), standardised."""
    weights: Tensor
    """(B, S): how many steps each one stands for; 0 on padding."""


class StepOutputs(NamedTuple):
    """What a backbone says about each step."""

    values: Tensor
    """(E, B, S, outputs)"""
    importance: Tensor
    """(B, S): how often the step counts in the segment's sum, 1 on average."""


class MLPBackbone(nn.Module):
    """An ensemble of MLPs over single steps."""

    def __init__(self, members: int, inputs: int, hidden: list[int], outputs: int) -> None:
        super().__init__()
        self.network = EnsembleMLP(members, inputs, hidden, outputs)

    def forward(self, inputs: Tensor, mask: Tensor) -> StepOutputs:
        """(B, S, D) and (B, S) to the outputs of all members."""
        values = self.network(inputs.flatten(0, 1)).unflatten(1, inputs.shape[:2])
        return StepOutputs(values, torch.ones_like(mask))


class PairwiseReward(RewardModel):
    """A backbone whose first output, bounded, is the reward of a step.

    Rewards are in log-odds: P(second preferred) = sigmoid(sum of its rewards minus the first's).
    """

    config: PairwiseConfig
    sampled_steps: int
    """Steps drawn per segment and update, all when 0; one from each of equal parts of the segment,
    whose sum estimates the segment's without bias."""

    def __init__(
        self, config: PairwiseConfig, observation_dim: int, action_dim: int, outputs: int
    ) -> None:
        super().__init__(config, observation_dim, action_dim)
        inputs = observation_dim + (action_dim if config.actions else 0)
        self.standardizer = Standardizer(inputs)
        self.register_buffer("mean_length", torch.ones(()))
        self.backbone = self.make_backbone(inputs, outputs)

    mean_length: Tensor
    """Mean steps of a training segment: step rewards are in proportion to its inverse."""

    @abstractmethod
    def make_backbone(self, inputs: int, outputs: int) -> nn.Module:
        """A module from (B, S, inputs) and a mask (B, S) to `StepOutputs`."""

    @abstractmethod
    def loss(
        self,
        first: StepSample,
        second: StepSample,
        labels: Tensor,
        confidence: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Loss to minimise, and the mean log-odds (B,) of the second being preferred."""

    def rewards(self, outputs: StepOutputs) -> Tensor:
        """(E, B, S): step rewards in log-odds, from the first output."""
        return torch.tanh(outputs.values[..., 0]) * (self.config.logit_scale / self.mean_length)

    @torch.no_grad()
    def predict_members(self, segments: SegmentBatch) -> Tensor:
        """(E, B, T): step rewards by each member, without weights of the steps."""
        inputs = self.standardised(segments.observations, segments.actions)
        return self.rewards(self.backbone(inputs, segments.mask)) * segments.mask

    def standardised(self, observations: Tensor, actions: Tensor) -> Tensor:
        """(..., D) network inputs from raw observations and actions."""
        self.check_sizes(observations.shape[-1], actions.shape[-1])
        parts = [observations, actions] if self.config.actions else [observations]
        inputs: Tensor = self.standardizer(torch.cat(parts, dim=-1))
        return inputs

    def fit(
        self,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        seed: int,
        on_epoch: OnEpoch = lambda epoch, metrics: None,
    ) -> dict[str, float]:
        """Adam over shuffled pairs. Input statistics come from the whole dataset."""
        check_informative(preferences)
        check_dataset(preferences, dataset)
        inputs = self._take_statistics(preferences, dataset)
        sides = [_Steps(dataset, side, inputs) for side in (preferences.first, preferences.second)]
        labels = torch.as_tensor(preferences.labels, dtype=torch.float32).to(self.device)
        confidence = torch.tensor(preferences.confidence, dtype=torch.float32).to(self.device)
        confidence /= confidence.mean()

        generator = torch_generator(seed, "reward")
        updates = -(-len(labels) // self.config.batch_size) * self.config.epochs
        optimizer = torch.optim.Adam(self.parameters(), lr=self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
        metrics: dict[str, float] = {}
        for epoch in range(1, self.config.epochs + 1):
            total, right = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
            order = torch.randperm(len(labels), generator=generator)
            for rows in order.split(self.config.batch_size):
                first, second = (side.draw(rows, self.sampled_steps, generator) for side in sides)
                loss, logits = self.loss(first, second, labels[rows], confidence[rows], generator)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.detach() * len(rows)
                right += ((logits > 0) == (labels[rows] > 0.5)).sum()
            metrics = {
                "train/loss": float(total) / len(labels),
                "train/accuracy": float(right) / len(labels),
            }
            on_epoch(epoch, metrics)
        return metrics

    def _take_statistics(self, preferences: Preferences, dataset: TrajectoryDataset) -> Tensor:
        """(N, D): standardised inputs of all steps of the dataset."""
        observations = torch.from_numpy(dataset.flat_observations[dataset.observation_rows])
        actions = torch.from_numpy(dataset.actions)
        self.check_sizes(observations.shape[-1], actions.shape[-1])
        parts = [observations, actions] if self.config.actions else [observations]
        self.standardizer.fit(torch.cat(parts, dim=-1))
        lengths = (preferences.first.lengths.mean() + preferences.second.lengths.mean()) / 2.0
        self.mean_length.fill_(float(lengths))
        return self.standardised(observations.to(self.device), actions.to(self.device))


class _Steps:
    """Draws steps of one side of the pairs from the dataset's flat inputs."""

    def __init__(self, dataset: TrajectoryDataset, segments: Segments, inputs: Tensor) -> None:
        self._inputs = inputs
        self._starts = torch.from_numpy(dataset.offsets[segments.episodes] + segments.starts)
        self._lengths = torch.from_numpy(segments.lengths)

    def draw(self, rows: Tensor, count: int, generator: torch.Generator) -> StepSample:
        starts, lengths = self._starts[rows, None], self._lengths[rows, None]
        longest = int(lengths.max())
        if 0 < count < longest:
            parts = torch.arange(count) + torch.rand(len(rows), count, generator=generator)
            steps = torch.minimum((parts * lengths / count).long(), lengths - 1)
            weights = (lengths / count).expand(-1, count)
        else:
            within = torch.arange(longest)
            steps = torch.minimum(within, lengths - 1)
            weights = (within < lengths).float()
        device = self._inputs.device
        return StepSample(self._inputs[(starts + steps).to(device)], weights.float().to(device))

"""Rewards that are networks fitted to pairs: inputs, sampled steps and the loop they share.

Shape letters: `E` members, `B` segments or pairs, `S` steps looked at, `D` input features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robopref.data.dataset import TrajectoryDataset
from robopref.data.normalization import Standardizer
from robopref.data.spans import Spans, segment_spans, steps_in_parts
from robopref.errors import InputError
from robopref.networks.mlp import EnsembleMLP
from robopref.preferences.dataset import Preferences, check_dataset, check_informative
from robopref.rewards.base import OnEpoch, RewardModel, RewardPrediction
from robopref.rewards.data_parallel import gradient_step
from robopref.rewards.semi_supervised import crop_pairs, pseudo_labels, random_spans
from robopref.seeding import torch_generator
from robopref.structures import SegmentBatch

Lesson = tuple[Tensor, Tensor]
"""The loss of a batch, and how many of its questions come out right."""


@dataclass
class PairwiseConfig:
    """What all rewards learned from pairs share."""

    actions: bool = False
    """Whether the reward looks at the action besides the observation."""
    encoder: str = ""
    """Frozen encoder of images to look at in place of the state: efficientnet_lite0, a network of
    torchvision, or timm/NAME."""
    logit_scale: float = 10.0
    """Log-odds of an average segment of the best steps against one of zero reward. Step rewards
    are bounded (tanh), so this is how sure of a pair the model can become."""
    epochs: int = 20
    """Passes over the pairs. Few: with flipped labels, later ones learn the flips."""
    batch_size: int = 32
    """Pairs per update."""
    learning_rate: float = 1e-3
    """At the start; it falls to zero along a cosine."""
    label_smoothing: float = 0.0
    """Share of every label that is replaced by a tie, as if so many were guesses."""
    crop: float = 0.0
    """Largest share by which segments are cut at random in training (SURF: 0.25)."""
    pseudo_pairs: int = 0
    """Unlabelled pairs beside each labelled one, taught where the model is sure (SURF: 4)."""
    pseudo_threshold: float = 0.99
    """How sure: probability of the likelier answer."""
    pseudo_weight: float = 1.0
    """Weight of the loss of the unlabelled pairs."""

    def __post_init__(self) -> None:
        for name in ("logit_scale", "epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise InputError(f"reward.{name}={getattr(self, name)}: must be positive")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise InputError(
                f"reward.label_smoothing={self.label_smoothing}: a share lies in [0, 1)"
            )
        if not 0.0 <= self.crop < 1.0:
            raise InputError(f"reward.crop={self.crop}: a share to cut lies in [0, 1)")
        if not 0.5 <= self.pseudo_threshold < 1.0:
            raise InputError(
                f"reward.pseudo_threshold={self.pseudo_threshold}: must lie in [0.5, 1)"
            )
        if self.pseudo_pairs < 0 or self.pseudo_weight < 0.0:
            raise InputError("reward.pseudo_pairs and reward.pseudo_weight: must be at least 0")


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
    """(B, S), or (E, B, S): how often the step counts in the segment's sum, 1 on average."""


class MLPBackbone(nn.Module):
    """An ensemble of MLPs over single steps."""

    def __init__(self, members: int, inputs: int, hidden: list[int], outputs: int) -> None:
        super().__init__()
        self.network = EnsembleMLP(members, inputs, hidden, outputs)

    def forward(self, inputs: Tensor, mask: Tensor) -> StepOutputs:
        """(B, S, D) and (B, S) to the outputs of all members."""
        values = self.network(inputs.flatten(0, 1)).unflatten(1, inputs.shape[:2])
        return StepOutputs(values, torch.ones_like(mask))


class StepReward(RewardModel):
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

    def rewards(self, outputs: StepOutputs) -> Tensor:
        """(E, B, S): step rewards in log-odds, from the first output."""
        return torch.tanh(outputs.values[..., 0]) * (self.config.logit_scale / self.mean_length)

    @property
    def bound(self) -> float:
        """As `RewardModel.bound`."""
        return self.config.logit_scale

    def standardised(self, observations: Tensor, actions: Tensor) -> Tensor:
        """(..., D) network inputs from raw observations and actions."""
        self.check_sizes(observations.shape[-1], actions.shape[-1])
        parts = [observations, actions] if self.config.actions else [observations]
        inputs: Tensor = self.standardizer(torch.cat(parts, dim=-1))
        return inputs

    def optimise(
        self,
        count: int,
        lesson: Callable[[Tensor, torch.Generator], Lesson],
        seed: int,
        on_epoch: OnEpoch,
        batch_size: int = 0,
    ) -> dict[str, float]:
        """Adam over shuffled questions.

        Args:
            count: of questions.
            lesson: rows of questions and a source of randomness to their loss and how many of them
                come out right.
            seed: of batches and draws.
            on_epoch: told of every epoch.
            batch_size: questions per update; as configured when 0.

        Returns:
            Metrics of the last epoch.
        """
        generator = torch_generator(seed, "reward")
        batch_size = batch_size or self.config.batch_size
        updates = -(-count // batch_size) * self.config.epochs
        optimizer = torch.optim.Adam(self.parameters(), lr=self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
        metrics: dict[str, float] = {}
        for epoch in range(1, self.config.epochs + 1):
            total, right = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
            for rows in torch.randperm(count, generator=generator).split(batch_size):
                loss, found = gradient_step(
                    lambda own: lesson(own, generator), rows, optimizer, self.parameters()
                )
                schedule.step()
                total += loss * len(rows)
                right += found
            metrics = {
                "train/loss": float(total) / count,
                "train/accuracy": float(right) / count,
            }
            on_epoch(epoch, metrics)
        return metrics

    def draw(self, inputs: Tensor, spans: Spans, generator: torch.Generator) -> StepSample:
        """Steps of segments, from the standardised inputs (N, D) of all steps."""
        return draw_steps(inputs, spans, self.sampled_steps, generator)

    def targets(self, preferences: Preferences) -> tuple[Tensor, Tensor]:
        """(B,) smoothed labels, and (B,) confidence, 1 on average."""
        labels = torch.as_tensor(preferences.labels, dtype=torch.float32).to(self.device)
        labels = torch.lerp(labels, torch.full_like(labels, 0.5), self.config.label_smoothing)
        confidence = torch.tensor(preferences.confidence, dtype=torch.float32).to(self.device)
        return labels, confidence / confidence.mean()

    def take_statistics(self, preferences: Preferences, dataset: TrajectoryDataset) -> Tensor:
        """(N, D): standardised inputs of all steps of the dataset."""
        observations, actions = self._steps_of(dataset)
        self.check_sizes(observations.shape[-1], actions.shape[-1])
        parts = [observations, actions] if self.config.actions else [observations]
        self.standardizer.fit(torch.cat(parts, dim=-1))
        lengths = (preferences.first.lengths.mean() + preferences.second.lengths.mean()) / 2.0
        self.mean_length.fill_(float(lengths))
        return self.inputs_of(dataset)

    def inputs_of(self, dataset: TrajectoryDataset) -> Tensor:
        """(N, D): inputs of all steps of a dataset, by the statistics that were taken."""
        observations, actions = self._steps_of(dataset)
        return self.standardised(observations.to(self.device), actions.to(self.device))

    def _steps_of(self, dataset: TrajectoryDataset) -> tuple[Tensor, Tensor]:
        observations = torch.from_numpy(dataset.flat_observations[dataset.observation_rows])
        return observations, torch.from_numpy(dataset.actions)


class PairwiseReward(StepReward):
    """Learns pair by pair, each one's loss by itself."""

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

    @torch.no_grad()
    def predict_members(self, segments: SegmentBatch) -> Tensor:
        """(E, B, T): step rewards by each member, without weights of the steps."""
        inputs = self.standardised(segments.observations, segments.actions)
        return self.rewards(self.backbone(inputs, segments.mask)) * segments.mask

    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        """Mean and spread over members."""
        rewards = self.predict_members(segments)
        std = rewards.std(0, correction=0) if len(rewards) > 1 else None
        return RewardPrediction(rewards.mean(0), std)

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
        inputs = self.take_statistics(preferences, dataset)
        spans = [segment_spans(dataset, side) for side in (preferences.first, preferences.second)]
        labels, confidence = self.targets(preferences)

        def lesson(rows: Tensor, generator: torch.Generator) -> Lesson:
            sides = [(starts[rows], lengths[rows]) for starts, lengths in spans]
            if self.config.crop:
                sides = list(crop_pairs(sides[0], sides[1], self.config.crop, generator))
            first, second = (self.draw(inputs, span, generator) for span in sides)
            loss, logits = self.loss(first, second, labels[rows], confidence[rows], generator)
            if self.config.pseudo_pairs:
                lengths = sides[0][1].repeat(self.config.pseudo_pairs)
                loss = loss + self._pseudo_loss(dataset, inputs, lengths, generator)
            return loss, ((logits > 0) == (labels[rows] > 0.5)).sum()

        return self.optimise(len(labels), lesson, seed, on_epoch)

    def _pseudo_loss(
        self,
        dataset: TrajectoryDataset,
        inputs: Tensor,
        lengths: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Loss of unlabelled pairs of segments of these lengths (B,) that the model is sure of."""
        first, second = (
            self.draw(inputs, random_spans(dataset, lengths, generator), generator)
            for _ in range(2)
        )
        ties, weights = torch.full((2, len(lengths)), 0.5, device=self.device)
        with torch.no_grad():
            _, logits = self.loss(first, second, ties, weights, generator)
        labels, weights = pseudo_labels(logits, self.config.pseudo_threshold)
        loss, _ = self.loss(first, second, labels, self.config.pseudo_weight * weights, generator)
        return loss


def draw_steps(inputs: Tensor, spans: Spans, count: int, generator: torch.Generator) -> StepSample:
    """Draws steps of segments from the flat inputs of a dataset.

    Args:
        inputs: (N, D), all steps of the dataset.
        spans: where the segments lie.
        count: steps per segment, one from each of equal parts of it; all when 0.
        generator: source of randomness.
    """
    starts, lengths = spans
    longest = int(lengths.max())
    if 0 < count < longest:
        steps = steps_in_parts(lengths, count, generator)
        weights = (lengths[:, None] / count).expand(-1, count)
    else:
        within = torch.arange(longest)
        steps = torch.minimum(within, lengths[:, None] - 1)
        weights = (within < lengths[:, None]).float()
    rows = (starts[:, None] + steps).to(inputs.device)
    return StepSample(inputs[rows], weights.float().to(inputs.device))

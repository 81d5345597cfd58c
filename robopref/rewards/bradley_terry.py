"""Deterministic ensemble reward from pairs: the baseline.

Christiano et al.: Deep RL from Human Preferences, NeurIPS 2017, section 2.2.3. Members differ in
their initial weights; all are trained at once, as one batched network.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robopref.errors import InputError
from robopref.rewards.base import RewardPrediction
from robopref.rewards.losses import bradley_terry_loss
from robopref.rewards.pairwise import (
    MLPBackbone,
    PairwiseConfig,
    PairwiseReward,
    StepSample,
    check_widths,
)
from robopref.structures import SegmentBatch


@dataclass
class BradleyTerryConfig(PairwiseConfig):
    """Settings of the baseline."""

    members: int = 3
    """Networks in the ensemble."""
    hidden: list[int] = field(default_factory=lambda: [64, 64])
    """Width of each hidden layer."""
    sampled_steps: int = 16
    """Steps drawn per segment and update, all when 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hidden = list(self.hidden)
        check_widths("hidden", self.hidden)
        if self.members < 1 or self.sampled_steps < 0:
            raise InputError("reward: members must be at least 1 and sampled_steps at least 0")


class BradleyTerryReward(PairwiseReward):
    """Mean of the members; the standard deviation is their disagreement."""

    name = "bradley_terry"
    config: BradleyTerryConfig

    def __init__(self, config: BradleyTerryConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim, outputs=1)
        self.sampled_steps = config.sampled_steps

    def make_backbone(self, inputs: int, outputs: int) -> nn.Module:
        """An ensemble of MLPs."""
        return MLPBackbone(self.config.members, inputs, self.config.hidden, outputs)

    def loss(
        self,
        first: StepSample,
        second: StepSample,
        labels: Tensor,
        confidence: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Sum over members of the Bradley-Terry cross entropy."""
        sums = [
            (self.rewards(self.backbone(*side)) * side.weights).sum(-1) for side in (first, second)
        ]
        logits = sums[1] - sums[0]
        loss = bradley_terry_loss(logits, labels, confidence).sum()
        return loss, logits.detach().mean(0)

    @torch.no_grad()
    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        """Mean and spread over members."""
        inputs = self.standardised(segments.observations, segments.actions)
        rewards = self.rewards(self.backbone(inputs, segments.mask))
        std = rewards.std(0, correction=0) if len(rewards) > 1 else None
        return RewardPrediction(
            rewards.mean(0) * segments.mask, None if std is None else std * segments.mask
        )

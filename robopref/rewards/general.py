"""Preferences that may go round in circles: Bradley-Terry, and a part that turns.

Zhang et al.: Beyond Bradley-Terry Models: A General Preference Model for Language Model Alignment,
ICML 2025, arXiv 2410.02197 (GPM). A segment is an embedding, the log-odds of a pair a
skew-symmetric product of two embeddings, block by block of two numbers:
`d = sum_c a_c(second) b_c(first) - a_c(first) b_c(second)`. A block `(reward, 1)` is Bradley-Terry;
others can say that A is preferred to B, B to C, and C to A, as people do who look at something
else in every pair.

Different here: the first block is fixed to that of Bradley-Terry, so that the model has it as a
special case; embeddings are sums over steps; and the reward that is handed on is what a step adds
to the log-odds against an average segment of the data, since a policy needs one number.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.rewards.base import OnEpoch
from robopref.rewards.bradley_terry import BRADLEY_TERRY, BradleyTerryConfig
from robopref.rewards.losses import bradley_terry_loss
from robopref.rewards.pairwise import MLPBackbone, PairwiseReward, StepOutputs, StepSample
from robopref.structures import SegmentBatch


@dataclass
class GeneralConfig(BradleyTerryConfig):
    """Settings of the baseline, and of what turns."""

    turns: int = 2
    """Blocks of the embedding beside that of Bradley-Terry; 0 is Bradley-Terry."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.turns < 0:
            raise InputError(f"reward.turns={self.turns}: must be at least 0")
        if self.preference_model != BRADLEY_TERRY:
            raise InputError(
                f"reward.preference_model={self.preference_model}: reward=general has its own; "
                "leave it out"
            )


class GeneralReward(PairwiseReward):
    """Embeddings by an ensemble of MLPs over single steps."""

    name = "general"
    looks_back = False
    config: GeneralConfig
    average: Tensor
    """(E, C, 2): embedding of an average segment of the data, but for its reward."""

    def __init__(self, config: GeneralConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim, outputs=1 + 2 * config.turns)
        self.sampled_steps = config.sampled_steps
        self.register_buffer("average", torch.zeros(config.members, config.turns, 2))

    def make_backbone(self, inputs: int, outputs: int) -> nn.Module:
        """An ensemble of MLPs."""
        return MLPBackbone(self.config.members, inputs, self.config.hidden, outputs)

    def embed(self, outputs: StepOutputs) -> Tensor:
        """(E, B, S, C, 2): what each step adds to the blocks that turn.

        An average segment of the largest steps has the length `sqrt(logit_scale)`, so that two of
        them differ by as many log-odds at most as in the first block.
        """
        blocks = torch.tanh(outputs.values[..., 1:].unflatten(-1, (self.config.turns, 2)))
        embedded: Tensor = blocks * (self.config.logit_scale**0.5 / self.mean_length)
        return embedded

    def loss(
        self,
        first: StepSample,
        second: StepSample,
        labels: Tensor,
        confidence: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Sum over members of the cross entropy."""
        sums, blocks = [], []
        for side in (first, second):
            outputs: StepOutputs = self.backbone(*side)
            sums.append((self.rewards(outputs) * side.weights).sum(-1))
            if self.config.turns:
                blocks.append((self.embed(outputs) * side.weights[..., None, None]).sum(2))
        logits = sums[1] - sums[0]
        if self.config.turns:
            logits = logits + _turned(blocks[1], blocks[0]).sum(-1)
        return bradley_terry_loss(logits, labels, confidence).sum(), logits.detach().mean(0)

    def fit(
        self,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        seed: int,
        on_epoch: OnEpoch = lambda epoch, metrics: None,
    ) -> dict[str, float]:
        """As every reward from pairs; then looks what an average segment is."""
        metrics = super().fit(preferences, dataset, seed, on_epoch)
        if self.config.turns:
            inputs = self.inputs_of(dataset)
            with torch.no_grad():
                total = torch.zeros_like(self.average)
                for piece in inputs.split(20_000):
                    outputs = self.backbone(piece[None], torch.ones(1, len(piece)).to(piece))
                    total += self.embed(outputs).sum((1, 2))
                self.average.copy_(total / len(inputs) * self.mean_length)
        return metrics

    @torch.no_grad()
    def predict_members(self, segments: SegmentBatch) -> Tensor:
        """(E, B, T): each step's log-odds against an average segment."""
        inputs = self.standardised(segments.observations, segments.actions)
        outputs: StepOutputs = self.backbone(inputs, segments.mask)
        rewards = self.rewards(outputs)
        if self.config.turns:
            average = self.average[:, None, None]
            rewards = rewards + _turned(self.embed(outputs), average).sum(-1)
        return rewards * segments.mask


def _turned(second: Tensor, first: Tensor) -> Tensor:
    """(...): skew-symmetric product of blocks (..., 2)."""
    return second[..., 0] * first[..., 1] - first[..., 0] * second[..., 1]

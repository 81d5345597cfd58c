"""PEARL's robust reward: a Gaussian per step, on an MLP ensemble or a preference transformer.

Liu, Du, Bai, Lyu, Li: PEARL: Zero-shot Cross-task Preference Alignment and Robust Reward Learning
for Robotic Manipulation, ICML 2024 (arXiv 2306.03615). Labels that were carried over from another
task are wrong now and then; the Gaussian keeps such a pair from being learned by heart.

Departures. The paper's value of the preset uncertainty is not known, so it is stated here in
units that do not depend on the task: the standard deviation of the log-odds of a pair of average
segments. It is a regulariser, not a calibrated error: predicted intervals are far too wide. On the
MLP, members form an ensemble as in the baseline, and its disagreement enters the predicted
standard deviation.

What it buys (benchmarks/reward_noise.py): with 20 % and more of the labels flipped it beats the
Bradley-Terry ensemble in the mean over tasks, not on every task; with right labels it loses to it;
and a Bradley-Terry ensemble of lower `logit_scale` does as well.
The gain is the flatter likelihood.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robopref.errors import InputError
from robopref.networks.transformer import PreferenceTransformer
from robopref.rewards.base import RewardPrediction
from robopref.rewards.losses import entropy_hinge, gaussian_preference_loss
from robopref.rewards.pairwise import (
    MLPBackbone,
    PairwiseConfig,
    PairwiseReward,
    StepOutputs,
    StepSample,
    check_widths,
)
from robopref.structures import SegmentBatch

LOG_STD_LIMIT = 4.0
"""Log standard deviations stay this close to the preset, so that none overflows."""


@dataclass
class GaussianConfig(PairwiseConfig):
    """What both backbones share."""

    preset_std: float = 5.0
    """Standard deviation of the log-odds of a pair of average segments, below which the
    regulariser acts. Larger flattens the likelihood: better with many wrong labels, slower to
    learn from right ones."""
    entropy_weight: float = 0.1
    """Weight of the regulariser."""
    samples: int = 32
    """Draws per pair and update."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset_std <= 0 or self.entropy_weight < 0 or self.samples < 1:
            raise InputError(
                "reward: preset_std must be positive, entropy_weight at least 0 and samples at "
                "least 1"
            )


@dataclass
class PearlConfig(GaussianConfig):
    """Gaussian reward on an ensemble of MLPs."""

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


@dataclass
class PearlTransformerConfig(GaussianConfig):
    """Gaussian reward on a preference transformer."""

    width: int = 64
    """Features of a token."""
    layers: int = 1
    """Causal blocks."""
    heads: int = 4
    """Attention heads; they divide the width."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.width, self.layers, self.heads) < 1 or self.width % self.heads:
            raise InputError(
                f"reward: width={self.width}, layers={self.layers}, heads={self.heads} must be "
                "positive, and heads must divide width"
            )


class GaussianReward(PairwiseReward):
    """The loss and the prediction, whatever the backbone."""

    config: GaussianConfig

    def __init__(self, config: GaussianConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim, outputs=2)

    def preset_log_std(self) -> Tensor:
        """Log standard deviation per step at which a pair of average segments has the preset.

        The variances of the 2 T steps of a pair add up: sigma_0 = preset / sqrt(2 T).
        """
        return math.log(self.config.preset_std) - 0.5 * torch.log(2.0 * self.mean_length)

    def log_std(self, outputs: StepOutputs) -> Tensor:
        """(E, B, S): log standard deviation per step, from the second output."""
        limited = LOG_STD_LIMIT * torch.tanh(outputs.values[..., 1] / LOG_STD_LIMIT)
        return self.preset_log_std() + limited

    def loss(
        self,
        first: StepSample,
        second: StepSample,
        labels: Tensor,
        confidence: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Sum over members of PEARL's cross entropy and regulariser."""
        sums, variances, regulariser = [], [], torch.zeros((), device=labels.device)
        for side in (first, second):
            outputs: StepOutputs = self.backbone(*side)
            log_std = self.log_std(outputs)
            importance = outputs.importance
            sums.append((self.rewards(outputs) * importance * side.weights).sum(-1))
            variance = torch.exp(2.0 * log_std) * importance.square()
            variances.append((variance * side.weights).sum(-1))
            gap = entropy_hinge(log_std, self.preset_log_std(), side.weights)
            regulariser = regulariser + 0.5 * gap.sum()
        mean, std = sums[1] - sums[0], (variances[0] + variances[1]).sqrt()
        noise = torch.randn(self.config.samples, *mean.shape, generator=generator)
        likelihood = gaussian_preference_loss(mean, std, noise.to(mean), labels, confidence).sum()
        return likelihood + self.config.entropy_weight * regulariser, mean.detach().mean(0)

    @torch.no_grad()
    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        """Mean of the members; the variance is their mean variance plus that of their means."""
        inputs = self.standardised(segments.observations, segments.actions)
        outputs = self.backbone(inputs, segments.mask)
        rewards = self.rewards(outputs)
        variance = torch.exp(2.0 * self.log_std(outputs)).mean(0) + rewards.var(0, correction=0)
        return RewardPrediction(rewards.mean(0) * segments.mask, variance.sqrt() * segments.mask)


class PearlReward(GaussianReward):
    """The default."""

    name = "pearl"
    looks_back = False
    config: PearlConfig

    def __init__(self, config: PearlConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self.sampled_steps = config.sampled_steps

    def make_backbone(self, inputs: int, outputs: int) -> nn.Module:
        """An ensemble of MLPs."""
        return MLPBackbone(self.config.members, inputs, self.config.hidden, outputs)


class PearlTransformerReward(GaussianReward):
    """The paper's backbone: rewards depend on the steps before, and steps count unequally.

    As in Kim et al. 2023, the weights enter the pair's log-odds only; the reward handed on is the
    unweighted one of each step, which looks at the past alone.
    """

    name = "pearl_transformer"
    config: PearlTransformerConfig
    sampled_steps = 0  # attention needs every step

    def make_backbone(self, inputs: int, outputs: int) -> nn.Module:
        """One preference transformer."""
        config = self.config
        return _TransformerBackbone(
            PreferenceTransformer(inputs, config.width, config.layers, config.heads, outputs)
        )


class _TransformerBackbone(nn.Module):
    def __init__(self, network: PreferenceTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, mask: Tensor) -> StepOutputs:
        values, weights = self.network(inputs, mask)
        # Attention weights sum to 1; times the length they are 1 on average.
        return StepOutputs(values[None], weights * mask.sum(1, keepdim=True))

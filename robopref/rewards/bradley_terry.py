"""Deterministic ensemble rewards from pairs: the baseline, and those that see the steps before.

Christiano et al.: Deep RL from Human Preferences, NeurIPS 2017, section 2.2.3. Members differ in
their initial weights; all are trained at once, as one batched network. Which model of people's
choices the labels are fitted by is an option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from robopref.data.dataset import TrajectoryDataset
from robopref.data.spans import segment_spans
from robopref.errors import InputError
from robopref.networks.mlp import EnsembleLinear
from robopref.networks.transformer import PreferenceTransformer
from robopref.preferences.dataset import Preferences, check_dataset, check_informative
from robopref.preferences.ranked_lists import ranked_lists
from robopref.rewards.base import OnEpoch
from robopref.rewards.losses import (
    bradley_terry_loss,
    davidson_loss,
    lambda_loss,
    linear_preference_loss,
    plackett_luce_loss,
    rao_kupper_loss,
)
from robopref.rewards.pairwise import (
    Lesson,
    MLPBackbone,
    PairwiseConfig,
    PairwiseReward,
    StepOutputs,
    StepSample,
    check_widths,
)

BRADLEY_TERRY, LINEAR, RAO_KUPPER, DAVIDSON = "bradley_terry", "linear", "rao_kupper", "davidson"
PLACKETT_LUCE, LAMBDA = "plackett_luce", "lambda"
OF_LISTS = {PLACKETT_LUCE: plackett_luce_loss, LAMBDA: lambda_loss}
MODELS = (BRADLEY_TERRY, LINEAR, RAO_KUPPER, DAVIDSON, *OF_LISTS)


@dataclass
class EnsembleConfig(PairwiseConfig):
    """What all networks share."""

    members: int = 3
    """Networks in the ensemble."""
    preference_model: str = BRADLEY_TERRY
    """How people choose: bradley_terry; linear in positive scores (LiRE); with ties as an answer of
    their own, rao_kupper or davidson; or, of whole ranked lists, plackett_luce (PRO) or lambda
    (LiPO)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.members < 1:
            raise InputError(f"reward.members={self.members}: must be at least 1")
        if self.preference_model not in MODELS:
            raise InputError(
                f"reward.preference_model={self.preference_model}: choose from {', '.join(MODELS)}"
            )
        if self.preference_model in OF_LISTS and (self.crop or self.pseudo_pairs):
            raise InputError(
                f"reward.preference_model={self.preference_model}: learns from lists; reward.crop "
                "and reward.pseudo_pairs are about pairs, so set them to 0"
            )


@dataclass
class BradleyTerryConfig(EnsembleConfig):
    """Settings of the baseline."""

    hidden: list[int] = field(default_factory=lambda: [64, 64])
    """Width of each hidden layer."""
    sampled_steps: int = 16
    """Steps drawn per segment and update, all when 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hidden = list(self.hidden)
        check_widths("hidden", self.hidden)
        if self.sampled_steps < 0:
            raise InputError(f"reward.sampled_steps={self.sampled_steps}: must be at least 0")


@dataclass
class SequenceConfig(EnsembleConfig):
    """What networks that see the steps before share."""

    width: int = 64
    """Features of a step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise InputError(f"reward.width={self.width}: must be at least 1")


@dataclass
class LSTMConfig(SequenceConfig):
    """An ensemble of LSTMs."""


@dataclass
class PreferenceTransformerConfig(SequenceConfig):
    """An ensemble of preference transformers."""

    layers: int = 1
    """Causal blocks."""
    heads: int = 4
    """Attention heads; they divide the width."""
    weighting: str = "attention"
    """How steps count in a pair's log-odds: by attention, as in the paper, or all alike: equal."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.layers, self.heads) < 1 or self.width % self.heads:
            raise InputError(
                f"reward: width={self.width}, layers={self.layers}, heads={self.heads} must be "
                "positive, and heads must divide width"
            )
        if self.weighting not in ("attention", "equal"):
            raise InputError(f"reward.weighting={self.weighting}: choose attention or equal")


class EnsembleReward(PairwiseReward):
    """Mean of the members; the standard deviation is their disagreement."""

    config: EnsembleConfig

    def __init__(self, config: EnsembleConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim, outputs=1)
        if config.preference_model in (RAO_KUPPER, DAVIDSON):
            # How often pairs are called equal, learned from the labels.
            self.tie = nn.Parameter(torch.zeros(()))

    def fit(
        self,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        seed: int,
        on_epoch: OnEpoch = lambda epoch, metrics: None,
    ) -> dict[str, float]:
        """Learns pair by pair, or, where the preference model is one of ranked lists, from them."""
        if self.config.preference_model not in OF_LISTS:
            return super().fit(preferences, dataset, seed, on_epoch)
        check_informative(preferences)
        check_dataset(preferences, dataset)
        list_loss = OF_LISTS[self.config.preference_model]
        inputs, lists = self.take_statistics(preferences, dataset), ranked_lists(preferences)
        mask = torch.from_numpy(lists.mask)
        starts, lengths = (
            each.reshape(mask.shape) for each in segment_spans(dataset, lists.segments)
        )
        mask = mask.to(self.device)
        weights = torch.tensor(lists.weights / lists.weights.mean(), dtype=torch.float32)
        weights = weights.to(self.device)

        def lesson(rows: Tensor, generator: torch.Generator) -> Lesson:
            spans = starts[rows].flatten(), lengths[rows].flatten()
            scores = self.sums(self.draw(inputs, spans, generator)).unflatten(1, (len(rows), -1))
            smoothed = list_loss(scores, mask[rows], weights[rows])
            if self.config.label_smoothing:
                # A share of the lists is as likely in the opposite order.
                turned = list_loss(-scores, mask[rows], weights[rows])
                smoothed = torch.lerp(smoothed, turned, self.config.label_smoothing / 2.0)
            mean = scores.detach().mean(0)
            worst = mean.gather(1, mask[rows].sum(1, keepdim=True) - 1)[:, 0]
            return smoothed.sum(), (mean[:, 0] > worst).sum()

        # As many pairs in a batch as without lists.
        batch = round(self.config.batch_size * len(mask) / len(preferences))
        return self.optimise(len(mask), lesson, seed, on_epoch, max(batch, 1))

    def sums(self, side: StepSample) -> Tensor:
        """(E, B): sum of the rewards of each segment, in log-odds."""
        outputs: StepOutputs = self.backbone(*side)
        return (self.rewards(outputs) * outputs.importance * side.weights).sum(-1)

    def _sums_of_both(self, first: StepSample, second: StepSample) -> Sequence[Tensor]:
        """Of both sides, in one pass where they have as many steps."""
        if first.weights.shape != second.weights.shape:
            return self.sums(first), self.sums(second)
        inputs, weights = (torch.cat(parts) for parts in zip(first, second, strict=True))
        return self.sums(StepSample(inputs, weights)).chunk(2, dim=1)

    def loss(
        self,
        first: StepSample,
        second: StepSample,
        labels: Tensor,
        confidence: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Sum over members of the cross entropy of the preference model."""
        sums = self._sums_of_both(first, second)
        logits, kind = sums[1] - sums[0], self.config.preference_model
        if kind == LINEAR:
            # A step's reward is at least -logit_scale / mean_length, so that with as much added to
            # each step no score is negative.
            scores = [
                total / self.config.logit_scale + side.weights.sum(-1) / self.mean_length
                for total, side in zip(sums, (first, second), strict=True)
            ]
            losses = linear_preference_loss(scores[0], scores[1], labels, confidence)
        elif kind == RAO_KUPPER:
            losses = rao_kupper_loss(logits, functional.softplus(self.tie), labels, confidence)
        elif kind == DAVIDSON:
            losses = davidson_loss(logits, self.tie, labels, confidence)
        else:
            losses = bradley_terry_loss(logits, labels, confidence)
        return losses.sum(), logits.detach().mean(0)


class BradleyTerryReward(EnsembleReward):
    """MLPs over single steps: the baseline."""

    name = "bradley_terry"
    looks_back = False
    config: BradleyTerryConfig

    def __init__(self, config: BradleyTerryConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self.sampled_steps = config.sampled_steps

    def make_backbone(self, inputs: int, outputs: int) -> nn.Module:
        """An ensemble of MLPs."""
        return MLPBackbone(self.config.members, inputs, self.config.hidden, outputs)


class LSTMReward(EnsembleReward):
    """Rewards that depend on the steps before, by a memory (Early et al.: Non-Markovian Reward
    Modelling from Trajectory Labels, NeurIPS 2022, arXiv 2205.15367, their LSTM per step).
    """

    name = "lstm"
    config: LSTMConfig
    sampled_steps = 0  # a memory needs every step

    def make_backbone(self, inputs: int, outputs: int) -> nn.Module:
        """An ensemble of LSTMs."""
        return _LSTMBackbone(self.config.members, inputs, self.config.width, outputs)


class PreferenceTransformerReward(EnsembleReward):
    """Rewards that depend on the steps before, by attention (Kim et al., ICLR 2023, section 4).

    As there, the weights enter the pair's log-odds only; the reward handed on is the unweighted one
    of each step, which looks at the past alone.
    """

    name = "preference_transformer"
    config: PreferenceTransformerConfig
    sampled_steps = 0  # attention needs every step

    def make_backbone(self, inputs: int, outputs: int) -> nn.Module:
        """An ensemble of preference transformers."""
        return _TransformersBackbone(self.config, inputs, outputs)


class _LSTMBackbone(nn.Module):
    def __init__(self, members: int, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        networks = [nn.LSTM(inputs, width, batch_first=True) for _ in range(members)]
        for network in networks:
            # Biased towards remembering (the second quarter of the gates), so that early steps are
            # not forgotten from the start.
            biases = network.get_parameter("bias_ih_l0")
            nn.init.ones_(biases[width : 2 * width])
        self.members = nn.ModuleList(networks)
        self.head = EnsembleLinear(members, width, outputs)

    def forward(self, inputs: Tensor, mask: Tensor) -> StepOutputs:
        # Padding stands at the end, where nothing follows.
        hidden = torch.stack([member(inputs)[0] for member in self.members])
        values = self.head(hidden.flatten(1, 2)).unflatten(1, inputs.shape[:2])
        return StepOutputs(values, torch.ones_like(mask))


class _TransformersBackbone(nn.Module):
    def __init__(self, config: PreferenceTransformerConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        sizes = (inputs, config.width, config.layers, config.heads, outputs)
        self._equal = config.weighting == "equal"
        self.members = nn.ModuleList(PreferenceTransformer(*sizes) for _ in range(config.members))

    def forward(self, inputs: Tensor, mask: Tensor) -> StepOutputs:
        values, weights = zip(*(member(inputs, mask) for member in self.members), strict=True)
        if self._equal:
            return StepOutputs(torch.stack(values), torch.ones_like(mask))
        # Attention weights sum to 1; times the length they are 1 on average.
        importance = torch.stack(weights) * mask.sum(1, keepdim=True)
        return StepOutputs(torch.stack(values), importance)

"""DPPO: direct preference-based policy optimization, a policy from a judge of segments.

An, Lee, Zuo, Kosaka, Kim, Song: Direct Preference-based Policy Optimization without Reward
Modeling, NeurIPS 2023, arXiv 2301.12842. A preference transformer learns from the labels to score
segments (`dppo_batches.py`), all data are scored once, and the policy then agrees with the better
segment of each pair of a batch: its actions are nearer to that segment's than to the other's.
No reward of a step is used.

One departure: what acts is a moving average of the actor's weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robopref.errors import InputError
from robopref.policies.checks import (
    check_above_zero,
    check_not_negative,
    check_shares,
    check_widths,
)
from robopref.policies.gaussian import GaussianPolicy
from robopref.policies.losses import contrastive_loss


@dataclass
class DPPOConfig:
    """The authors' where not said otherwise."""

    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Width of each hidden layer of the policy."""
    temperature: float = 0.1
    """What the mean distance of a segment's actions is divided by."""
    bias: float = 0.5
    """`lambda` in (0, 1]: how much agreeing with the worse segment counts; below 1 conservative
    (1)."""
    segments: int = 32
    """Scored segments of an update, of which every pair is compared (256)."""
    segment_steps: int = 32
    """Steps of a segment that an update looks at (100, all)."""
    learning_rate: float = 3e-4
    actor_average_rate: float = 0.005
    """Share of the actor entering its average per update; 1 acts with the latest weights."""
    predictor_width: int = 64
    """Features of a token of the judge (256)."""
    predictor_heads: int = 4
    """Attention heads of the judge; they divide its width."""
    predictor_updates: int = 1_000
    """Updates of the judge, before the policy learns."""
    predictor_pairs: int = 32
    """Labelled pairs of one."""
    predictor_learning_rate: float = 1e-3
    """(1e-4, rising to 1e-3)"""
    smoothness: float = 1.0
    """`nu`: weight of the squared difference between the scores of a segment and of a shifted
    one."""
    shift: float = 5.0
    """`m`: standard deviation of the shift, in steps."""

    def __post_init__(self) -> None:
        self.hidden = list(self.hidden)
        check_widths("dppo", self.hidden)
        check_shares("dppo", self, "bias", "actor_average_rate")
        check_above_zero(
            "dppo", self, "temperature", "segment_steps", "learning_rate", "predictor_width",
            "predictor_heads", "predictor_updates", "predictor_pairs", "predictor_learning_rate",
        )  # fmt: skip
        check_not_negative("dppo", self, "smoothness", "shift")
        if self.predictor_width % self.predictor_heads:
            raise InputError(
                f"dppo.predictor_width={self.predictor_width}: must be a multiple of "
                f"predictor_heads={self.predictor_heads}"
            )
        if self.segments < 2:
            raise InputError(f"dppo.segments={self.segments}: a pair needs at least 2")


@dataclass(frozen=True)
class ScoredBatch:
    """`S` steps of each of `P` segments, with the judge's scores, on one device."""

    observations: Tensor
    """(P, S, D)"""
    actions: Tensor
    """(P, S, A)"""
    weights: Tensor
    """(P, S): how many steps of the segment each stands for; 0 on padding."""
    scores: Tensor
    """(P,): the higher, the better."""


def segment_distances(actions: Tensor, own: Tensor, weights: Tensor) -> Tensor:
    """(P,): mean distance of a policy's actions to a segment's own, in [0, 1] per dimension.

    Args:
        actions: (P, S, A) of the policy, in [-1, 1].
        own: (P, S, A) of the segments.
        weights: (P, S) of the steps.
    """
    squares = ((actions - own) / 2.0).square().sum(-1)
    # Above zero, so that the root has a gradient where the policy is exactly right.
    lengths = (squares + 1e-12).sqrt()
    return (lengths * weights).sum(1) / weights.sum(1)


class DPPO(GaussianPolicy[ScoredBatch]):
    """The learner and its policy."""

    name = "dppo"
    config: DPPOConfig

    def __init__(self, config: DPPOConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self._optimizer = torch.optim.Adam(
            self.actor.trunk.parameters(), lr=config.learning_rate, fused=True
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over the actor's mean."""
        return self._optimizer

    def update(
        self, batch: ScoredBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One step on all pairs of the batch."""
        config = self.config
        actions = self.actor(self.standardizer(batch.observations))
        distances = segment_distances(actions, batch.actions, batch.weights)
        agreement = -distances / config.temperature
        count = len(agreement)
        worse, better = torch.triu_indices(count, count, 1, device=agreement.device)
        labels = (batch.scores[better] > batch.scores[worse]).float()
        loss = contrastive_loss(
            agreement[worse], agreement[better], labels, torch.ones_like(labels), config.bias
        )
        self.step(loss)
        return {"actor_loss": loss.detach(), "distance": distances.detach().mean()}

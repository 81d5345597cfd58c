"""CPL: contrastive preference learning, a policy straight from labels.

Hejna, Rafailov, Sikchi, Finn, Niekum, Knox, Sadigh: Contrastive Preference Learning: Learning from
Human Feedback without RL, ICLR 2024, arXiv 2310.13639. People are taken to prefer the segment of
less regret, and the optimal policy of maximum-entropy control has the advantage
`alpha log pi(a | s)`: so the labels say directly which actions are to be more likely. The
loss compares actions with one another alone; cloning comes first, and the bias `lambda`,
the cloning term or the KL form keep the policy near the data.

With `reference` and `bias` 1, the loss is that of direct preference optimisation (Rafailov et al.
2023) with the cloned policy as the reference, summed over the steps of a segment; `cloning_weight`
is then the supervised term that guards it (RPO: Liu et al. 2024, arXiv 2405.16436).

Two departures: what acts is a moving average of the actor's weights (the reference is a copy of the
weights themselves), and the network has no dropout.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robopref.errors import InputError
from robopref.networks.actor_critic import GaussianActor
from robopref.policies.checks import (
    check_above_zero,
    check_not_negative,
    check_shares,
    check_widths,
)
from robopref.policies.gaussian import GaussianPolicy
from robopref.policies.losses import contrastive_loss, preference_accuracy
from robopref.policies.segment_pairs import PairBatch


@dataclass
class CPLConfig:
    """Rates for ten thousands of updates; the paper's for Meta-World, for 500,000, in brackets."""

    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Width of each hidden layer (512, 512)."""
    temperature: float = 0.1
    """`alpha`: what a log-probability counts as advantage (0.1; KL form 0.2)."""
    bias: float = 0.5
    """`lambda` in (0, 1]: how much the other segment counts; 1 is unbiased, below 1 conservative
    (0.5; with cloning 1, KL form 0.75)."""
    deterministic: bool = True
    """Whether the log-probability is minus the squared distance to the mean action; else that of a
    Gaussian with a spread of its own per dimension."""
    reference: bool = False
    """The KL form: log-probabilities are relative to the policy that cloning ended with."""
    cloning_updates: int = 1_000
    """Updates of cloning alone, before the labels count (200,000)."""
    cloning_weight: float = 0.0
    """Weight of cloning all data beside the labels (0; CPL-BC: 1)."""
    pairs: int = 16
    """Labelled pairs of an update (48)."""
    segment_steps: int = 64
    """Steps of a segment that an update looks at (64, all)."""
    learning_rate: float = 3e-4
    """(1e-4)"""
    actor_average_rate: float = 0.005
    """Share of the actor entering its average per update; 1 acts with the latest weights."""

    def __post_init__(self) -> None:
        self.hidden = list(self.hidden)
        check_widths("cpl", self.hidden)
        check_shares("cpl", self, "bias", "actor_average_rate")
        check_above_zero("cpl", self, "temperature", "learning_rate", "pairs", "segment_steps")
        check_not_negative("cpl", self, "cloning_updates", "cloning_weight")
        if self.reference and not self.cloning_updates:
            raise InputError(
                "cpl.reference=true: the reference is what cloning ends with; set "
                "cpl.cloning_updates above 0"
            )


class CPL(GaussianPolicy[PairBatch]):
    """The learner and its policy."""

    name = "cpl"
    config: CPLConfig
    updates: Tensor
    """(): updates done, which say whether the labels count yet."""

    def __init__(self, config: CPLConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        if config.reference:
            self.reference_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.register_buffer("updates", torch.zeros(()))
        self._optimizer = torch.optim.Adam(
            self.actor.parameters(), lr=config.learning_rate, fused=True
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over the actor."""
        return self._optimizer

    def update(
        self, batch: PairBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One step on cloning while its updates last, and on the labels afterwards."""
        config = self.config
        observations = self.standardizer(batch.transitions.observations)
        actions = batch.transitions.actions
        log_probs = self._log_probs(self.actor, observations, actions)
        cloning = -batch.split(log_probs)[1].mean()
        if config.reference:
            with torch.no_grad():
                reference = self._log_probs(self.reference_actor, observations, actions)
            log_probs = log_probs - reference
        first, second = batch.sums(config.temperature * log_probs)
        contrast = contrastive_loss(first, second, batch.labels, batch.confidence, config.bias)
        # The count is a tensor, so that no update waits for the device to know which loss it has.
        labels_count = (self.updates >= config.cloning_updates).float()
        loss = (
            labels_count * contrast + (1.0 + labels_count * (config.cloning_weight - 1.0)) * cloning
        )
        self.step(loss)
        self.updates += 1
        if config.reference:
            self._follow_while_cloning()
        return {
            "actor_loss": loss.detach(),
            "contrastive_loss": contrast.detach(),
            "cloning_loss": cloning.detach(),
            "preference_accuracy": preference_accuracy(first, second, batch.labels),
        }

    @torch.no_grad()
    def _follow_while_cloning(self) -> None:
        cloning = self.updates <= self.config.cloning_updates
        for follower, leader in zip(
            self.reference_actor.parameters(), self.actor.parameters(), strict=True
        ):
            follower.copy_(torch.where(cloning, leader, follower))

    def _log_probs(self, actor: GaussianActor, observations: Tensor, actions: Tensor) -> Tensor:
        """(R,): of `actions` (R, A)."""
        if self.config.deterministic:
            distances: Tensor = (actor(observations) - actions).square().sum(-1)
            return -distances
        return actor.log_prob(observations, actions)

"""Behaviour cloning: the control that ignores rewards."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robopref.errors import InputError
from robopref.policies.gaussian import GaussianPolicy
from robopref.structures import TransitionBatch


@dataclass
class BehaviorCloningConfig:
    """The same actor and learning rate as IQL's, so that the two compare."""

    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Width of each hidden layer."""
    learning_rate: float = 3e-4
    deterministic: bool = False
    """Whether to regress to the actions instead of maximising their log-probability, whose spread
    per dimension weighs the errors."""
    actor_average_rate: float = 0.002
    """Share of the actor entering its average per update; 1 acts with the latest weights."""

    def __post_init__(self) -> None:
        self.hidden = list(self.hidden)
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"behavior_cloning.hidden: needs positive widths, found {self.hidden}")
        if self.learning_rate <= 0 or not 0 <= self.actor_average_rate <= 1:
            raise InputError(
                "behavior_cloning: learning_rate must be > 0 and actor_average_rate within [0, 1]"
            )


class BehaviorCloning(GaussianPolicy[TransitionBatch]):
    """Maximises the log-probability of the data's actions."""

    name = "behavior_cloning"
    config: BehaviorCloningConfig

    def __init__(
        self, config: BehaviorCloningConfig, observation_dim: int, action_dim: int
    ) -> None:
        super().__init__(config, observation_dim, action_dim)
        self._optimizer = torch.optim.Adam(
            self.actor.parameters(), lr=config.learning_rate, fused=True
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over the actor."""
        return self._optimizer

    def log_likelihoods(
        self, observations: Tensor, actions: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """(B,): `log pi(a | s)` of actions (B, A) at standardised observations (B, D).

        With `deterministic`, minus the squared distance to the mean.
        """
        if self.config.deterministic:
            distances: Tensor = (self.actor(observations) - actions).square().sum(-1)
            return -distances
        return self.actor.log_prob(observations, actions)

    def update(
        self, batch: TransitionBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One gradient step; rewards are not read."""
        observations = self.standardizer(batch.observations)
        loss = -self.log_likelihoods(observations, batch.actions, generator).mean()
        self.step(loss)
        return {"actor_loss": loss.detach()}

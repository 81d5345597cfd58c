"""Implicit Q-learning (Kostrikov, Nair and Levine 2021, arXiv 2110.06169).

Algorithm 1 with three loss functions: `V` is an upper expectile of `Q` over the data's actions
(eq. 5), `Q` regresses to `r + discount * V(s')` (eq. 6), and the actor clones the data's actions
weighted by `exp(inverse_temperature * (Q - V))` (eq. 7). No action outside the data is ever asked
for its value.

Two departures. What acts is a moving average of the actor's weights: on a few ten thousand
transitions the success of the latest weights swings between updates, that of the average does
not. And the three steps use the networks as they stood before the update, in one backward
pass, where the paper takes them one after the other. The losses share no gradient, so nothing
else changes, and it is faster.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robopref.errors import InputError
from robopref.networks.actor_critic import GaussianActor
from robopref.networks.mlp import EnsembleMLP, mlp, move_towards
from robopref.policies.base import Policy
from robopref.policies.losses import (
    advantage_weights,
    critic_loss,
    expectile_loss,
    td_target,
    weighted_regression_loss,
)
from robopref.structures import TransitionBatch


@dataclass
class IQLConfig:
    """Networks, expectile, temperature and learning rate are the paper's for locomotion.

    Discount and target rate are for episodes of a few hundred steps and ten thousand updates: with
    the paper's 0.99 and 0.005 values are still climbing when such a training ends.
    """

    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Width of each hidden layer of all three networks."""
    expectile: float = 0.7
    """0.5 learns the data's own value; towards 1, the value of its best actions."""
    inverse_temperature: float = 3.0
    """0 is behaviour cloning; larger follows the advantage more greedily."""
    discount: float = 0.97
    target_update_rate: float = 0.01
    """Share of the critic that enters the target critic per update."""
    learning_rate: float = 3e-4
    actor_average_rate: float = 0.002
    """Share of the actor entering its average per update; 1 acts with the latest weights."""

    def __post_init__(self) -> None:
        self.hidden = list(self.hidden)
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"iql.hidden: needs positive widths, found {self.hidden}")
        for name in ("expectile", "discount", "target_update_rate", "actor_average_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"iql.{name}: must be within [0, 1], found {getattr(self, name)}")
        if self.inverse_temperature < 0 or self.learning_rate <= 0:
            raise InputError("iql: inverse_temperature must be >= 0 and learning_rate > 0")


class IQL(Policy):
    """The learner and its policy."""

    name = "iql"
    config: IQLConfig

    def __init__(self, config: IQLConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        pair_dim = observation_dim + action_dim
        self.actor = GaussianActor(observation_dim, config.hidden, action_dim)
        self.value = mlp(observation_dim, config.hidden, 1)
        self.critic = EnsembleMLP(2, pair_dim, config.hidden, 1)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.averaged_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self._optimizer = torch.optim.Adam(
            [p for p in self.parameters() if p.requires_grad], lr=config.learning_rate, fused=True
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over actor, value and critic."""
        return self._optimizer

    def mean_actions(self, observations: Tensor) -> Tensor:
        """(B, D) standardised observations to (B, A)."""
        actions: Tensor = self.averaged_actor(observations)
        return actions

    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, D) standardised observations to (B, A) random actions."""
        return self.averaged_actor.sample(observations, generator)

    def update(
        self, batch: TransitionBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One step of Algorithm 1 on all networks."""
        config = self.config
        observations = self.standardizer(batch.observations)
        pairs = torch.cat([observations, batch.actions], dim=-1)
        with torch.no_grad():
            # The smaller of two target critics curbs overestimation, as in the published code.
            target_q = self.target_critic(pairs).squeeze(-1).amin(0)
            next_v = self.value(self.standardizer(batch.next_observations)).squeeze(-1)
            targets = td_target(batch.rewards, config.discount, batch.terminated, next_v)

        v = self.value(observations).squeeze(-1)
        advantages = target_q - v.detach()
        weights = advantage_weights(advantages, config.inverse_temperature)
        value_loss = expectile_loss(target_q - v, config.expectile)
        q_loss = critic_loss(self.critic(pairs).squeeze(-1), targets)
        log_probs = self.actor.log_prob(observations, batch.actions)
        actor_loss = weighted_regression_loss(log_probs, weights)

        self._optimizer.zero_grad()
        torch.autograd.backward([value_loss, q_loss, actor_loss])
        self._optimizer.step()
        move_towards(self.target_critic, self.critic, config.target_update_rate)
        move_towards(self.averaged_actor, self.actor, config.actor_average_rate)
        return {
            "value_loss": value_loss.detach(),
            "critic_loss": q_loss.detach(),
            "actor_loss": actor_loss.detach(),
            "value": v.detach().mean(),
            "advantage": advantages.mean(),
            "advantage_std": advantages.std(),
            "weight": weights.mean(),
        }

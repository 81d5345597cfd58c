"""IPL: inverse preference learning, where the critic itself is the reward.

Hejna, Sadigh: Inverse Preference Learning: Preference-based RL without a Reward Function, NeurIPS
2023, arXiv 2305.15363. A critic and a value function imply the reward `r(s, a) = Q(s, a) - discount
V(s')` (the inverse Bellman operator). The labels are fitted through it, so that learning `Q` takes
the place of learning a reward and then `Q`; `V` and the actor are IQL's (algorithm 1).

Departures: what acts is a moving average of the actor's weights; the three losses take one step
together from the networks as they stood; and, as in `iql`, discount and target rate are for ten
thousand updates.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from robopref.networks.mlp import EnsembleMLP, move_towards
from robopref.policies.checks import (
    check_above_zero,
    check_not_negative,
    check_shares,
    check_widths,
)
from robopref.policies.gaussian import GaussianPolicy
from robopref.policies.losses import advantage_weights, expectile_loss, preference_accuracy
from robopref.policies.segment_pairs import PairBatch


@dataclass
class IPLConfig:
    """The authors' for Meta-World where not said otherwise."""

    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Width of each hidden layer (256, 256, 256)."""
    expectile: float = 0.75
    inverse_temperature: float = 3.0
    regularization: float = 3.0
    """`lambda`: weight of the squared reward, without which only differences of it would be known
    (robomimic: 4; gym: 0.5)."""
    discount: float = 0.97
    """(0.99)"""
    target_update_rate: float = 0.01
    """(0.005)"""
    pairs: int = 16
    """Labelled pairs of an update."""
    segment_steps: int = 16
    """Steps of a segment that an update looks at."""
    learning_rate: float = 3e-4
    actor_average_rate: float = 0.002
    """Share of the actor entering its average per update; 1 acts with the latest weights."""

    def __post_init__(self) -> None:
        self.hidden = list(self.hidden)
        check_widths("ipl", self.hidden)
        rates = ("expectile", "discount", "target_update_rate", "actor_average_rate")
        check_shares("ipl", self, *rates)
        check_above_zero("ipl", self, "learning_rate", "pairs", "segment_steps")
        check_not_negative("ipl", self, "inverse_temperature", "regularization")


def implicit_reward(
    values: Tensor, discount: float, terminated: Tensor, next_values: Tensor
) -> Tensor:
    """(..., B): `Q(s, a) - discount V(s')` (IPL); no value follows a terminated step.

    Args:
        values: (..., B) of `Q`.
        discount: in [0, 1].
        terminated: (B,) 1 where the task ended at this step.
        next_values: (B,)
    """
    return values - discount * (1.0 - terminated) * next_values


class IPL(GaussianPolicy[PairBatch]):
    """The learner and its policy."""

    name = "ipl"
    config: IPLConfig

    def __init__(self, config: IPLConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self.value = EnsembleMLP(1, observation_dim, config.hidden, 1)
        self.critic = EnsembleMLP(2, observation_dim + action_dim, config.hidden, 1)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        learning = [*self.actor.parameters(), *self.value.parameters(), *self.critic.parameters()]
        self._optimizer = torch.optim.Adam(learning, lr=config.learning_rate, fused=True)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over actor, value and critic."""
        return self._optimizer

    def update(
        self, batch: PairBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One step of algorithm 1 on all networks."""
        config, steps = self.config, batch.transitions
        states = self.standardizer(steps.observations)
        pairs = torch.cat([states, steps.actions], dim=-1)
        with torch.no_grad():
            target_q = self.target_critic(pairs).squeeze(-1).amin(0)
            next_v = self.value(self.standardizer(steps.next_observations))[0].squeeze(-1)

        v = self.value(states)[0].squeeze(-1)
        advantages = target_q - v
        value_loss = expectile_loss(advantages, config.expectile)

        q = self.critic(pairs).squeeze(-1)  # (2, R)
        rewards = implicit_reward(q, config.discount, steps.terminated, next_v)
        first, second = batch.sums(rewards)  # (2, P) each
        cross_entropy = functional.binary_cross_entropy_with_logits(
            second - first, batch.labels.expand_as(first), reduction="none"
        )
        preference_loss = (cross_entropy * batch.confidence).mean(1).sum()
        squared = _halves(batch, rewards.square()).sum()
        critic_loss = preference_loss + config.regularization * squared

        weights = advantage_weights(advantages.detach(), config.inverse_temperature)
        actor_loss = _halves(batch, -weights * self.actor.log_prob(states, steps.actions))

        self.step(value_loss + critic_loss + actor_loss)
        move_towards(self.target_critic, self.critic, config.target_update_rate)
        return {
            "actor_loss": actor_loss.detach(),
            "value_loss": value_loss.detach(),
            "preference_loss": preference_loss.detach(),
            "squared_reward": squared.detach(),
            "advantage": advantages.detach().mean(),
            "preference_accuracy": preference_accuracy(
                first.detach().mean(0), second.detach().mean(0), batch.labels
            ),
        }


def _halves(batch: PairBatch, values: Tensor) -> Tensor:
    """(...): mean of values (..., R) of which labelled steps have half the weight, however few."""
    of_pairs, rest = batch.split(values)
    mean: Tensor = 0.5 * (of_pairs.mean((-3, -2, -1)) + rest.mean(-1))
    return mean

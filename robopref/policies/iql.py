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
from robopref.networks.explicit import ExplicitMLP, workspaces_in_turn
from robopref.networks.flat import FlatParameters, flat_adam
from robopref.networks.lanes import Lane
from robopref.networks.mlp import EnsembleMLP
from robopref.policies.gaussian import GaussianPolicy
from robopref.policies.gradients import (
    critic_gradient,
    expectile_gradient,
    weighted_regression_gradients,
)
from robopref.policies.losses import advantage_weights, td_target
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


class IQL(GaussianPolicy[TransitionBatch]):
    """The learner and its policy."""

    name = "iql"
    recordable = True
    config: IQLConfig

    def __init__(self, config: IQLConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        pair_dim = observation_dim + action_dim
        self.value = EnsembleMLP(1, observation_dim, config.hidden, 1)
        self.critic = EnsembleMLP(2, pair_dim, config.hidden, 1)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self._made: _Learner | None = None

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over actor, value and critic."""
        return self._learner.optimizer

    @torch.no_grad()
    def update(
        self, batch: TransitionBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One step of Algorithm 1 on all networks."""
        config, learner, size = self.config, self._learner, len(batch)
        states = self.standardizer(torch.cat([batch.observations, batch.next_observations]))
        pairs = torch.cat([states[:size], batch.actions], dim=-1)
        # The smaller of two target critics curbs overestimation, as in the published code.
        with learner.lanes[0].beside():
            target_q = learner.target_critic.forward(pairs).squeeze(-1).amin(0)
        v, next_v = learner.value.forward(states)[0].squeeze(-1).split(size)
        learner.lanes[0].join()
        advantages = target_q - v
        with learner.lanes[0].beside():
            value_loss, gradient = expectile_gradient(advantages, config.expectile)
            learner.value.backward(gradient[None, :, None])

        with learner.lanes[1].beside():
            targets = td_target(batch.rewards, config.discount, batch.terminated, next_v)
            values = learner.critic.forward(pairs).squeeze(-1)
            q_loss, gradients = critic_gradient(values, targets)
            learner.critic.backward(gradients.unsqueeze(-1))
        to_observations = None
        if batch.observations.requires_grad:
            to_observations = learner.critic.input_gradients(*self._observed(size))

        weights = advantage_weights(advantages, config.inverse_temperature)
        outputs = learner.actor.forward(states[:size])[0]
        actor = weighted_regression_gradients(outputs, self.actor.log_std, batch.actions, weights)
        learner.actor.backward(actor.trunk.unsqueeze(0))
        learner.log_std_gradient.copy_(actor.log_std)
        if to_observations is not None:
            to_observations += learner.actor.input_gradients(*self._observed(size))
            batch.observations.grad = to_observations * self.standardizer.scale

        learner.step(config)
        means = torch.stack([v, advantages, weights]).mean(1)
        return {
            "value_loss": value_loss,
            "critic_loss": q_loss,
            "actor_loss": actor.loss,
            "value": means[0],
            "advantage": means[1],
            "advantage_std": advantages.std(),
            "weight": means[2],
        }

    def _observed(self, size: int) -> tuple[slice, slice]:
        """Rows and columns of the observations among the inputs of critic and actor."""
        return slice(size), slice(self.observation_dim)

    @property
    def _learner(self) -> _Learner:
        # Made at first use, when the policy is on its device, and again after a move or copy.
        if self._made is None or self._made.flat.moved:
            self._made = _Learner(self, self._made)
        return self._made


class _Learner:
    """Parameters laid out flat, their optimizer, and the passes of the networks."""

    def __init__(self, policy: IQL, former: _Learner | None) -> None:
        critic, actor = list(policy.critic.parameters()), list(policy.actor.parameters())
        self.flat = FlatParameters([*critic, *actor, *policy.value.parameters()])
        self._target = FlatParameters(policy.target_critic.parameters(), learning=False)
        self._average = FlatParameters(policy.averaged_actor.parameters(), learning=False)
        device = self.flat.values.device
        self.lanes = Lane(device), Lane(device)
        self.optimizer: torch.optim.Optimizer = flat_adam(
            [self.flat], policy.config.learning_rate, former.optimizer if former else None
        )
        # On a CPU each network is done before the next one starts.
        workspaces = workspaces_in_turn(4, device)
        self.value = ExplicitMLP(policy.value, workspaces[0])
        self.critic = ExplicitMLP(policy.critic, workspaces[1])
        self.target_critic = ExplicitMLP(policy.target_critic, workspaces[2])
        self.actor = ExplicitMLP(policy.actor.trunk, workspaces[3])
        gradient = policy.actor.log_std.grad
        assert gradient is not None  # `FlatParameters` made it
        self.log_std_gradient = gradient

    def step(self, config: IQLConfig) -> None:
        """Moves the networks along their gradients, and what follows them."""
        networks = self.value, self.critic, self.actor
        for lane in (*self.lanes, *(network.learning for network in networks)):
            lane.join()
        self.optimizer.step()
        start, end = len(self._target), len(self._target) + len(self._average)
        self._target.move_towards(self.flat.values[:start], config.target_update_rate)
        self._average.move_towards(self.flat.values[start:end], config.actor_average_rate)

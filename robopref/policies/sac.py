"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905), with the options of its successors.

Twin critics or larger ensembles are one batched matrix product; the target is the smaller of a
random subset of them (REDQ: Chen, Wang, Zhou and Ross 2021, arXiv 2101.05982); hidden layers may be
normalised (RLPD: Ball et al. 2023, arXiv 2302.02948); the temperature follows a target entropy.

Critics, actor and temperature use the networks as they stood before the update, in one step of
one optimizer, where the paper takes them one after the other.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robopref.errors import InputError
from robopref.networks.actor_critic import SquashedGaussianActor
from robopref.networks.mlp import EnsembleMLP, move_towards
from robopref.policies.base import Policy
from robopref.policies.losses import (
    critic_loss,
    soft_actor_loss,
    soft_value,
    td_target,
    temperature_loss,
)
from robopref.structures import TransitionBatch


@dataclass
class SACConfig:
    """Defaults are the paper's, for two critics."""

    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Width of each hidden layer of actor and critics."""
    critics: int = 2
    target_critics: int = 2
    """How many of them, drawn anew for each update, the smaller target is taken of."""
    layer_norm: bool = False
    """Whether hidden layers of the critics are normalised."""
    discount: float = 0.99
    target_update_rate: float = 0.005
    """Share of the critics that enters the target critics per update."""
    learning_rate: float = 3e-4
    initial_temperature: float = 1.0
    entropy_per_action: float = -1.0
    """Target entropy in nats per dimension of the action."""
    backup_entropy: bool = True
    """Whether the entropy counts in the value of the next step."""
    actor_reads_mean: bool = False
    """Whether the actor climbs the mean of the critics instead of the smallest."""
    critic_steps: int = 1
    """Steps of the critics per update, each on its own part of the batch; the last one moves actor
    and temperature too."""

    def __post_init__(self) -> None:
        self.hidden = list(self.hidden)
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"sac.hidden: needs positive widths, found {self.hidden}")
        if not 1 <= self.target_critics <= self.critics:
            raise InputError(
                f"sac.target_critics={self.target_critics}: must lie within 1 and "
                f"sac.critics={self.critics}"
            )
        for name in ("discount", "target_update_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"sac.{name}: must be within [0, 1], found {getattr(self, name)}")
        for name in ("learning_rate", "initial_temperature", "critic_steps"):
            if getattr(self, name) <= 0:
                raise InputError(f"sac.{name}: must be positive, found {getattr(self, name)}")


class SAC(Policy):
    """The learner and its policy."""

    name = "sac"
    config: SACConfig

    def __init__(self, config: SACConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self.actor = SquashedGaussianActor(observation_dim, config.hidden, action_dim, False)
        self.critic = EnsembleMLP(
            config.critics, observation_dim + action_dim, config.hidden, 1, config.layer_norm
        )
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.initial_temperature)))
        self._actor_side = [*self.actor.parameters(), self.log_temperature]
        self._critic_side = list(self.critic.parameters())
        self._optimizer = torch.optim.Adam(
            [*self._critic_side, *self._actor_side], lr=config.learning_rate, fused=True
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over critics, actor and temperature."""
        return self._optimizer

    def mean_actions(self, observations: Tensor) -> Tensor:
        """(B, D) standardised observations to (B, A)."""
        actions: Tensor = self.actor(observations)
        return actions

    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, D) standardised observations to (B, A) random actions."""
        actions: Tensor = self.actor.sample(observations, generator)[0]
        return actions

    @property
    def batches_per_update(self) -> int:
        """`critic_steps`."""
        return self.config.critic_steps

    def update(
        self, batch: TransitionBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """`critic_steps` steps on as many parts of the batch; the last one is on all networks."""
        *parts, last = torch.arange(len(batch), device=self.device).chunk(self.config.critic_steps)
        for rows in parts:
            self._step(batch[rows], generator, False)
        return self._step(batch[last] if parts else batch, generator, True)

    def _step(
        self, batch: TransitionBatch, generator: torch.Generator | None, with_actor: bool
    ) -> dict[str, Tensor]:
        self._optimizer.zero_grad()  # parameters without gradient are left as they are
        observations = self.standardizer(batch.observations)
        temperature = self.log_temperature.exp().detach()
        targets = self._targets(batch, temperature, generator)
        values = self.critic(torch.cat([observations, batch.actions], dim=-1)).squeeze(-1)
        q_loss = critic_loss(values, targets)
        q_loss.backward(inputs=self._critic_side)
        metrics = {"critic_loss": q_loss.detach(), "value": values.detach().mean()}
        if with_actor:
            metrics |= self._actor_gradients(observations, temperature, generator)
        self._optimizer.step()
        move_towards(self.target_critic, self.critic, self.config.target_update_rate)
        return metrics

    @torch.no_grad()
    def _targets(
        self, batch: TransitionBatch, temperature: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        config = self.config
        following = self.standardizer(batch.next_observations)
        actions, log_probs = self.actor.sample(following, generator)
        values = self.target_critic(torch.cat([following, actions], dim=-1)).squeeze(-1)
        if config.target_critics < config.critics:
            order = torch.randperm(config.critics, generator=generator, device=self.device)
            values = values[order[: config.target_critics]]
        next_values = soft_value(values, log_probs, temperature if config.backup_entropy else 0.0)
        return td_target(batch.rewards, config.discount, batch.terminated, next_values)

    def _actor_gradients(
        self, observations: Tensor, temperature: Tensor, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        actions, log_probs = self.actor.sample(observations, generator)
        values = self.critic(torch.cat([observations, actions], dim=-1)).squeeze(-1)
        value = values.mean(0) if self.config.actor_reads_mean else values.amin(0)
        actor_loss = soft_actor_loss(value, log_probs, temperature)
        target_entropy = self.config.entropy_per_action * self.action_dim
        heat_loss = temperature_loss(self.log_temperature, log_probs, target_entropy)
        torch.autograd.backward([actor_loss, heat_loss], inputs=self._actor_side)
        return {
            "actor_loss": actor_loss.detach(),
            "entropy": -log_probs.detach().mean(),
            "temperature": temperature,
        }

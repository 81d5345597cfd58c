"""What policies with a Gaussian actor share: what acts is a moving average of its weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from robopref.networks.actor_critic import GaussianActor
from robopref.networks.mlp import move_towards
from robopref.policies.base import Batch_contra, Policy


class GaussianPolicy(Policy[Batch_contra]):
    """Acts by `averaged_actor`, which follows `actor`."""

    def __init__(self, config: Any, observation_dim: int, action_dim: int) -> None:
        """
        Args:
            config: has `hidden`, the widths of the actor's layers, and `actor_average_rate`.
            observation_dim: size of a flat observation.
            action_dim: size of an action.
        """
        super().__init__(config, observation_dim, action_dim)
        self.actor = GaussianActor(observation_dim, config.hidden, action_dim)
        self.averaged_actor = copy.deepcopy(self.actor).requires_grad_(False)

    def mean_actions(self, observations: Tensor) -> Tensor:
        """(B, D) standardised observations to (B, A)."""
        actions: Tensor = self.averaged_actor(observations)
        return actions

    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, D) standardised observations to (B, A) random actions."""
        return self.averaged_actor.sample(observations, generator)

    def step(self, loss: Tensor) -> None:
        """One step of the optimizer along the gradient of `loss`, and of the average."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        move_towards(self.averaged_actor, self.actor, self.config.actor_average_rate)

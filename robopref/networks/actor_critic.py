"""Heads of actors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robopref.networks.mlp import mlp

LOG_STD_RANGE = (-5.0, 2.0)


class GaussianActor(nn.Module):
    """Gaussian over actions with mean `tanh(f(s))` and one standard deviation per dimension.

    The standard deviation does not depend on the observation, and the distribution itself is not
    squashed, as in IQL's published code: actions at the bounds keep a finite log-probability.
    """

    def __init__(self, observation_dim: int, hidden: Sequence[int], action_dim: int) -> None:
        super().__init__()
        self.trunk = mlp(observation_dim, hidden, action_dim)
        self.log_std = nn.Parameter(torch.zeros(action_dim))

    def forward(self, observations: Tensor) -> Tensor:
        """(B, D) to (B, A): mean actions in [-1, 1]."""
        hidden: Tensor = self.trunk(observations)
        return torch.tanh(hidden)

    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """(B,): log density of `actions` (B, A)."""
        log_std = self.log_std.clamp(*LOG_STD_RANGE)
        error: Tensor = (actions - self(observations)) * torch.exp(-log_std)
        constant = 0.5 * actions.shape[-1] * math.log(2.0 * math.pi)
        return -0.5 * error.square().sum(-1) - log_std.sum() - constant

    def sample(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, A): random actions, clipped to [-1, 1]."""
        mean: Tensor = self(observations)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return (mean + noise * self.log_std.clamp(*LOG_STD_RANGE).exp()).clamp(-1.0, 1.0)

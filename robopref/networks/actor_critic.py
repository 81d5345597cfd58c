"""Heads of actors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robopref.networks.mlp import EnsembleMLP

LOG_STD_RANGE = (-5.0, 2.0)


class GaussianActor(nn.Module):
    """Gaussian over actions with mean `tanh(f(s))` and one standard deviation per dimension.

    The standard deviation does not depend on the observation, and the distribution itself is not
    squashed, as in IQL's published code: actions at the bounds keep a finite log-probability.
    """

    def __init__(self, observation_dim: int, hidden: Sequence[int], action_dim: int) -> None:
        super().__init__()
        self.trunk = EnsembleMLP(1, observation_dim, hidden, action_dim)
        self.log_std = nn.Parameter(torch.zeros(action_dim))

    def forward(self, observations: Tensor) -> Tensor:
        """(..., D) to (..., A): mean actions in [-1, 1]."""
        hidden: Tensor = self.trunk(observations.flatten(0, -2))[0]
        return torch.tanh(hidden).reshape(*observations.shape[:-1], hidden.shape[-1])

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


class SquashedGaussianActor(nn.Module):
    """Gaussian whose mean and standard deviation depend on the observation, squashed by tanh.

    Haarnoja et al., "Soft Actor-Critic Algorithms and Applications", arXiv 1812.05905, appendix C.
    """

    def __init__(
        self, observation_dim: int, hidden: Sequence[int], action_dim: int, layer_norm: bool
    ) -> None:
        super().__init__()
        self.trunk = EnsembleMLP(1, observation_dim, hidden, 2 * action_dim, layer_norm)

    def forward(self, observations: Tensor) -> Tensor:
        """(B, D) to (B, A): the squashed mean, which is also the distribution's median."""
        mean, _ = self._mean_and_log_std(observations)
        return torch.tanh(mean)

    def sample(
        self, observations: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """(B, A) random actions in [-1, 1] and their log densities (B,), with gradients."""
        mean, log_std = self._mean_and_log_std(observations)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        before = mean + noise * log_std.exp()
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)), which does not underflow.
        squashing = 2.0 * (math.log(2.0) - before - functional.softplus(-2.0 * before))
        normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
        return torch.tanh(before), (normal - squashing).sum(-1)

    def _mean_and_log_std(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.trunk(observations)[0].chunk(2, dim=-1)
        return mean, log_std.clamp(*LOG_STD_RANGE)

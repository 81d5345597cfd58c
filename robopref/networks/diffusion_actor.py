"""Actions by denoising: a network that says which noise was added to an action.

Ho, Jain, Abbeel: Denoising Diffusion Probabilistic Models, NeurIPS 2020, arXiv 2006.11239; as a
policy over single actions: Wang, Hunt, Zhou: Diffusion Policies as an Expressive Policy Class for
Offline Reinforcement Learning, ICLR 2023, arXiv 2208.06193.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robopref.networks.mlp import mlp

NOISE_RATES = (0.1, 10.0)
"""Lowest and highest noise rate of the variance-preserving schedule, as in Wang et al."""


class DiffusionActor(nn.Module):
    """Predicts the noise in an action (B, A) of an observation (B, D), after `k` of `K` steps."""

    kept: Tensor
    """(K,): share of the action's variance that is left after each step (`alpha bar`)."""
    start: Tensor
    """(A,): the noise that deterministic actions begin with."""

    def __init__(
        self, observation_dim: int, hidden: Sequence[int], action_dim: int, steps: int
    ) -> None:
        super().__init__()
        self.action_dim = action_dim
        self.step_features = nn.Embedding(steps, 16)
        self.trunk = mlp(observation_dim + action_dim + 16, hidden, action_dim)
        low, high = NOISE_RATES
        share = torch.arange(1, steps + 1) / steps
        kept = torch.exp(-low * share - 0.5 * (high - low) * share.square())
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("start", torch.randn(action_dim))

    @property
    def steps(self) -> int:
        """`K`."""
        return len(self.kept)

    def forward(self, observations: Tensor, noisy: Tensor, step: Tensor) -> Tensor:
        """(B, A): predicted noise.

        Args:
            observations: (B, D)
            noisy: (B, A)
            step: (B,) from 0 to `K - 1`.
        """
        noise: Tensor = self.trunk(
            torch.cat([observations, noisy, self.step_features(step)], dim=-1)
        )
        return noise

    def errors(
        self, observations: Tensor, actions: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """(B,): squared error of the predicted noise, at a random step each (Ho et al., eq. 14).

        Times `-K / 2` it bounds the log-likelihood of the actions from below, up to a constant and
        to the weights of the steps.
        """
        size, device = len(actions), actions.device
        step = torch.randint(self.steps, (size,), generator=generator, device=device)
        noise = torch.randn(actions.shape, generator=generator, device=device)
        kept = self.kept[step, None]
        noisy = kept.sqrt() * actions + (1.0 - kept).sqrt() * noise
        errors: Tensor = (self(observations, noisy, step) - noise).square().sum(-1)
        return errors

    def sample(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, A): random actions in [-1, 1]."""
        shape, device = (len(observations), self.action_dim), observations.device

        def noise() -> Tensor:
            return torch.randn(shape, generator=generator, device=device)

        actions = noise()
        for number in reversed(range(self.steps)):
            clean, predicted, before = self._denoised(observations, actions, number)
            kept = self.kept[number]
            # The noise of the posterior of the step before (Ho et al., eq. 7).
            std = ((1.0 - before) / (1.0 - kept) * (1.0 - kept / before)).sqrt()
            actions = before.sqrt() * clean + (1.0 - before - std.square()).sqrt() * predicted
            actions = actions + std * noise()
        return actions.clamp(-1.0, 1.0)

    def denoise(self, observations: Tensor) -> Tensor:
        """(B, A): actions in [-1, 1] from a noise that is always the same, with none added.

        So several ways of doing a thing are not averaged (Song, Meng, Ermon: DDIM, eq. 12).
        """
        actions = self.start.expand(len(observations), -1)
        for number in reversed(range(self.steps)):
            clean, predicted, before = self._denoised(observations, actions, number)
            actions = before.sqrt() * clean + (1.0 - before).sqrt() * predicted
        return actions.clamp(-1.0, 1.0)

    def _denoised(
        self, observations: Tensor, actions: Tensor, number: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Estimates of the clean action and of its noise, and `alpha bar` of the step before."""
        step = torch.full((len(actions),), number, device=actions.device)
        kept = self.kept[number]
        predicted = self(observations, actions, step)
        clean = ((actions - (1.0 - kept).sqrt() * predicted) / kept.sqrt()).clamp(-1.0, 1.0)
        # What is left of the noise once the action is known to lie in [-1, 1].
        predicted = (actions - kept.sqrt() * clean) / (1.0 - kept).sqrt()
        before = self.kept[number - 1] if number else torch.ones_like(kept)
        return clean, predicted, before

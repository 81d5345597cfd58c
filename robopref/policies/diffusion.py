"""Behaviour cloning by a diffusion policy, which keeps the data's several ways apart.

Wang, Hunt, Zhou: Diffusion Policies as an Expressive Policy Class for Offline Reinforcement
Learning, ICLR 2023, arXiv 2208.06193, their `Diffusion-BC`. It denoises one action at a time.
Chunks of actions (Chi et al., Diffusion Policy, RSS 2023) imitate people better, but labels and
rewards are about steps, and a policy that learns from transitions fits every loop here.

Two departures: ReLU in place of Mish, and what acts is a moving average of the weights, as in Chi
et al.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robopref.networks.diffusion_actor import DiffusionActor
from robopref.networks.mlp import move_towards
from robopref.policies.base import Policy
from robopref.policies.checks import check_above_zero, check_shares, check_widths
from robopref.structures import TransitionBatch


@dataclass
class DiffusionConfig:
    """The authors' where not said otherwise."""

    hidden: list[int] = field(default_factory=lambda: [256, 256, 256])
    """Width of each hidden layer."""
    denoising_steps: int = 10
    """`K`, networks passes of an action (5)."""
    learning_rate: float = 3e-4
    actor_average_rate: float = 0.005
    """Share of the network entering its average per update; 1 acts with the latest weights."""

    def __post_init__(self) -> None:
        self.hidden = list(self.hidden)
        check_widths("diffusion", self.hidden)
        check_above_zero("diffusion", self, "denoising_steps", "learning_rate")
        check_shares("diffusion", self, "actor_average_rate")


class Diffusion(Policy[TransitionBatch]):
    """The learner and its policy."""

    name = "diffusion"
    config: DiffusionConfig

    def __init__(self, config: DiffusionConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self.actor = DiffusionActor(
            observation_dim, config.hidden, action_dim, config.denoising_steps
        )
        self.averaged_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self._optimizer = torch.optim.Adam(
            self.actor.parameters(), lr=config.learning_rate, fused=True
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over the denoiser."""
        return self._optimizer

    def mean_actions(self, observations: Tensor) -> Tensor:
        """(B, D) standardised observations to (B, A), always from the same noise."""
        return self.averaged_actor.denoise(observations)

    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, D) standardised observations to (B, A) random actions."""
        return self.averaged_actor.sample(observations, generator)

    def log_likelihoods(
        self, observations: Tensor, actions: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """(B,): a random lower bound of `log pi(a | s)`, up to a constant.

        Args:
            observations: (B, D) standardised.
            actions: (B, A)
            generator: draws noise and step of each.
        """
        steps = self.config.denoising_steps
        return -0.5 * steps * self.actor.errors(observations, actions, generator)

    def update(
        self, batch: TransitionBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One gradient step; rewards are not read."""
        observations = self.standardizer(batch.observations)
        loss = self.actor.errors(observations, batch.actions, generator).mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        move_towards(self.averaged_actor, self.actor, self.config.actor_average_rate)
        return {"actor_loss": loss.detach()}

"""Offline preference-guided policy optimization, a policy from labels without a reward.

Kang, Shi, Liu, He, Wang: Beyond Reward: Offline Preference-guided Policy Optimization, ICML 2023,
arXiv 2305.16217. An encoder `I` turns a trajectory into a context `z`, and a policy `π(a | s, z)`
learns to do again what was done in that trajectory (hindsight information matching). Labels order
the contexts: `z*` lies near those of preferred segments and far from the others'. Acting is
`π(a | s, z*)`.

Departures. The context of a window is read from a segment anywhere in its episode, not from the
window itself: it then says what kind of episode it is, and not how far the episode has got, which a
constant `z*` could not (reasoned, not ablated). Contexts and `z*` lie on the unit sphere, where the
paper adds `(|z| - 1)^2` to the loss and leaves `z*` free: the policy knows no context off the
sphere (measured in docs/oppo.md). Both objectives take one step together from the networks as
they stood, where the paper takes turns. And what acts is a moving average of the policy's weights.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from robopref.data.windows import Steps
from robopref.errors import InputError
from robopref.networks.context_transformer import ContextTransformer, TrajectoryEncoder
from robopref.networks.mlp import move_towards
from robopref.policies.base import Policy
from robopref.policies.checks import check_above_zero, check_not_negative, check_shares
from robopref.policies.losses import preference_accuracy
from robopref.structures import SegmentBatch


@dataclass
class OPPOConfig:
    """Sizes and rates for ten thousands of steps; the paper's, for a million, in brackets."""

    context_dim: int = 8
    """Entries of a context `z` (8; 16 for robomimic)."""
    window: int = 10
    """`K`, steps that the policy sees (20)."""
    encoder_steps: int = 16
    """Steps of a segment that the encoder reads, spread evenly (all 20 of a window)."""
    width: int = 64
    """Of both transformers (128)."""
    layers: int = 2
    """Of each transformer (3)."""
    heads: int = 4
    """Attention heads of each (1 and 2)."""
    preference_weight: float = 0.1
    """Of the preference loss beside the matching of actions (0.1)."""
    margin: float = 1.0
    """By how much the other segment's context is to be farther from `z*` (1); 2 is the most there
    can be on the unit sphere."""
    pairs: int = 32
    """Labelled pairs of an update."""
    learning_rate: float = 3e-4
    """Of encoder and policy (1e-4 after a warm-up of 10,000 updates)."""
    optimal_context_learning_rate: float = 1e-2
    """Of `z*` (1e-3; 1e-2 for robomimic)."""
    weight_decay: float = 1e-4
    """Of encoder and policy (1e-4)."""
    actor_average_rate: float = 0.005
    """Share of the policy entering its average per update; 1 acts with the latest weights."""

    def __post_init__(self) -> None:
        counts = ("context_dim", "window", "encoder_steps", "width", "layers", "heads", "pairs")
        check_above_zero("oppo", self, *counts, "learning_rate", "optimal_context_learning_rate")
        check_not_negative("oppo", self, "preference_weight", "margin", "weight_decay")
        check_shares("oppo", self, "actor_average_rate")
        if self.width % self.heads:
            raise InputError(f"oppo.width={self.width}: must be a multiple of heads={self.heads}")


@dataclass(frozen=True)
class OPPOBatch:
    """`B` windows to act in again and `P` labelled pairs, on one device."""

    windows: SegmentBatch
    """(B, K, ...)"""
    hindsight: Steps
    """(B, S, ...): of the episode of each window."""
    first: Steps
    """(P, S, ...)"""
    second: Steps
    """(P, S, ...)"""
    labels: Tensor
    """(P,) in [0, 1]: probability that the second is preferred."""
    confidence: Tensor
    """(P,): weights of the labels, 1 on average over the data."""


def hindsight_matching_loss(predicted: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of the actions done again (the paper's `L_HIM`).

    Args:
        predicted: (B, K, A) `π(a | s, I(τ))`.
        actions: (B, K, A) of `τ`.
        mask: (B, K), 1 on real steps.

    Returns:
        () mean over real steps and dimensions.
    """
    errors = (predicted - actions).square().mean(-1)
    return (errors * mask).sum() / mask.sum()


def context_preference_loss(
    first: Tensor,
    second: Tensor,
    optimal: Tensor,
    labels: Tensor,
    confidence: Tensor,
    margin: float,
) -> Tensor:
    """Triplet loss `max(0, |z* - z+| - |z* - z-| + margin)` (the paper's `L_PM`).

    A label between 0 and 1 mixes the losses of both orders, so that a tie asks for equal distances.

    Args:
        first: (P, C) contexts of the first segments.
        second: (P, C) contexts of the second segments.
        optimal: (C,) `z*`.
        labels: (P,) probability that the second is preferred.
        confidence: (P,) weights.
        margin: by how much the distances are to differ.

    Returns:
        () weighted mean over pairs.
    """
    closer = distances(first, optimal) - distances(second, optimal)  # how much the second is
    losses = labels * functional.relu(margin - closer) + (1.0 - labels) * functional.relu(
        margin + closer
    )
    return (losses * confidence).mean()


def distances(contexts: Tensor, optimal: Tensor) -> Tensor:
    """(P,): Euclidean distances of contexts (P, C) to `z*` (C,)."""
    lengths: Tensor = torch.linalg.vector_norm(contexts - optimal, dim=-1)
    return lengths


class OPPO(Policy[OPPOBatch]):
    """The learner and its policy, which remembers the last `K` steps between `reset`s."""

    name = "oppo"
    config: OPPOConfig
    action_error: Tensor
    """(A,): mean squared error of each action dimension, the noise of random actions."""

    def __init__(self, config: OPPOConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        sizes = (observation_dim, action_dim, config.context_dim)
        shape = (config.width, config.layers, config.heads)
        self.encoder = TrajectoryEncoder(*sizes, *shape)
        self.actor = ContextTransformer(*sizes, *shape)
        self.averaged_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.direction = nn.Parameter(torch.randn(config.context_dim))
        self.register_buffer("action_error", torch.ones(action_dim))
        networks = [*self.encoder.parameters(), *self.actor.parameters()]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": networks, "weight_decay": config.weight_decay},
                {"params": [self.direction], "lr": config.optimal_context_learning_rate},
            ],
            lr=config.learning_rate,
            weight_decay=0.0,
            fused=True,
        )
        self.reset()

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW over encoder and policy, and over `z*` at a rate of its own."""
        return self._optimizer

    @property
    def optimal_context(self) -> Tensor:
        """(C,): `z*`."""
        return functional.normalize(self.direction, dim=-1)

    def contexts(self, steps: Steps) -> Tensor:
        """(B, C): `I(τ)` of segments with raw observations."""
        contexts: Tensor = self.encoder(self.standardizer(steps.observations), steps.actions)
        return contexts

    def reset(self) -> None:
        """Forgets the steps of the last episode."""
        self._observations = torch.zeros(0, 0, self.observation_dim)
        self._actions = torch.zeros(0, 0, self.action_dim)

    def mean_actions(self, observations: Tensor) -> Tensor:
        """(B, D) standardised observations, the next of `B` episodes, to (B, A)."""
        actions = self._next_actions(observations)
        self._remember(actions)
        return actions

    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """As `mean_actions`, with Gaussian noise of the size of the error on the data."""
        actions = self._next_actions(observations)
        noise = torch.randn(actions.shape, generator=generator, device=actions.device)
        actions = (actions + noise * self.action_error.sqrt()).clamp(-1.0, 1.0)
        self._remember(actions)
        return actions

    def _next_actions(self, observations: Tensor) -> Tensor:
        rows, remembered = len(observations), len(self._observations)
        if remembered not in (0, rows):
            raise InputError(
                f"policy {self.name}: remembers {remembered} episodes, found {rows} observations; "
                "reset() before other episodes"
            )
        if not remembered:
            self._observations = observations.new_zeros(rows, 0, self.observation_dim)
            self._actions = observations.new_zeros(rows, 0, self.action_dim)
        seen = torch.cat([self._observations, observations[:, None]], dim=1)
        self._observations = seen[:, -self.config.window :]
        contexts = self.optimal_context.expand(rows, -1)
        steps = self._observations.shape[1]
        before = self._actions[:, self._actions.shape[1] - (steps - 1) :]
        actions: Tensor = self.averaged_actor(contexts, self._observations, before)[:, -1]
        return actions

    def _remember(self, actions: Tensor) -> None:
        done = torch.cat([self._actions, actions[:, None]], dim=1)
        self._actions = done[:, -self.config.window :]

    def update(
        self, batch: OPPOBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One step on encoder and policy, and one on `z*`."""
        config, windows = self.config, batch.windows
        sides = (batch.hindsight, batch.first, batch.second)
        contexts = self.contexts(Steps(*(torch.cat(parts) for parts in zip(*sides, strict=True))))
        hindsight, first, second = contexts.split([len(side.actions) for side in sides])
        actions = self.actor(
            hindsight, self.standardizer(windows.observations), windows.actions[:, :-1]
        )
        matching = hindsight_matching_loss(actions, windows.actions, windows.mask)

        # The encoder places contexts around z*; z* finds its place among them.
        optimal = self.optimal_context
        labels = (batch.labels, batch.confidence, config.margin)
        preference = context_preference_loss(first, second, optimal.detach(), *labels)
        search = context_preference_loss(first.detach(), second.detach(), optimal, *labels)
        loss = matching + config.preference_weight * preference + search

        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        move_towards(self.averaged_actor, self.actor, config.actor_average_rate)
        squared = (actions.detach() - windows.actions).square() * windows.mask[..., None]
        error = squared.sum((0, 1)) / windows.mask.sum()
        self.action_error.lerp_(error, config.actor_average_rate)
        return {
            "actor_loss": matching.detach(),
            "preference_loss": preference.detach(),
            "preference_accuracy": preference_accuracy(
                -distances(first, optimal), -distances(second, optimal), batch.labels
            ),
        }

"""Two transformers around a context: one reads it out of a trajectory, one acts from it.

Kang, Shi, Liu, He, Wang: Beyond Reward: Offline Preference-guided Policy Optimization, ICML 2023,
section 4.

Departures: a step is one token (the context, the observation and the action before it side by
side) where Decision Transformer spends three, and positions enter as a penalty on distance instead
of learned embeddings, as in `networks/transformer.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from robopref.networks.transformer import Transformer


class TrajectoryEncoder(Transformer):
    """`z = I(τ)`: reads steps of a segment in both directions and says what kind it is of."""

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        context_dim: int,
        width: int,
        layers: int,
        heads: int,
    ) -> None:
        inputs = observation_dim + action_dim
        super().__init__(inputs, width, layers, heads, context_dim, causal=False)

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Encodes segments of equally many steps.

        Args:
            observations: (B, S, D), standardised.
            actions: (B, S, A).

        Returns:
            (B, context_dim), on the unit sphere.
        """
        x = self.features(torch.cat([observations, actions], dim=-1))
        return functional.normalize(self.head(x.mean(1)), dim=-1)


class ContextTransformer(Transformer):
    """`π(a | s, z)`: the action at each step of a window, from the steps up to it and a context."""

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        context_dim: int,
        width: int,
        layers: int,
        heads: int,
    ) -> None:
        inputs = context_dim + observation_dim + action_dim
        super().__init__(inputs, width, layers, heads, action_dim, causal=True)

    def forward(self, contexts: Tensor, observations: Tensor, actions: Tensor) -> Tensor:
        """Acts at every step.

        Args:
            contexts: (B, context_dim).
            observations: (B, K, D), standardised.
            actions: (B, K - 1, A) or more: the action taken at each step. A step sees the one
                before it; the first step of a window sees none.

        Returns:
            (B, K, A) in [-1, 1].
        """
        steps = observations.shape[1]
        before = functional.pad(actions[:, : steps - 1], (0, 0, 1, 0))
        everywhere = contexts[:, None].expand(-1, steps, -1)
        x = self.features(torch.cat([everywhere, observations, before], dim=-1))
        return torch.tanh(self.head(x))

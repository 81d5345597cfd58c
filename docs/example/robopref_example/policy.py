"""A linear policy that clones the actions whose reward is above the average."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robopref.policies.base import Policy
from robopref.structures import TransitionBatch


@dataclass
class RegressionConfig:
    """Settings of the linear policy."""

    learning_rate: float = 1e-2


class LinearRegression(Policy[TransitionBatch]):
    """Clones the actions whose reward is above the average, linearly."""

    name = "linear_regression"

    def __init__(self, config: RegressionConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self.layer = torch.nn.Linear(observation_dim, action_dim)
        self._optimizer = torch.optim.Adam(self.layer.parameters(), lr=config.learning_rate)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What checkpoints keep beside the weights."""
        return self._optimizer

    def mean_actions(self, observations: Tensor) -> Tensor:
        """(B, D) standardised observations to (B, A)."""
        return self.layer(observations).clamp(-1.0, 1.0)

    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """The mean: this policy draws nothing."""
        return self.mean_actions(observations)

    def update(
        self, batch: TransitionBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One step on raw observations."""
        chosen = (batch.rewards > 0).float()  # rewards of a dataset have mean 0
        errors = (
            (self.layer(self.standardizer(batch.observations)) - batch.actions).square().mean(1)
        )
        loss = (chosen * errors).sum() / chosen.sum().clamp(min=1.0)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return {"loss": loss.detach()}

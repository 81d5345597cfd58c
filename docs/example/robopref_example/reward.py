"""A linear Bradley-Terry reward, by logistic regression on mean features of a segment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.preferences.dataset import Preferences, check_dataset, check_informative
from robopref.rewards.base import OnEpoch, RewardModel, RewardPrediction
from robopref.structures import SegmentBatch


@dataclass
class LinearConfig:
    """Settings of the linear reward."""

    ridge: float = 1e-3


class LinearReward(RewardModel):
    """r(s) = w · features(s)."""

    name = "linear"

    def __init__(self, config: LinearConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self.weights = torch.nn.Parameter(torch.zeros(2 * observation_dim))

    def features(self, observations: Tensor) -> Tensor:
        """(..., 2 D): the observation and the distances of its first half to its second."""
        half = self.observation_dim // 2
        gap = observations[..., :half] - observations[..., half:]
        return torch.cat([observations, gap.abs(), gap.square()], dim=-1)

    def fit(
        self,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        seed: int,
        on_epoch: OnEpoch = lambda epoch, metrics: None,
    ) -> dict[str, float]:
        """Logistic regression by L-BFGS."""
        check_informative(preferences)  # at least two pairs, not all labels equal
        check_dataset(preferences, dataset)  # labels of this very dataset
        batch = preferences.to_batch(dataset)
        means = [
            (self.features(side.observations) * side.mask[..., None]).sum(1)
            / side.mask.sum(1, keepdim=True)
            for side in (batch.first, batch.second)
        ]
        optimizer = torch.optim.LBFGS([self.weights], max_iter=50)

        def loss() -> Tensor:
            optimizer.zero_grad()
            logits = (means[1] - means[0]) @ self.weights
            value = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, batch.labels, weight=batch.confidence
            )
            value = value + self.config.ridge * self.weights.square().sum()
            value.backward()
            return value

        metrics = {"train/loss": float(optimizer.step(loss))}
        on_epoch(1, metrics)
        return metrics

    @torch.no_grad()
    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        """No standard deviation: a single model."""
        self.check_sizes(segments.observations.shape[-1], segments.actions.shape[-1])
        rewards = self.features(segments.observations) @ self.weights
        return RewardPrediction(rewards * segments.mask, std=None)


REWARD = (LinearReward, LinearConfig)
"""What pyproject.toml names: `robopref train-reward reward=linear` finds it."""

"""What every reward model owes: learn from preferences, predict per step, save, load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.networks.persistence import load_weights, save_model
from robopref.preferences.dataset import Preferences
from robopref.structures import SegmentBatch

OnEpoch = Callable[[int, Mapping[str, float]], None]
"""Told the number of epochs done and their metrics."""


@dataclass(frozen=True)
class RewardPrediction:
    """Rewards per step of `B` segments; zero on padding."""

    mean: Tensor
    """(B, T)"""
    std: Tensor | None
    """(B, T): standard deviation, where the model has one."""


class RewardModel(nn.Module, ABC):
    """A reward over flat observations (D,) and actions (A,).

    The contract is on segments, because a reward may need the steps before. A saved model carries
    its config, sizes and input statistics.
    """

    name: ClassVar[str]
    """Key in the registry and in saved files."""
    looks_back: ClassVar[bool] = True
    """Whether a step's reward may depend on the steps before it."""

    def __init__(self, config: Any, observation_dim: int, action_dim: int) -> None:
        super().__init__()
        self.config = config
        self.observation_dim = observation_dim
        self.action_dim = action_dim
        # Every model owns a tensor, so that it knows its device.
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    @abstractmethod
    def fit(
        self,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        seed: int,
        on_epoch: OnEpoch = lambda epoch, metrics: None,
    ) -> dict[str, float]:
        """Learns from labelled pairs of one dataset; its true rewards are not read.

        Returns:
            Metrics of the last epoch.

        Raises:
            InputError: if the labels belong to another dataset or nothing can be learned.
        """

    @abstractmethod
    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        """Rewards of raw segments, without gradient."""

    @torch.no_grad()
    def predict_members(self, segments: SegmentBatch) -> Tensor:
        """(E, B, T): the reward by each member of an ensemble; the only one if it is none."""
        return self.predict(segments).mean[None]

    @property
    def bound(self) -> float | None:
        """Largest absolute sum of rewards over a segment of average length; None for no bound."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        anchor = self.get_buffer("anchor")
        return anchor.device

    def check_sizes(self, observation_dim: int, action_dim: int) -> None:
        """Raises `InputError` unless observations and actions have the model's sizes."""
        if (observation_dim, action_dim) != (self.observation_dim, self.action_dim):
            raise InputError(
                f"reward {self.name}: expects {self.observation_dim} observation and "
                f"{self.action_dim} action features, found {observation_dim} and {action_dim}; "
                "use the dataset or the environment that it was trained for"
            )

    def save(self, folder: Path) -> None:
        """Writes weights, config, sizes and input statistics into a folder."""
        save_model(self, "reward", folder)

    def load(self, folder: Path) -> Self:
        """Takes the weights and statistics of a saved model of the same kind and sizes.

        Raises:
            InputError: if the folder has none or they do not fit.
        """
        load_weights(self, "reward", folder)
        return self

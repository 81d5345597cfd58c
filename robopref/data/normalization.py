"""Standardised observations (with the statistics stored beside the weights) and rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CONSTANT = 1e-6
"""A dimension whose standard deviation is below this share of its size is taken as constant."""
LIMIT = 10.0
"""Standardised values are held within this many standard deviations, so that a dimension which
hardly moved in the data cannot drown the others when it does."""


class Standardizer(nn.Module):
    """Maps observations to mean 0 and standard deviation 1 per dimension.

    Statistics are buffers: they travel and are saved with the module that owns the standardizer.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        """Starts as the identity (up to the limit) on vectors of `size` entries."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def fit(self, values: NDArray[Any] | Tensor) -> None:
        """Takes the statistics of `values` (N, size). Constant dimensions are only centred."""
        values = torch.as_tensor(values).to(self.mean.device, torch.float64)
        mean, std = values.mean(0), values.std(0, correction=0)
        std[std <= CONSTANT * mean.abs().clamp(min=1.0)] = 1.0
        self.mean.copy_(mean)
        self.scale.copy_(1.0 / std)

    def forward(self, values: Tensor) -> Tensor:
        """Standardises (..., size)."""
        return ((values - self.mean) * self.scale).clamp(-LIMIT, LIMIT)


def standardize_rewards(rewards: NDArray[Any]) -> NDArray[np.float32]:
    """Maps the rewards of a dataset (N,) to mean 0 and standard deviation 1.

    A learned reward's scale and offset are arbitrary, but how greedily a policy follows its
    advantages depends on the scale, and how long its values take to be learned on the offset.
    Among episodes of equal length neither changes which policy is best. Where episodes terminate
    the offset does matter: the mean reward is then what the end is worth per step.

    Constant rewards become zero.
    """
    values = np.asarray(rewards, dtype=np.float64)
    centred = values - values.mean()
    std = centred.std()
    constant = std <= CONSTANT * max(1.0, abs(values.mean()))
    scaled: NDArray[np.float32] = (centred * (0.0 if constant else 1.0 / std)).astype(np.float32)
    return scaled

"""Standardised observations (with the statistics stored beside the weights) and rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

RESOLUTION = 1e-3
"""Standard deviation (in the observation's own units, as metres or radians) at which a dimension
counts half. A simulator's rounding of 1e-5 m would otherwise be blown up to look like motion,
and when it differs by episode it tells a network which episode it sees."""
LIMIT = 10.0
"""Standardised values are held within this many standard deviations."""


class Standardizer(nn.Module):
    """Maps observations to mean 0 and standard deviation 1 per dimension.

    Dimensions that move less than the resolution shrink towards zero; constant ones become zero.
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
        """Takes the statistics of `values` (N, size)."""
        values = torch.as_tensor(values).to(self.mean.device, torch.float64)
        std = values.std(0, correction=0)
        self.mean.copy_(values.mean(0))
        self.scale.copy_(std / (std.square() + RESOLUTION**2))

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
    constant = std <= 1e-6 * max(1.0, abs(values.mean()))  # no more than rounding
    scaled: NDArray[np.float32] = (centred * (0.0 if constant else 1.0 / std)).astype(np.float32)
    return scaled

"""Standardised observations (with the statistics stored beside the weights) and rewards."""

from __future__ import annotations

import math
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
        return (values - self.mean).mul_(self.scale).clamp_(-LIMIT, LIMIT)


def reward_scale(rewards: NDArray[Any], terminated: NDArray[Any]) -> tuple[float, float]:
    """What to take from rewards and what to divide them by, for standard deviation 1.

    The scale and offset of a learned reward are arbitrary. But how greedily a policy follows its
    advantages depends on the scale, and how long its values take to learn depends on the offset:
    they climb to `offset / (1 - discount)` first. While no episode terminates, neither changes
    which policy is best. Where episodes do, the offset says what it is worth to end, so it stays
    and the root mean square becomes 1.

    Args:
        rewards: (N,)
        terminated: (N,) bool.

    Returns:
        Offset and size; the size is infinite, and makes zeros, if the rewards are all equal and no
        step terminates.
    """
    values = np.asarray(rewards, dtype=np.float64)
    offset = 0.0 if terminated.any() else float(values.mean())
    size = float(np.sqrt(np.mean((values - offset) ** 2)))
    if size <= 1e-6 * max(1.0, abs(values.mean())):  # no more than rounding
        return offset, math.inf
    return offset, size


def standardize_rewards(rewards: NDArray[Any], terminated: NDArray[Any]) -> NDArray[np.float32]:
    """(N,): rewards (N,) of a dataset at their `reward_scale`."""
    offset, size = reward_scale(rewards, terminated)
    scaled: NDArray[np.float32] = ((np.asarray(rewards, np.float64) - offset) / size).astype(
        np.float32
    )
    return scaled

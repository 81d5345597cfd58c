"""The option `rewards` of a training on a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.rewards.registry import load_reward
from robopref.rewards.relabel import relabel

TRUE, ZERO = "true", "zero"
"""Words for rewards that need no folder of a reward model."""


def chosen_rewards(
    dataset: TrajectoryDataset, source: str, pessimism: float, device: torch.device
) -> NDArray[np.float32]:
    """(N,): what the policy learns from."""
    if source == TRUE:
        return dataset.rewards
    if source == ZERO:
        return np.zeros(dataset.num_steps, dtype=np.float32)
    if not Path(source).is_dir():
        raise InputError(
            f"rewards={source}: no such folder; give true, zero, or the folder of a reward model"
        )
    learned = relabel(dataset, load_reward(source, device))
    if not pessimism:
        return learned.mean
    if learned.std is None:
        raise InputError(
            f"pessimism={pessimism}: the reward of {source} predicts no standard deviation; train "
            "one with reward.members above 1"
        )
    return learned.mean - np.float32(pessimism) * learned.std

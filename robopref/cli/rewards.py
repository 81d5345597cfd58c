"""The option `rewards` of a training on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.lazy import load_dataset_lazily
from robopref.errors import InputError
from robopref.networks.persistence import read_description
from robopref.rewards.personal import personal
from robopref.rewards.registry import load_reward
from robopref.rewards.relabel import lower_bound, relabel
from robopref.rewards.visual import as_seen

TRUE, ZERO = "true", "zero"
"""Words for rewards that need no folder of a reward model."""


def reward_of_states(source: str) -> str:
    """Folder of a learned reward that needs no images; empty for any other source."""
    if source in (TRUE, ZERO) or read_description("reward", Path(source))["config"].get("encoder"):
        return ""
    return source


class Choice(Protocol):
    """The options."""

    rewards: str
    whose: str
    pessimism: float
    lower_bound: bool


def chosen_rewards(
    dataset: TrajectoryDataset, choice: Choice, device: torch.device
) -> NDArray[np.float32]:
    """(N,): what the policy learns from."""
    source, whose, pessimism = choice.rewards, choice.whose, choice.pessimism
    if whose and source in (TRUE, ZERO):
        raise InputError(
            f"whose={whose}: chooses among the annotators of a learned reward; give its folder as "
            "rewards="
        )
    if source == TRUE:
        return dataset.rewards
    if source == ZERO:
        return np.zeros(dataset.num_steps, dtype=np.float32)
    if not Path(source).is_dir():
        raise InputError(
            f"rewards={source}: no such folder; give true, zero, or the folder of a reward model"
        )
    model = personal(load_reward(source, device), whose, source)
    if getattr(model.config, "encoder", ""):
        # The policy may not look at images; the reward reads them from the file.
        dataset = as_seen(load_dataset_lazily(dataset.source), model.config, device)
    if choice.lower_bound:
        if pessimism:
            raise InputError("lower_bound=true: is pessimism of another kind; leave pessimism= out")
        return lower_bound(dataset, model)
    learned = relabel(dataset, model)
    if not pessimism:
        return learned.mean
    if learned.std is None:
        raise InputError(
            f"pessimism={pessimism}: the reward of {source} predicts no standard deviation; train "
            "one with reward.members above 1"
        )
    return learned.mean - np.float32(pessimism) * learned.std

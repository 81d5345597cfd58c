"""A dataset's steps as one batch of transitions, for policies."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.normalization import standardize_rewards
from robopref.errors import InputError
from robopref.structures import TransitionBatch


def transitions(dataset: TrajectoryDataset, rewards: NDArray[Any] | None = None) -> TransitionBatch:
    """All `N` steps with their next observations and standardised rewards.

    Args:
        dataset: where observations, actions and terminations come from.
        rewards: (N,) rewards to learn from; the true ones when None.

    Raises:
        InputError: if `rewards` has another length or holds NaN or infinity.
    """
    chosen = dataset.rewards if rewards is None else rewards
    if chosen.shape != (dataset.num_steps,) or not np.isfinite(chosen).all():
        raise InputError(
            f"{dataset.source}: rewards must be ({dataset.num_steps},) finite numbers, found "
            f"{chosen.shape} with {int((~np.isfinite(chosen)).sum())} that are not; "
            "train the reward model again"
        )
    rows = dataset.observation_rows
    observations = torch.from_numpy(dataset.flat_observations)
    return TransitionBatch(
        observations=observations[rows],
        actions=torch.from_numpy(dataset.actions),
        rewards=torch.from_numpy(standardize_rewards(chosen, dataset.terminated)),
        next_observations=observations[rows + 1],
        terminated=torch.from_numpy(dataset.terminated).float(),
    )

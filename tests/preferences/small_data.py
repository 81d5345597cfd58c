"""A small dataset with known rewards, and preferences over it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robopref.data.dataset import TrajectoryDataset
from robopref.structures import Trajectory


def dataset_of(rewards: Sequence[Sequence[float]], seed: int = 0) -> TrajectoryDataset:
    """One episode per row of rewards; the first observation feature is the reward itself."""
    rng = np.random.default_rng(seed)
    episodes = []
    for row in rewards:
        steps = len(row)
        values = np.asarray(row, dtype=np.float32)
        state = rng.normal(size=(steps + 1, 3)).astype(np.float32)
        state[:-1, 0] = values
        episodes.append(
            Trajectory(
                observations={"state": state},
                actions=rng.uniform(-1.0, 1.0, (steps, 2)).astype(np.float32),
                rewards=values,
                terminated=np.zeros(steps, dtype=bool),
                truncated=np.arange(steps) == steps - 1,
                success=np.zeros(steps, dtype=bool),
            )
        )
    return TrajectoryDataset.from_trajectories(episodes)


def random_dataset(episodes: int = 12, steps: int = 20, seed: int = 0) -> TrajectoryDataset:
    """Episodes whose reward level differs from one to the next."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(size=(episodes, 1))
    return dataset_of((levels + rng.normal(size=(episodes, steps))).tolist(), seed)

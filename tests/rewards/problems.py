"""Problems whose right reward is known."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import whole_episodes
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.teachers import TeacherConfig, scripted_labels
from tests.preferences.small_data import random_dataset

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def labelled(
    episodes: int = 40, pairs: int = 150, mistake: float = 0.0, seed: int = 0
) -> tuple[TrajectoryDataset, Preferences]:
    """Episodes whose reward is their first observation feature, and pairs of whole ones."""
    dataset = random_dataset(episodes, steps=24, seed=seed)
    rng = np.random.default_rng(seed)
    asked = uniform_pairs(whole_episodes(dataset), pairs, rng)
    return dataset, scripted_labels(dataset, asked, TeacherConfig(mistake=mistake), rng, NOW)

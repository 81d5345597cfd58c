"""A problem with a known answer for policies that learn from labels, and a free encoder."""

from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.networks import pretrained
from robopref.preferences.dataset import Preferences
from robopref.structures import Segments, Trajectory


@pytest.fixture
def data() -> tuple[TrajectoryDataset, Preferences]:
    """Two kinds of episodes in one world: some always go +0.5, some -0.5; labels like +0.5."""
    rng = np.random.default_rng(0)

    def episode(number: int) -> Trajectory:
        steps, direction = 12, 0.5 if number % 2 else -0.5
        flags = np.zeros(steps, dtype=bool)
        observations = rng.normal(size=(steps + 1, 3)).astype(np.float32)
        actions = np.full((steps, 1), direction, dtype=np.float32)
        return Trajectory({"flat": observations}, actions, flags * 1.0, flags, flags, flags)

    dataset = TrajectoryDataset.from_trajectories([episode(number) for number in range(40)])
    sides = [
        Segments(rng.integers(40, size=60), rng.integers(6, size=60), np.full(60, 6))
        for _ in range(2)
    ]
    good = [side.episodes % 2 for side in sides]
    labels = 0.5 + 0.5 * (good[1] - good[0])
    preferences = Preferences.from_labels(
        dataset,
        *sides,
        labels,
        source="scripted",
        annotator="test",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return dataset, preferences


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pre-trained encoder that costs nothing: the mean colour of each quarter of the picture."""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
    monkeypatch.setattr(pretrained, "_load", lambda name: network)

"""Small tasks in which a hand pushes an object, with positions that transfer can read."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from robopref.data.dataset import TrajectoryDataset
from robopref.preferences.dataset import Preferences
from robopref.structures import Segments, Trajectory

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = 20
ENTITIES = {
    "entities": {
        "hand": {"key": "hand"},
        "object": {"key": "things", "first": 0},
        "goal": {"key": "things", "first": 3},
    }
}


def task(direction: np.ndarray, skills: np.ndarray, seed: int) -> TrajectoryDataset:
    """Episodes that push an object a share `skill` of the way to a goal, along `direction`."""
    rng = np.random.default_rng(seed)
    episodes = []
    for skill in skills:
        start = rng.normal(0.0, 0.02, 3)
        time = np.linspace(0.0, 1.0, STEPS + 1)[:, None]
        thing = start + skill * time * direction
        goal = np.broadcast_to(start + direction, thing.shape)
        hand = thing + 0.3 * (1 - np.minimum(2 * time, 1.0)) + rng.normal(0, 0.005, thing.shape)
        last = np.arange(STEPS) == STEPS - 1
        episodes.append(
            Trajectory(
                observations={"hand": hand, "things": np.concatenate([thing, goal], axis=1)},
                actions=np.diff(hand, axis=0),
                rewards=np.full(STEPS, skill),
                terminated=np.zeros(STEPS, dtype=bool),
                truncated=last,
                success=np.full(STEPS, skill > 0.8),
            )
        )
    return TrajectoryDataset.from_trajectories(episodes, ENTITIES)


def oracle(dataset: TrajectoryDataset, pairs: tuple[Segments, Segments]) -> Preferences:
    first, second = pairs
    better = dataset.returns[second.episodes] > dataset.returns[first.episodes]
    return Preferences.from_labels(
        dataset,
        first,
        second,
        better.astype(float),
        source="scripted",
        annotator="o",
        created_at=NOW,
    )


def points(count: int) -> Segments:
    return Segments(np.arange(count), np.zeros(count, dtype=int), np.full(count, STEPS))

"""Preferences that go round in circles: one part of the model says them, Bradley-Terry cannot."""

from __future__ import annotations

import numpy as np
import torch

from robopref.data.segments import gather, whole_episodes
from robopref.preferences.dataset import Preferences
from robopref.rewards.general import GeneralConfig, GeneralReward
from robopref.rewards.registry import make_reward
from tests.preferences.small_data import dataset_of
from tests.rewards.problems import NOW

KINDS = np.array([0.0, 1.0, 2.0])
"""Three kinds of episodes: 0 beats 1, 1 beats 2, 2 beats 0."""
DATASET = dataset_of([[KINDS[episode % 3] - 1.0] * 8 for episode in range(30)])


def circular() -> Preferences:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 30, (2, 400))
    different = first % 3 != second % 3
    first, second = first[different], second[different]
    return Preferences.from_labels(
        DATASET,
        whole_episodes(DATASET, first),
        whole_episodes(DATASET, second),
        ((first - second) % 3 == 1).astype(float),
        source="human",
        annotator="test",
        created_at=NOW,
    )


def accuracy(turns: int) -> float:
    config = GeneralConfig(turns=turns, epochs=40)
    return make_reward(config, DATASET, 0).fit(circular(), DATASET, 0)["train/accuracy"]


def test_circles_need_the_part_that_turns() -> None:
    assert accuracy(turns=2) > 0.95
    assert accuracy(turns=0) < 0.8  # two of three orders at best


def test_the_reward_is_what_a_step_adds_against_an_average_segment() -> None:
    preferences = circular()
    model = make_reward(GeneralConfig(turns=1, members=1, sampled_steps=0), DATASET, 0)
    assert isinstance(model, GeneralReward)
    model.fit(preferences, DATASET, 0)
    batch = gather(DATASET, whole_episodes(DATASET))
    outputs = model.backbone(model.standardised(batch.observations, batch.actions), batch.mask)
    sums = model.rewards(outputs).sum(-1)[0]
    blocks = model.embed(outputs).sum(2)[0, :, 0]
    a, b = model.average[0, 0]
    torch.testing.assert_close(blocks.mean(0), torch.stack([a, b]), rtol=1e-4, atol=1e-4)
    expected = sums + blocks[:, 0] * b - a * blocks[:, 1]
    torch.testing.assert_close(model.predict(batch).mean.sum(1), expected)

"""SURF: where spans lie, which pairs are taught, and that both help where labels are few."""

import math

import numpy as np
import torch

from robopref.evaluation.reward_quality import reward_quality
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import relabel
from robopref.rewards.semi_supervised import crop_pairs, pseudo_labels, random_spans
from robopref.seeding import torch_generator
from tests.preferences.small_data import dataset_of
from tests.rewards.problems import labelled


def test_crops_lie_inside_and_both_sides_lose_the_same_share() -> None:
    generator = torch_generator(0, "test")
    first = torch.full((2000,), 100), torch.full((2000,), 60)
    second = torch.full((2000,), 900), torch.full((2000,), 30)
    (start, length), (other_start, other_length) = crop_pairs(first, second, 0.25, generator)
    assert 45 <= int(length.min()) <= 46 and int(length.max()) == 60
    assert ((length / 60 - other_length / 30).abs() < 1 / 30).all()
    assert (start >= 100).all() and (start + length <= 160).all()
    assert (other_start >= 900).all() and (other_start + other_length <= 930).all()
    assert len(start.unique()) > 10 and not torch.equal(start - 100, other_start - 900)


def test_random_spans_lie_inside_episodes_and_reach_every_step() -> None:
    dataset = dataset_of([[0.0] * 5, [0.0] * 12])
    starts, lengths = random_spans(dataset, torch.full((4000,), 8), torch_generator(0, "test"))
    short = starts < 5
    assert (lengths[short] == 5).all() and (starts[short] == 0).all()
    assert set(starts[~short].tolist()) == {5, 6, 7, 8, 9} and (lengths[~short] == 8).all()
    assert 0.2 < float(short.float().mean()) < 0.4  # 5 of 17 steps


def test_only_sure_pairs_are_taught() -> None:
    logits = torch.tensor([math.log(99.5 / 0.5), -math.log(99.5 / 0.5), math.log(98.0 / 2.0), 0.0])
    labels, weights = pseudo_labels(logits, 0.99)
    assert labels[:3].tolist() == [1.0, 0.0, 1.0]
    assert weights.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_both_learn_and_change_what_is_learned() -> None:
    dataset, preferences = labelled(episodes=40, pairs=60)
    learned = {}
    for name, options in {
        "plain": {},
        "crop": {"crop": 0.25},
        "pseudo": {"pseudo_pairs": 4},
    }.items():
        model = make_reward(BradleyTerryConfig(**options), dataset, seed=0)
        model.fit(preferences, dataset, seed=0)
        learned[name] = relabel(dataset, model)
        assert reward_quality(learned[name], dataset)["return_spearman"] > 0.9, name
    assert not np.array_equal(learned["plain"].mean, learned["crop"].mean)
    assert not np.array_equal(learned["plain"].mean, learned["pseudo"].mean)

"""Two kinds of people with opposite wishes: both are recovered, where one reward serves neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robopref.data.segments import gather, whole_episodes
from robopref.errors import InputError
from robopref.evaluation.reward_quality import label_accuracy
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.groups import GroupsConfig, GroupsReward
from robopref.rewards.registry import load_reward, make_reward
from robopref.rewards.relabel import relabel
from tests.rewards.problems import NOW, labelled

DATASET = labelled(episodes=60)[0]
NAMES = np.array(["ana", "ben", "cem", "dora"])
CONTRARY = {"ben", "cem"}


def asked(seed: int, pairs: int = 400) -> Preferences:
    """Everybody answers some pairs; Ben and Cem want the opposite of what Ana and Dora want."""
    rng = np.random.default_rng(seed)
    found = scripted_labels(
        DATASET, uniform_pairs(whole_episodes(DATASET), pairs, rng), TEACHERS["oracle"], rng, NOW
    )
    names = rng.choice(NAMES, size=pairs)
    contrary = np.isin(names, list(CONTRARY))
    return replace(
        found, annotator=names, labels=np.where(contrary, 1.0 - found.labels, found.labels)
    )


@pytest.fixture(scope="module")
def model() -> GroupsReward:
    found = make_reward(GroupsConfig(), DATASET, seed=0)
    assert isinstance(found, GroupsReward)
    found.fit(asked(0), DATASET, seed=0)
    return found


def test_both_wishes_are_recovered_where_one_reward_serves_neither(model: GroupsReward) -> None:
    people = model.config.people
    assert people["ana"] == people["dora"] != people["ben"] == people["cem"]
    test = asked(1)
    single = make_reward(BradleyTerryConfig(), DATASET, seed=0)
    single.fit(asked(0), DATASET, seed=0)
    for name in NAMES:
        own = test[test.annotator == name]
        rewards = relabel(DATASET, model.of(str(name))).mean
        assert label_accuracy(rewards, own, DATASET) > 0.85
    worst = min(
        label_accuracy(relabel(DATASET, single).mean, test[test.annotator == name], DATASET)
        for name in NAMES
    )
    assert worst < 0.7


def test_what_is_predicted_is_the_reward_of_whoever_is_served_worst(model: GroupsReward) -> None:
    batch = gather(DATASET, whole_episodes(DATASET)[:5])
    means = torch.stack([each.predict(batch).mean for each in model.rewards])
    standardised = (means - model.centre[:, None, None]) / model.spread[:, None, None]
    torch.testing.assert_close(model.predict(batch).mean, standardised.amin(0) * batch.mask)


def test_people_are_saved_with_the_reward(model: GroupsReward, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = load_reward(tmp_path)
    assert isinstance(loaded, GroupsReward) and loaded.config.people == model.config.people
    with pytest.raises(
        InputError, match="whose=eve: gave no label to this reward; choose from ana"
    ):
        loaded.of("eve")


def test_a_group_needs_somebody() -> None:
    with pytest.raises(InputError, match=r"labels are by 4 annotators \(ana, ben, cem, dora\)"):
        make_reward(GroupsConfig(groups=5), DATASET, 0).fit(asked(0), DATASET, 0)
    with pytest.raises(InputError, match="reward.groups=0"):
        GroupsConfig(groups=0)

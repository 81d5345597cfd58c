"""A latent says who a reward is for, also of somebody whom the model has never met."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robopref.errors import InputError
from robopref.evaluation.reward_quality import label_accuracy
from robopref.rewards.registry import load_reward, make_reward
from robopref.rewards.relabel import relabel
from robopref.rewards.vpl import VPLConfig, VPLReward
from tests.rewards.test_groups import DATASET, NAMES, asked


@pytest.fixture(scope="module")
def model() -> VPLReward:
    found = make_reward(VPLConfig(epochs=40), DATASET, seed=0)
    assert isinstance(found, VPLReward)
    found.fit(asked(0), DATASET, seed=0)
    return found


def test_both_wishes_are_recovered(model: VPLReward) -> None:
    test = asked(1)
    for name in NAMES:
        own = test[test.annotator == name]
        assert label_accuracy(relabel(DATASET, model.of(str(name))).mean, own, DATASET) > 0.85


def test_a_few_labels_tell_what_somebody_new_wants(model: VPLReward) -> None:
    test = asked(2)
    for name in ("ana", "ben"):
        own = test[test.annotator == name]
        stranger = replace(own, annotator=np.full(len(own), "eve"))
        reward = model.given(stranger[:10], DATASET, seed=0)
        assert label_accuracy(relabel(DATASET, reward).mean, stranger[10:], DATASET) > 0.8
    assert "eve" not in model.config.people


def test_everybodys_reward_is_the_mean_and_differs_by_person(model: VPLReward) -> None:
    everybody = relabel(DATASET, model)
    each = np.stack([relabel(DATASET, model.of(str(name))).mean for name in NAMES])
    np.testing.assert_allclose(everybody.mean, each.mean(0), atol=1e-5)
    assert everybody.std is not None
    np.testing.assert_allclose(everybody.std, each.std(0), atol=1e-5)


def test_latents_are_saved_with_the_reward(model: VPLReward, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = load_reward(tmp_path)
    assert isinstance(loaded, VPLReward)
    np.testing.assert_array_equal(
        relabel(DATASET, loaded.of("ben")).mean, relabel(DATASET, model.of("ben")).mean
    )
    with pytest.raises(InputError, match="whose=eve: gave no label"):
        loaded.of("eve")


def test_one_label_says_too_little_about_a_person() -> None:
    labels = asked(0)
    single = replace(labels, annotator=np.array(["eve", *labels.annotator[1:]]))
    with pytest.raises(InputError, match="annotator eve gave 1 label"):
        make_reward(VPLConfig(), DATASET, 0).fit(single, DATASET, 0)

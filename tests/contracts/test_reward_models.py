"""What every reward model owes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from robopref.data.segments import all_segments, gather, whole_episodes
from robopref.errors import InputError
from robopref.rewards.registry import REWARDS, load_reward, make_reward
from robopref.structures import SegmentBatch
from tests.preferences.small_data import dataset_of, random_dataset
from tests.rewards.problems import NOW, labelled

DATASET, PREFERENCES = labelled()


@pytest.fixture(params=sorted(REWARDS))
def config(request: pytest.FixtureRequest) -> Any:
    own = {"groups": {"groups": 1}, "rapl": {"encoder": "", "frames": 12}}  # one annotator; states
    return REWARDS[request.param][1](epochs=4, **own.get(request.param, {}))


WITHOUT_STD = ("rapl", "vpl")  # vpl: how people differ, and there is one


def test_learning_reduces_the_loss_and_reports_epochs(config: Any) -> None:
    heard: list[float] = []
    model = make_reward(config, DATASET, seed=0)
    final = model.fit(
        PREFERENCES, DATASET, 0, lambda epoch, metrics: heard.append(metrics["train/loss"])
    )
    assert len(heard) == 4
    assert heard[-1] == final["train/loss"]
    assert heard[-1] < heard[0]


def test_prediction_shapes(config: Any) -> None:
    batch = gather(DATASET, all_segments(DATASET, 7)[:5])
    prediction = make_reward(config, DATASET, seed=0).predict(batch)
    assert prediction.mean.shape == (5, 7)
    assert prediction.mean.isfinite().all()
    if prediction.std is None:
        assert isinstance(config, tuple(REWARDS[name][1] for name in WITHOUT_STD))
        return
    assert prediction.std.shape == (5, 7)
    assert (prediction.std > 0).all()


def test_same_seed_same_weights(config: Any) -> None:
    states = []
    for seed in (3, 3, 4):
        torch.rand(seed)  # the global generator must not matter
        model = make_reward(config, DATASET, seed)
        model.fit(PREFERENCES, DATASET, seed)
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert any(not torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_a_saved_model_predicts_the_same(config: Any, tmp_path: Path) -> None:
    model = make_reward(config, DATASET, seed=0)
    model.fit(PREFERENCES, DATASET, 0)
    model.save(tmp_path / "model")
    loaded = load_reward(tmp_path / "model")
    batch = gather(DATASET, whole_episodes(DATASET))
    before, after = model.predict(batch), loaded.predict(batch)
    torch.testing.assert_close(before.mean, after.mean, rtol=0, atol=0)
    if before.std is not None:
        torch.testing.assert_close(before.std, after.std, rtol=0, atol=0)
    assert loaded.config == model.config


def test_padding_never_changes_predictions(config: Any) -> None:
    model = make_reward(config, DATASET, seed=0)
    model.fit(PREFERENCES, DATASET, 0)
    batch = gather(DATASET, all_segments(DATASET, 6)[:3])
    padded = SegmentBatch(
        torch.cat([batch.observations, torch.full((3, 4, 3), 7.0)], dim=1),
        torch.cat([batch.actions, torch.full((3, 4, 2), 7.0)], dim=1),
        torch.cat([batch.mask, torch.zeros(3, 4)], dim=1),
    )
    short, long = model.predict(batch), model.predict(padded)
    torch.testing.assert_close(long.mean[:, :6], short.mean)
    assert not long.mean[:, 6:].any()
    if long.std is not None:
        torch.testing.assert_close(long.std[:, :6], short.std)
        assert not long.std[:, 6:].any()


def test_segments_of_different_length_can_be_learned_from(config: Any) -> None:
    dataset = dataset_of([[1.0] * (5 + i % 7) if i % 2 else [-1.0] * (5 + i % 7) for i in range(8)])
    _, template = labelled(episodes=8, pairs=20)
    first, second = template.first, template.second
    labels = (dataset.returns[second.episodes] > dataset.returns[first.episodes]).astype(float)
    preferences = type(template).from_labels(
        dataset,
        whole_episodes(dataset, first.episodes),
        whole_episodes(dataset, second.episodes),
        labels,
        source="human",
        annotator="test",
        created_at=NOW,
    )
    metrics = make_reward(config, dataset, seed=0).fit(preferences, dataset, 0)
    assert 0.0 < metrics["train/loss"] < 10.0


def test_labels_of_another_dataset_are_refused(config: Any) -> None:
    other = random_dataset(40, steps=24, seed=9)
    with pytest.raises(InputError, match="was given for dataset"):
        make_reward(config, other, seed=0).fit(PREFERENCES, other, 0)


def test_other_sizes_are_refused(config: Any) -> None:
    model = make_reward(config, DATASET, seed=0)
    batch = gather(DATASET, whole_episodes(DATASET)[:2])
    wrong = SegmentBatch(batch.observations[..., :2], batch.actions, batch.mask)
    with pytest.raises(InputError, match="expects 3 observation and 2 action features, found 2"):
        model.predict(wrong)


def test_damaged_models_are_refused(config: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"reward.json: no such file"):
        load_reward(tmp_path)
    make_reward(config, DATASET, seed=0).save(tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged or of another reward"):
        load_reward(tmp_path)


def test_what_does_not_look_back_pays_a_step_alone_as_in_its_episode(config: Any) -> None:
    model = make_reward(config, DATASET, seed=0)
    model.fit(PREFERENCES, DATASET, 0)
    if model.looks_back:
        return
    batch = gather(DATASET, all_segments(DATASET, 6)[:3])
    steps = [
        SegmentBatch(*(each[:, [step]] for each in (batch.observations, batch.actions, batch.mask)))
        for step in range(6)
    ]
    alone = torch.cat([model.predict(step).mean for step in steps], dim=1)
    torch.testing.assert_close(alone, model.predict(batch).mean)

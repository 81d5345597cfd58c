"""The success classifier: what it learns, its threshold, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robopref.cli.main import main
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import save_dataset
from robopref.errors import InputError
from robopref.rewards.classifier import (
    ClassifierConfig,
    SuccessClassifier,
    chosen_threshold,
    held_out_steps,
    precision_recall,
    quality,
)
from robopref.structures import Trajectory


def reaching(episodes: int, seed: int = 0, reach: float = 0.6) -> TrajectoryDataset:
    """Walks of a number from 0; above 1 is success. Some never get there."""
    rng, found = np.random.default_rng(seed), []
    for number in range(episodes):
        pace = 0.08 if rng.random() < reach or not number else 0.02
        walk = np.concatenate([[0.0], np.cumsum(pace * rng.uniform(0.5, 1.5, 30))])
        other = rng.normal(size=31)
        last = np.arange(30) == 29
        found.append(Trajectory(
            observations={"flat": np.stack([walk, other], 1).astype(np.float32)},
            actions=np.zeros((30, 1), np.float32), rewards=np.zeros(30, np.float32),
            terminated=np.zeros(30, bool), truncated=last, success=walk[1:] > 1.0,
        ))  # fmt: skip
    return TrajectoryDataset.from_trajectories(found, source="walks")


def test_thresholds_by_hand() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8], np.float32)
    labels = np.array([False, False, True, True])
    thresholds, precision, recall = precision_recall(scores, labels)
    np.testing.assert_allclose(thresholds, [0.1, 0.35, 0.4, 0.8])
    np.testing.assert_allclose(precision, [0.5, 2 / 3, 0.5, 1.0])
    np.testing.assert_allclose(recall, [1.0, 1.0, 0.5, 0.5])
    assert chosen_threshold(scores, labels, 0.95) == pytest.approx(0.8)
    assert chosen_threshold(scores, labels, 0.6) == pytest.approx(0.35)
    # Nothing is precise enough: the best F1.
    assert chosen_threshold(scores[:3], labels[:3], 0.95) == pytest.approx(0.35)
    found = quality(scores, labels, 0.35)
    assert (found["precision"], found["recall"]) == (pytest.approx(2 / 3), 1.0)
    assert found["false_alarms"] == 0.5


def test_it_learns_where_success_begins() -> None:
    dataset = reaching(40)
    model = SuccessClassifier(ClassifierConfig(hidden=[32], updates=300), 2)
    found = model.fit(dataset, seed=0)
    assert found["precision"] >= 0.95
    assert found["recall"] > 0.9
    fresh = reaching(20, seed=1)
    after = fresh.flat_observations[fresh.observation_rows + 1]
    called = model.probability(after) >= float(model.threshold)
    assert (called == fresh.success).mean() > 0.95
    assert model.judge(np.array([1.5, 0.0], np.float32))
    assert not model.judge(np.array([0.3, 0.0], np.float32))


def test_the_same_episodes_are_kept_aside_of_both_kinds() -> None:
    dataset = reaching(20)
    aside = held_out_steps(dataset, 0.25, seed=3)
    assert (aside == held_out_steps(dataset, 0.25, seed=3)).all()
    for part in (aside, ~aside):
        assert dataset.success[part].any() and not dataset.success[part].all()
    # Whole episodes.
    assert set(np.add.reduceat(aside, dataset.offsets[:-1])) == {0, 30}


def test_it_is_saved_whole(tmp_path: Path) -> None:
    model = SuccessClassifier(ClassifierConfig(hidden=[8], updates=20), 2)
    model.fit(reaching(12), seed=0)
    model.save(tmp_path)
    again = SuccessClassifier.load(tmp_path)
    assert float(again.threshold) == float(model.threshold)
    observations = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    np.testing.assert_array_equal(again.probability(observations), model.probability(observations))
    description = json.loads((tmp_path / "reward.json").read_text())
    (tmp_path / "reward.json").write_text(json.dumps(description | {"reward": "pearl"}))
    with pytest.raises(InputError, match="holds a reward 'pearl' and no classifier"):
        SuccessClassifier.load(tmp_path)


@pytest.mark.parametrize("reach", [0.0, 1.0])
def test_both_kinds_of_step_are_needed(reach: float) -> None:
    dataset = reaching(1 if reach == 0.0 else 6, reach=reach)
    if reach == 1.0:
        dataset.success[:] = True
    with pytest.raises(InputError, match="needs steps with and without success"):
        held_out_steps(dataset, 0.25, seed=0)


def test_what_it_cannot_see_is_told() -> None:
    model = SuccessClassifier(ClassifierConfig(hidden=[8]), 2)
    with pytest.raises(InputError, match="expects 2 numbers"):
        model.probability(np.zeros((3, 4), np.float32))


def test_options() -> None:
    for options in (
        {"hidden": []}, {"updates": 0}, {"batch_size": 1}, {"held_out": 1.0}, {"precision": 0.0},
        {"dropout": 1.0}, {"learning_rate": 0.0},
    ):  # fmt: skip
        with pytest.raises(InputError):
            ClassifierConfig(**options)  # type: ignore[arg-type]


def test_the_command_and_a_session_that_it_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    collect = ["collect", "env=toy/point-mass-v0", "mix=expert", "horizon=20", "workers=1"]
    assert main([*collect, "+mix.shares.random=1", "episodes=30", "output=p.hdf5"]) == 0
    learn = ["train-reward", "dataset=p.hdf5", "reward=classifier", "reward.hidden=[32]"]
    assert main([*learn, "name=c"]) == 0
    assert "precision" in capsys.readouterr().out
    assert (tmp_path / "runs/train-reward/c/threshold.png").is_file()
    metrics = json.loads((tmp_path / "runs/train-reward/c/metrics.json").read_text())
    assert metrics["test/precision"] > 0.8
    assert main([*learn, "preferences=x.parquet"]) == 2
    assert "leave it out" in capsys.readouterr().err
    assert main(["train-reward", "dataset=p.hdf5"]) == 2
    assert "preferences=: must be given" in capsys.readouterr().err
    session = [
        "hil", "local", "env=toy/point-mass-v0", "operator=synthetic", "synthetic.patience=3",
        "classifier=runs/train-reward/c/reward", "rlpd.hidden=[16]", "learning.batch_size=16",
        "evaluation.episodes=0", "steps=80", "device=cpu", "name=j",
    ]  # fmt: skip
    assert main(session) == 0
    lines = (tmp_path / "runs/hil/j/metrics.jsonl").read_text().splitlines()
    outcomes = [json.loads(line) for line in lines]
    assert any(line["episode/success"] for line in outcomes)
    assert not any(line["episode/disagreed"] for line in outcomes)
    save_dataset(tmp_path / "none.hdf5", reaching(4, reach=0.0))
    missing = [part.replace("p.hdf5", "none.hdf5") for part in learn]
    assert main([*missing, "reward.encoder=efficientnet_lite0"]) == 2
    assert "has none; collect it" in capsys.readouterr().err

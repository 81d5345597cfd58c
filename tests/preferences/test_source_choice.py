"""What is predicted of transfers between tasks, and which task to label next."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robopref.cli.main import main
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset, save_dataset
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences, save_preferences
from robopref.preferences.source_choice import (
    VARIANCES,
    LabelledPair,
    TransferQuality,
    next_task,
    observe,
)
from robopref.preferences.transfer import TransferConfig, task_distance
from tests.preferences.pushing_tasks import oracle, points, task


def pair(distance: float, quality: float = float("nan"), **known: Any) -> LabelledPair:
    """Between two tasks of its own."""
    names = {"source": f"s{distance}", "target": f"t{distance}", "confidence": 0.5, "labels": 100}
    return LabelledPair(distance=distance, quality=quality, **(names | known))


def test_quality_falls_with_distance_as_it_was_seen_to():
    seen = [pair(distance, 1.0 - 0.4 * distance) for distance in np.linspace(0.1, 1.0, 40)]
    near, far = TransferQuality(seen).predict([pair(0.25), pair(0.85)])[0]
    assert near == pytest.approx(0.9, abs=0.03)
    assert far == pytest.approx(0.66, abs=0.03)


def test_a_source_that_was_good_for_others_is_taken_to_be_good():
    seen = [
        pair(0.5, 0.9 if source == "good" else 0.7, source=source, target=f"t{number}")
        for source in ("good", "bad") for number in range(6)
    ]  # fmt: skip
    quality = TransferQuality(seen)
    mean, std = quality.predict([pair(0.5, source=name) for name in ("good", "new", "bad")])
    assert mean[0] > mean[1] + 0.05 > mean[2] + 0.1
    assert std[1] > std[0]
    assert mean[1] == pytest.approx(0.8)


def test_posterior_is_that_of_the_joint_gaussian():
    # Two equal pairs: covariance 1 + noise on the diagonal; worked out by hand.
    seen = [pair(0.5, quality, source="a", target="b") for quality in (0.4, 0.8) * 3]
    mean, std = TransferQuality(seen).predict([pair(0.5, source="a", target="b")])
    shared = VARIANCES["source"] + VARIANCES["target"]
    assert mean[0] == pytest.approx(0.6)
    left = shared - shared**2 * 6 / (6 * shared + VARIANCES["noise"])
    assert std[0] == pytest.approx(0.2 * np.sqrt(left))


def test_pairs_without_a_quality_teach_nothing():
    seen = [pair(0.1 * i, 0.5 + 0.05 * i) for i in range(6)]
    unknown = [pair(0.3)] * 5
    with_them = TransferQuality([*seen, *unknown]).predict([pair(0.4)])
    np.testing.assert_array_equal(with_them, TransferQuality(seen).predict([pair(0.4)]))
    with pytest.raises(InputError, match="5 pairs of tasks with labels on both"):
        TransferQuality([*seen[:5], *unknown])


def test_a_source_without_labels_can_be_asked_for():
    seen = [pair(0.1 * i, 0.9 - 0.05 * i) for i in range(8)]
    mean, std = TransferQuality(seen).predict([pair(0.2, confidence=float("nan"))])
    assert np.isfinite([*mean, *std]).all()


def test_the_next_task_is_the_one_that_helps_most():
    best = np.array([0.9, 0.6, 0.6])
    mean = np.array([[1.0, 0.6, 0.6], [0.5, 1.0, 0.9], [0.5, 0.7, 1.0]])
    assert next_task(best, mean, np.zeros((3, 3))) == 1
    unsure = np.array([[0.0] * 3, [0.0] * 3, [0.5, 0.5, 0.0]])  # might be good for all
    assert next_task(best, mean, unsure) == 2


def pushing(seed: int, direction: tuple[float, float, float]) -> TrajectoryDataset:
    """Twelve episodes of all skills."""
    skills = np.random.default_rng(seed).permutation(np.linspace(0.0, 1.0, 12))
    return task(np.array(direction), skills, seed)


def labelled(dataset: TrajectoryDataset, turned: bool = False) -> Preferences:
    """All pairs of episodes, by their returns; the wrong way round if `turned`."""
    first, second = np.triu_indices(12, k=1)
    labels = oracle(dataset, (points(12)[first], points(12)[second]))
    return replace(labels, labels=1.0 - labels.labels) if turned else labels


def test_what_is_observed():
    source, target = pushing(0, (0.3, 0.0, 0.0)), pushing(1, (0.0, 0.25, 0.1))
    config, known = TransferConfig(), (target, labelled(target))
    seen = observe((source, labelled(source)), known, config)
    assert seen.labels == 66
    assert seen.distance == task_distance(source, target, config)
    turned = observe((source, labelled(source, turned=True)), known, config)
    assert seen.quality > 0.9
    assert turned.quality == pytest.approx(1.0 - seen.quality)
    assert turned.distance == seen.distance  # reads no label
    assert np.isnan(observe((source, labelled(source)), (target, None), config).quality)
    assert task_distance(source, source, config) < seen.distance


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("abcd"):
        dataset = pushing(seed, (0.3, 0.1 * seed, 0.0))
        save_dataset(tmp_path / f"{name}.hdf5", dataset)
        save_preferences(
            tmp_path / f"{name}.parquet", labelled(load_dataset(tmp_path / f"{name}.hdf5"))
        )
    command = ["choose-source", "datasets=[a.hdf5,b.hdf5,c.hdf5,d.hdf5]", "workers=1", "name=c"]
    assert main([*command, "preferences=[a.parquet,b.parquet,c.parquet]"]) == 0
    told = capsys.readouterr().out
    assert "d.hdf5: transfer from" in told
    assert "label next: d.hdf5" in told
    metrics = json.loads((tmp_path / "runs" / "choose-source" / "c" / "metrics.json").read_text())
    assert len(metrics["pairs"]) == 12
    assert main([*command, "preferences=[a.parquet,b.parquet]"]) == 2
    assert "2 labelled tasks; a prediction needs three" in capsys.readouterr().err
    four = "preferences=[a.parquet,b.parquet,c.parquet,d.parquet]"
    assert main([*command, four]) == 2
    assert "at least one that has none" in capsys.readouterr().err

"""A saved reward labels pairs by its sums."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robopref.cli import main as cli
from robopref.data.dataset import TrajectoryDataset
from robopref.data.lazy import load_dataset_lazily
from robopref.data.robomimic import load_dataset, save_dataset
from robopref.networks import pretrained
from robopref.preferences.dataset import load_preferences
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.registry import load_reward, make_reward
from robopref.rewards.relabel import relabel, sum_differences
from robopref.rewards.visual import as_seen
from tests.preferences.small_data import random_dataset

LABEL = ("label", "dataset=data.hdf5", "labeler=reward", "labeler.folder=reward", "pairs=40")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrajectoryDataset:
    """A file with pictures, and an encoder that costs nothing."""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
    monkeypatch.setattr(pretrained, "_load", lambda name: network)
    monkeypatch.chdir(tmp_path)
    dataset, rng = random_dataset(12, steps=10), np.random.default_rng(0)
    shape = (len(dataset.flat_observations), 8, 8, 3)
    pictures = {"top_image": rng.integers(256, size=shape, dtype=np.uint8)}
    save_dataset(Path("blind.hdf5"), dataset)
    observations = {**dataset.observations, **pictures}
    save_dataset(Path("data.hdf5"), replace(dataset, observations=observations))
    return load_dataset_lazily("data.hdf5")


def reward(data: TrajectoryDataset, encoder: str = "small") -> None:
    config = BradleyTerryConfig(hidden=[8], encoder=encoder)
    make_reward(config, as_seen(data, config), 0).save(Path("reward"))


@pytest.mark.parametrize("encoder", ["small", ""])
@pytest.mark.parametrize(
    "more", [(), ("ranking_size=4",), ("segment_length=4", "strategy=k_center")], ids=str
)
def test_labels_are_the_order_of_its_sums(
    data: TrajectoryDataset, encoder: str, more: tuple[str, ...]
) -> None:
    reward(data, encoder)
    assert cli.main([*LABEL, *more, "output=a.parquet"]) == 0
    labels, model = load_preferences("a.parquet"), load_reward("reward")
    rewards = relabel(as_seen(data, model.config), model).mean
    np.testing.assert_array_equal(labels.labels, sum_differences(rewards, labels, data) > 0)
    assert 0 < labels.labels.mean() < 1
    assert set(labels.source) == set(labels.annotator) == {"reward"}
    labels.to_batch(load_dataset("data.hdf5"))  # they are labels of this very file


def test_true_rewards_are_not_read(data: TrajectoryDataset) -> None:
    reward(data)
    other = load_dataset("data.hdf5")
    save_dataset(Path("paid.hdf5"), replace(other, rewards=-other.rewards))
    found = []
    for name in ("data", "paid"):
        asked = [*LABEL, f"dataset={name}.hdf5", f"output={name}.parquet"]
        assert cli.main(asked) == 0
        found.append(load_preferences(f"{name}.parquet").labels)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("encoder", "arguments", "message"),
    [
        ("small", ["labeler.folder=none"], "labeler.folder=none: no such folder; give that of"),
        ("small", ["labeler.folder="], "labeler.folder=: no such folder"),
        ("small", ["labeler.folder=runs"], "runs/reward.json: no such file"),
        ("small", ["dataset=blind.hdf5"], "looks at images, and blind.hdf5 has none"),
        ("", ["dataset=other.hdf5"], "reward bradley_terry: expects"),
        ("small", ["labeler.beta=1"], "no such option"),
    ],
)
def test_wrong_input_is_one_line(
    data: TrajectoryDataset,
    capsys: pytest.CaptureFixture[str],
    encoder: str,
    arguments: list[str],
    message: str,
) -> None:
    reward(data, encoder)
    Path("runs").mkdir()
    blind = load_dataset("blind.hdf5")
    wider = {"more": np.zeros((len(blind.flat_observations), 2), np.float32)}
    save_dataset(Path("other.hdf5"), replace(blind, observations={**blind.observations, **wider}))
    assert cli.main([*LABEL, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and message in said
    assert not list(Path("runs").iterdir())

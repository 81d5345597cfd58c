"""Two processes of torchrun learn what one learns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robopref.cli.main import main
from robopref.data.collect import collect
from robopref.data.robomimic import load_dataset
from robopref.rewards.registry import load_reward
from robopref.rewards.relabel import relabel

MIX = {"shares": {"expert": 0.5, "random": 0.5}, "noise": 0.1}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with pictures and labels in it."""
    monkeypatch.chdir(tmp_path)
    kwargs = {"horizon": 12, "cameras": ["top"], "image_size": 16}
    collect("toy/point-mass-v0", kwargs, MIX, 10, 0, tmp_path / "points.hdf5", workers=1)
    assert main("label dataset=points.hdf5 pairs=21 output=labels.parquet".split()) == 0
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        ["reward=preference_transformer", "reward.width=16", "reward.members=2"],
        ["reward=rapl", "reward.encoder="],
    ],
    ids=["transformer", "visual"],
)
def test_two_processes_learn_what_one_learns(folder, options):
    # Batches of 10, 10 and 1: one process has nothing in the last of them.
    command = ["train-reward", "dataset=points.hdf5", "preferences=labels.parquet", *options,
               "reward.batch_size=10", "reward.epochs=3"]  # fmt: skip
    assert main([*command, "name=one"]) == 0
    program = str(Path(sys.executable).parent / "robopref")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, program, *command, "name=two"], check=True)
    runs = folder / "runs" / "train-reward"
    assert sorted(path.name for path in runs.iterdir()) == ["one", "two"]
    dataset = load_dataset("points.hdf5")
    one, two = (
        relabel(dataset, load_reward(runs / name / "reward")).mean for name in ("one", "two")
    )
    assert np.ptp(one) > 0.01
    np.testing.assert_allclose(two, one, atol=1e-3 * np.ptp(one))

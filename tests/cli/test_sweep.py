"""A sweep's runs have folders of their own, and can be begun again; on Ray too."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from robopref.cli.main import main
from robopref.data.collect import collect

MIX = {"shares": {"expert": 0.5, "random": 0.5}, "noise": 0.1}
TRAIN = ["train", "-m", "dataset=points.hdf5", "rewards=true", "evaluation.episodes=2",
         "iql.hidden=[32,32]", "training.batch_size=64", "training.log_every=20"]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a dataset in it."""
    monkeypatch.chdir(tmp_path)
    collect("toy/point-mass-v0", {"horizon": 20}, MIX, 8, 0, tmp_path / "points.hdf5", workers=1)
    return tmp_path


def weights(run: Path) -> dict[str, bytes]:
    """Of its policy."""
    arrays = load_file(run / "policy" / "weights.safetensors")
    return {name: array.tobytes() for name, array in arrays.items()}


def test_finished_runs_are_passed_over_and_broken_ones_gone_on_with(folder, capfd):
    sweep = [*TRAIN, "name=s", "training.updates=60", "training.checkpoint_every=20",
             "training.seed=0,1", "hydra/launcher=basic"]  # fmt: skip
    assert main(sweep) == 0
    runs = [folder / "runs" / "train" / "s" / str(number) for number in range(2)]
    before = [weights(run) for run in runs]
    assert before[0] != before[1]
    # As after a kill: half a run, its last checkpoint older than its end.
    for path in ("metrics.json", "evaluation.json", "policy/weights.safetensors"):
        (runs[1] / path).unlink()
    capfd.readouterr()
    assert main(sweep) == 0
    told = capfd.readouterr().out
    assert "runs/train/s/0: done before" in told
    assert "runs/train/s/1: done before" not in told
    assert [weights(run) for run in runs] == before


def test_a_run_that_cannot_go_on_starts_over(folder):
    command = ["evaluate", "-m", "policy=runs/train/p/policy", "env=toy/point-mass-v0",
               "episodes=2,3", "workers=1", "name=e", "hydra/launcher=basic"]  # fmt: skip
    assert (
        main(["train", *TRAIN[2:], "training.updates=20", "training.checkpoint_every=20", "name=p"])
        == 0
    )
    assert main(command) == 0
    run = folder / "runs" / "evaluate" / "e" / "1"
    outcome = (run / "evaluation.json").read_bytes()
    (run / "metrics.json").unlink()
    (run / "half").touch()
    assert main(command) == 0
    assert (run / "evaluation.json").read_bytes() == outcome
    assert not (run / "half").exists()


def test_another_sweep_of_the_same_name_is_refused(folder, capfd):
    sweep = [
        *TRAIN,
        "name=s",
        "training.updates=20",
        "training.checkpoint_every=20",
        "hydra/launcher=basic",
    ]
    assert main([*sweep, "training.seed=0"]) == 0
    assert main([*sweep, "training.seed=1"]) == 2
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert "runs/train/s/0: is a run with training.seed=0, not 1; choose another name=" in last


@pytest.mark.slow
def test_a_sweep_outlives_a_machine(folder):
    """16 runs on a Ray cluster of two machines, one of which is lost half-way."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster()
    for _ in range(2):
        lost = cluster.add_node(num_cpus=1)  # the last one; the first is the head
    seeds = "training.seed=" + ",".join(map(str, range(16)))
    command = [str(Path(sys.executable).parent / "robopref"), *TRAIN, "training.updates=1500",
               "training.checkpoint_every=300", seeds]  # fmt: skip
    done = folder / "runs" / "train" / "ray"

    def begun() -> int:
        return len(list(done.glob("*/config.yaml")))

    def finished() -> int:
        return len(list(done.glob("*/metrics.json")))

    try:
        sweep = subprocess.Popen(
            [*command, "name=ray", "hydra/launcher=ray"],
            env=os.environ | {"RAY_ADDRESS": cluster.address},
        )
        while finished() < 5 or begun() - finished() < 2:  # both machines have one in hand
            assert sweep.poll() is None
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)
        assert finished() < 16
        assert sweep.wait(timeout=600) == 0
    finally:
        cluster.shutdown()
    assert finished() == 16
    subprocess.run([*command, "name=here"], check=True)
    for number in range(16):
        assert weights(done / str(number)) == weights(done.parent / "here" / str(number)), number

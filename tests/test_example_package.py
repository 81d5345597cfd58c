"""The package of docs/example is installed and does what docs/extending.md says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "docs" / "example"
FROM_PYTHON = """
from pathlib import Path

from robopref.data.robomimic import load_dataset
from robopref.data.transitions import transitions
from robopref.environments import make_env
from robopref.evaluation.rollout import evaluate
from robopref.hil.actor import Actor, ActingConfig
from robopref.hil.log import StepLog
from robopref.policies.registry import new_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.rewards.registry import load_reward
from robopref.rewards.relabel import relabel
from robopref.training.offline import OfflineTrainingConfig, train_offline
from robopref_example.device import Lever
from robopref_example.policy import LinearRegression, RegressionConfig

if __name__ == "__main__":
    dataset = load_dataset("rail.hdf5")
    model = load_reward("runs/train-reward/rail/reward")
    data = transitions(dataset, relabel(dataset, model).mean)
    policy = LinearRegression(RegressionConfig(), data.observations.shape[1], data.actions.shape[1])
    policy.standardizer.fit(data.observations)
    training = OfflineTrainingConfig(updates=400, log_every=200, checkpoint_every=200)
    train_offline(policy, data, training, Path("runs/train/linear"))
    robot = "robopref_example:example/Rail-v0"
    print("return", evaluate(policy, robot, {}, episodes=10, seed=0).summary["return"])
    lever = Lever()
    lever.position = 0.5
    env, learner = make_env(robot), new_policy(RLPDConfig(hidden=[8, 8]), 4, 1, seed=0)
    actor = Actor(env, learner, 1, lever, StepLog(Path("mine.steps"), 4, 1), ActingConfig())
    print("played", actor.play())
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a program where the package is installed, and gives what it prints."""
    folder = tmp_path_factory.mktemp("own")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", folder / "parts", EXAMPLE], check=True)
    known = [str(folder / "parts"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(known)}

    def program(*command: str) -> str:
        path = Path(sys.executable).parent / command[0]
        done = subprocess.run(
            [path, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    program.folder = folder
    return program


def test_every_part_works(run):
    run("robopref", *"collect env=robopref_example:example/Rail-v0 mix=expert +mix.shares.random=1"
        " episodes=40 workers=1 output=rail.hdf5".split())  # fmt: skip
    run("robopref", *"label dataset=rail.hdf5 pairs=200 output=rail.parquet".split())
    told = run("robopref", *"train-reward dataset=rail.hdf5 preferences=rail.parquet reward=linear"
               " reward.ridge=0.01 name=rail".split())  # fmt: skip
    assert "linear from 200 pairs" in told
    metrics = json.loads((run.folder / "runs/train-reward/rail/metrics.json").read_text())
    assert metrics["return_spearman"] > 0.8
    run("robopref", *"train dataset=rail.hdf5 rewards=runs/train-reward/rail/reward"
        " training.updates=100 evaluation.episodes=2 iql.hidden=[16]".split())  # fmt: skip
    (run.folder / "parts_at_work.py").write_text(FROM_PYTHON)
    told = run("python", "parts_at_work.py")
    assert float(told.split()[1]) > -20.0  # at random it is about -30
    assert "played" in told
    steps = (run.folder / "mine.steps").stat().st_size
    assert steps > 0


def test_a_package_that_cannot_be_imported_is_named(run):
    broken = run.folder / "parts" / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[robopref.rewards]\nbad = nowhere_to_be_found:X\n")
    with pytest.raises(AssertionError, match=r"reward bad: nowhere_to_be_found:X cannot be impor"):
        run("robopref", "train-reward", "dataset=rail.hdf5", "preferences=rail.parquet")

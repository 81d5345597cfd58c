"""Actor and learner as real processes that are killed and started again."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robopref.cli.main import main
from robopref.data.robomimic import load_dataset
from robopref.hil.log import StepLog
from robopref.preferences.dataset import load_preferences

ENV = "env=toy/point-mass-v0"
SMALL = ["rlpd.hidden=[16]", "learning.batch_size=16", "evaluation.episodes=4", "device=cpu"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    with (folder / f"{arguments[0]}.log").open("a") as output:
        return subprocess.Popen(
            [sys.executable, "-c", "import sys; from robopref.cli.main import main; "
             "sys.exit(main())", "hil", *arguments],
            cwd=folder, stdout=output, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def stored(folder: Path) -> int:
    path = folder / "runs/hil/arm/steps/robot.steps"
    return StepLog(path, 4, 2, writes=False).last if path.exists() else 0


def wait_for(folder: Path, steps: int, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while stored(folder) < steps:
        assert time.monotonic() < end, (folder / "learner.log").read_text()[-2000:]
        time.sleep(0.1)


def test_a_session_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = [ENV, "operator=synthetic", "synthetic.patience=4", "synthetic.hold=4"]
    assert main(["hil", "local", *options, *SMALL, "steps=200", "name=a"]) == 0
    folder = tmp_path / "runs/hil/a"
    dataset = load_dataset(folder / "session.hdf5")
    assert dataset.num_steps >= 200
    assert dataset.interventions is not None
    assert dataset.interventions.any()
    labels = load_preferences(folder / "corrections.parquet")
    assert (labels.first_dataset == dataset.fingerprint).all()
    assert main(["hil", "local", f"resume={folder}", "steps=260"]) == 0
    assert load_dataset(folder / "session.hdf5").num_steps >= 260
    reward = ["train-reward", f"dataset={folder}/session.hdf5", "reward.epochs=2", "name=r"]
    assert main([*reward, f"preferences={folder}/corrections.parquet"]) == 0


def test_a_session_through_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen = [ENV, "cameras=[top]", "image_size=16", "operator=synthetic", "synthetic.patience=4"]
    assert main(["hil", "record", *seen, "synthetic.delay=0", "episodes=1", "name=d"]) == 0
    shown = "dataset=runs/hil-record/d/demonstrations.hdf5"
    assert main(["hil", "local", *seen, *SMALL, shown, "steps=120", "name=a"]) == 0
    dataset = load_dataset(tmp_path / "runs/hil/a/session.hdf5", images=True)
    pictures = dataset.observations["top_image"]
    assert pictures.shape == (dataset.num_steps + len(dataset), 16, 16, 3)
    # The point, in red, moves with the position.
    red = pictures[..., 0].astype(int) - pictures[..., 1] > 100
    assert red.any(axis=(1, 2)).mean() > 0.8  # it may leave the picture
    recorded = "dataset=runs/hil/a/session.hdf5"
    assert main(["evaluate", "policy=runs/hil/a/policy", recorded, "episodes=1", "name=e"]) == 0
    assert main(["hil", "local", f"resume={tmp_path}/runs/hil/a", "steps=140"]) == 0


def test_demonstrations_are_recorded_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    person = ["operator=synthetic", "synthetic.patience=1", "synthetic.delay=0"]
    assert main(["hil", "record", ENV, *person, "episodes=2", "name=d"]) == 0
    folder = tmp_path / "runs/hil-record/d"
    assert main(["hil", "record", f"resume={folder}", "episodes=3"]) == 0
    found = load_dataset(folder / "demonstrations.hdf5")
    assert len(found) == 3 and found.interventions is not None
    assert found.terminated.sum() == found.success.sum() == 3
    still = ~found.interventions
    assert not found.actions[still].any() and found.actions[~still].any()
    assert load_dataset(folder / "session.hdf5").num_steps >= found.num_steps
    start = [ENV, f"dataset={folder}/demonstrations.hdf5", *SMALL, "steps=40", "name=a"]
    assert main(["hil", "local", *start]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "hil fly: no such part; choose from local, learner, actor, record, robot"),
        (["record", ENV], "operator=none: somebody has to drive"),
        (
            ["local", "env=metaworld/reach-v3", "operator=browser", "browser.address=0.0.0.0:1"],
            "others can reach it",
        ),
        (["record", "env=metaworld/reach-v3", "operator=gamepad"], "none is connected"),
        (["local", ENV, "operator=hand"], "operator=hand: no such operator"),
        (["local", ENV, "acting.swap=never"], "choose step or episode"),
        (["local", ENV, "operator=keyboard"], "at least 4 dimensions"),
        (["learner", ENV, "link.address=0.0.0.0:1"], "others can reach it"),
        (["local", ENV, "learning.updates_per_step=0"], "need a learner of their own"),
        (["robot", ENV], "does not start without the box"),
        (["stop", "link.address=127.0.0.1:9"], "127.0.0.1:9"),
        (["local", ENV, "robot.address=127.0.0.1:9"], "no robot answers"),
    ],
)
def test_wrong_options_are_told(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["hil", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_kills_of_both_lose_and_double_no_step(tmp_path: Path) -> None:
    link = f"link.address=127.0.0.1:{free_port()}"
    actor = ["actor", ENV, link, "operator=synthetic", "steps=0", "acting.rate_hz=200"]
    begin = ["learner", ENV, link, "steps=0", "name=arm", *SMALL]
    again = ["learner", "resume=runs/hil/arm"]
    learner, robot = started(tmp_path, *begin), started(tmp_path, *actor)
    try:
        wait_for(tmp_path, 50)
        for number in range(4):
            acknowledged = stored(tmp_path)
            if number % 2:
                robot.kill()
                robot.wait()
                robot = started(tmp_path, *actor)
            else:
                learner.kill()
                learner.wait()
                learner = started(tmp_path, *again)
            assert stored(tmp_path) >= acknowledged
            wait_for(tmp_path, acknowledged + 100)
        robot.send_signal(signal.SIGTERM)
        assert robot.wait(40) == 0, (tmp_path / "actor.log").read_text()[-2000:]
        learner.send_signal(signal.SIGTERM)
        assert learner.wait(60) == 0, (tmp_path / "learner.log").read_text()[-2000:]
    finally:
        robot.kill()
        learner.kill()
    spool = StepLog(tmp_path / "runs/hil/robot-actor/robot.steps", 4, 2, writes=False).all()
    kept = StepLog(tmp_path / "runs/hil/arm/steps/robot.steps", 4, 2, writes=False).all()
    assert spool is not None
    assert kept is not None
    np.testing.assert_array_equal(kept.sequence, np.arange(1, len(spool) + 1))
    np.testing.assert_array_equal(kept.observations, spool.observations)
    np.testing.assert_array_equal(kept.actions, spool.actions)
    told = re.findall(r"(\d+) steps, (\d+) of them with the learner",
                      (tmp_path / "actor.log").read_text())  # fmt: skip
    assert told[-1] == (str(len(spool)), str(len(spool)))
    assert load_dataset(tmp_path / "runs/hil/arm/session.hdf5").num_steps == len(spool)

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from robopref.errors import InputError
from robopref.policies.base import Policy
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import load_policy, make_policy
from robopref.structures import TransitionBatch
from robopref.training.checkpoint import checkpoints
from robopref.training.logger import read_metrics
from robopref.training.offline import OfflineTrainingConfig, train_offline


def data() -> TransitionBatch:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return TransitionBatch(
        normal(500, 3), normal(500, 2).tanh(), normal(500), normal(500, 3), torch.zeros(500)
    )


def config(updates: int = 60) -> OfflineTrainingConfig:
    return OfflineTrainingConfig(updates, batch_size=16, seed=1, log_every=10, checkpoint_every=20)


def policy(learning_rate: float = 3e-4) -> Policy:
    return make_policy(IQLConfig(hidden=[16, 16], learning_rate=learning_rate), data(), seed=0)


def losses(run_dir: Path) -> list[tuple[float, float]]:
    return [(line["step"], line["critic_loss"]) for line in read_metrics(run_dir)]


def assert_same_weights(first: Policy, second: Policy) -> None:
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_run_folder(tmp_path: Path) -> None:
    seen: list[int] = []
    trained = policy()
    last = train_offline(
        trained, data(), config(), tmp_path, lambda step, metrics: seen.append(step)
    )
    assert seen == [10, 20, 30, 40, 50, 60]
    lines = read_metrics(tmp_path)
    assert lines[-1] == {"step": 60, **last}
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["00000040", "00000060"]
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert_same_weights(load_policy(tmp_path / "checkpoints" / "00000060"), trained)


def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = policy()
    train_offline(whole, data(), config(), tmp_path / "whole")
    train_offline(policy(), data(), config(20), tmp_path / "parts")
    resumed = policy()
    train_offline(resumed, data(), config(), tmp_path / "parts")
    assert_same_weights(whole, resumed)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_offline import config, data, policy, train_offline

def kill(step, metrics):
    if step == 50:  # after the checkpoint of 40, with lines written beyond it
        os.kill(os.getpid(), signal.SIGKILL)

train_offline(policy(), data(), config(), Path({run!r}), kill)
"""


def test_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    script = SCRIPT.format(folder=str(Path(__file__).parent), run=str(tmp_path / "killed"))
    process = subprocess.run([sys.executable, "-c", script], check=False)
    assert process.returncode == -signal.SIGKILL
    assert [step for step, _ in losses(tmp_path / "killed")] == [10, 20, 30, 40, 50]
    # what a kill amid writing would leave behind
    (tmp_path / "killed" / "checkpoints" / ".00000060.1").mkdir()
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "crit')
    resumed, whole = policy(), policy()
    train_offline(resumed, data(), config(), tmp_path / "killed")
    train_offline(whole, data(), config(), tmp_path / "whole")
    assert_same_weights(whole, resumed)
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")


def test_finished_run_is_not_repeated(tmp_path: Path) -> None:
    first, again = policy(), policy()
    train_offline(first, data(), config(), tmp_path)
    start = time.monotonic()
    metrics = train_offline(again, data(), config(), tmp_path)
    assert time.monotonic() - start < 5.0
    assert_same_weights(first, again)
    assert metrics["critic_loss"] == losses(tmp_path)[-1][1]


def test_other_settings_do_not_resume(tmp_path: Path) -> None:
    train_offline(policy(), data(), config(), tmp_path)
    with pytest.raises(InputError, match="was made with policy="):
        train_offline(policy(learning_rate=1e-2), data(), config(), tmp_path)


def test_nan_in_data_is_named(tmp_path: Path) -> None:
    spoilt = data()
    spoilt.rewards[7] = float("nan")
    with pytest.raises(InputError, match=r"transitions.rewards: NaN or infinity, first at row 7"):
        train_offline(policy(), spoilt, config(), tmp_path)


def test_divergence_is_named_and_not_saved(tmp_path: Path) -> None:
    wild = data()
    wild.rewards[:] = 1e30
    with pytest.raises(InputError, match=r"training diverged: .* between updates 0 and 10"):
        train_offline(policy(), wild, config(), tmp_path)
    assert checkpoints(tmp_path / "checkpoints") == []


def test_config_names_what_is_wrong() -> None:
    with pytest.raises(InputError, match="multiple of log_every"):
        OfflineTrainingConfig(log_every=500, checkpoint_every=750)
    with pytest.raises(InputError, match=r"training\.updates"):
        OfflineTrainingConfig(updates=0)

"""Arms of a comparison run in processes of their own, and only where something is left to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robopref.data.collect import collect
from robopref.errors import InputError
from robopref.policies.iql import IQLConfig
from robopref.training.arms import ArmRun, make_run, run_arms
from robopref.training.evaluated import RESULT_FILE, EvaluationConfig, load_result
from robopref.training.offline import OfflineTrainingConfig


@pytest.fixture
def run(tmp_path) -> ArmRun:
    """The zero-reward control on the toy task."""
    path = tmp_path / "toy.hdf5"
    mix = {"shares": {"expert": 1.0}, "noise": 0.1}
    collect("toy/point-mass-v0", {}, mix, 4, 0, path, workers=1)
    return ArmRun(
        arm="zero_reward",
        folder=tmp_path / "zero_reward",
        dataset=path,
        preferences=None,
        reward=None,
        policy=IQLConfig(hidden=[8]),
        training=OfflineTrainingConfig(20, 16, log_every=10, checkpoint_every=10),
        evaluation=EvaluationConfig(episodes=2, episodes_on_the_way=0),
        env_id="toy/point-mass-v0",
        env_kwargs={},
    )


def test_processes_make_what_this_process_makes(run, tmp_path):
    here = replace(run, folder=tmp_path / "here")
    make_run(here)
    seen: list[int] = []
    assert (run.done, run.updates_done) == (False, 0)
    run_arms([run, here], workers=2, on_look=lambda: seen.append(run.updates_done))
    assert (run.done, run.updates_done) == (True, 20)
    assert seen[-1] == 20
    results = [load_result(one.folder / RESULT_FILE).returns for one in (run, here)]
    np.testing.assert_array_equal(*results)


def test_what_is_done_is_not_done_again(run):
    make_run(run)
    before = (run.folder / RESULT_FILE).stat().st_mtime_ns
    run_arms([run])
    assert (run.folder / RESULT_FILE).stat().st_mtime_ns == before


def test_wrong_input_of_a_process_is_told(run):
    with pytest.raises(InputError, match="none.hdf5: no such file"):
        run_arms([replace(run, dataset=run.dataset.with_name("none.hdf5"))])

"""Training with evaluations on the way, on a task whose best policy is known."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from robopref.data.collect import collect
from robopref.data.robomimic import load_dataset
from robopref.data.transitions import transitions
from robopref.errors import InputError
from robopref.policies.behavior_cloning import BehaviorCloningConfig
from robopref.policies.registry import load_policy, make_policy
from robopref.training.evaluated import (
    CURVE_FOLDER,
    POLICY_FOLDER,
    RESULT_FILE,
    EvaluationConfig,
    load_result,
    train_and_evaluate,
)
from robopref.training.evaluations import WAITING, Evaluations
from robopref.training.logger import read_metrics
from robopref.training.offline import OfflineTrainingConfig

ENV = "toy/point-mass-v0"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "toy.hdf5"
    collect(ENV, {}, {"shares": {"expert": 1.0}, "noise": 0.1}, 40, 0, path, workers=1)
    return transitions(load_dataset(path))


def learn(data, folder, updates=300, **evaluation):
    config = BehaviorCloningConfig(hidden=[32, 32], learning_rate=3e-3, actor_average_rate=0.02)
    training = OfflineTrainingConfig(updates, 64, log_every=50, checkpoint_every=50)
    plan = EvaluationConfig(**{"episodes": 20, "every": 100, **evaluation})
    return train_and_evaluate(make_policy(config, data, 0), data, training, plan, ENV, {}, folder)


def test_the_policy_learns_and_the_folder_shows_it(data, tmp_path):
    metrics = learn(data, tmp_path)
    assert "actor_loss" in metrics
    result = load_result(tmp_path / RESULT_FILE)
    assert result.success_last.mean() > 0.8
    assert result.returns.shape == (20,)
    curve = read_metrics(tmp_path / CURVE_FOLDER)
    assert [line["step"] for line in curve] == [100, 200]
    assert load_policy(tmp_path / POLICY_FOLDER).observation_dim == 4


def test_a_broken_off_run_ends_like_an_uninterrupted_one(data, tmp_path):
    learn(data, tmp_path / "whole")
    learn(data, tmp_path / "parts", updates=150)
    shutil.rmtree(tmp_path / "parts" / POLICY_FOLDER)
    learn(data, tmp_path / "parts")
    learn(data, tmp_path / "parts")  # once more changes nothing
    whole, parts = (load_policy(tmp_path / name / POLICY_FOLDER) for name in ("whole", "parts"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    curves = [read_metrics(tmp_path / name / CURVE_FOLDER) for name in ("whole", "parts")]
    assert curves[0] == curves[1]
    results = [load_result(tmp_path / name / RESULT_FILE) for name in ("whole", "parts")]
    np.testing.assert_array_equal(results[0].returns, results[1].returns)


def test_a_process_of_its_own_changes_nothing(data, tmp_path):
    for name, beside in (("beside", True), ("within", False)):
        learn(data, tmp_path / name, beside=beside)
    beside, within = (read_metrics(tmp_path / name / CURVE_FOLDER) for name in ("beside", "within"))
    assert beside == within and len(beside) == 2
    assert not list((tmp_path / "beside" / CURVE_FOLDER / WAITING).iterdir())


PLAYED = {"env_id": ENV, "env_kwargs": {}, "episodes": 3, "seed": 0}


def test_a_kill_loses_no_evaluation(data, tmp_path):
    config = BehaviorCloningConfig(hidden=[8])
    policy = make_policy(config, data, 0)
    arguments = (PLAYED, True)
    with pytest.raises(KeyboardInterrupt), Evaluations(tmp_path, 0, *arguments) as evaluations:
        for step in (100, 200, 300):
            evaluations.look(policy, step)
        raise KeyboardInterrupt
    with Evaluations(tmp_path, 200, *arguments) as evaluations:  # the checkpoint is of step 200
        evaluations.look(policy, 200)  # asked before
        evaluations.look(policy, 300)  # dropped, as later than the checkpoint
    assert [line["step"] for line in read_metrics(tmp_path)] == [100, 200, 300]


def test_an_environment_that_the_process_does_not_know(data, tmp_path):
    policy = make_policy(BehaviorCloningConfig(hidden=[8]), data, 0)
    with (
        pytest.raises(InputError, match="evaluation.beside=false"),
        Evaluations(tmp_path, 0, {**PLAYED, "env_id": "mine/task-v0"}, True) as evaluations,
    ):
        evaluations.look(policy, 100)


def test_no_episodes_need_no_environment(data, tmp_path):
    learn(data, tmp_path, updates=50, episodes=0)
    assert not (tmp_path / RESULT_FILE).exists()
    assert (tmp_path / POLICY_FOLDER).is_dir()


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match="evaluation.every=0: must be at least 1"):
        EvaluationConfig(every=0)

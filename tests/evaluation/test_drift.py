from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robopref.data.collect import collect, record_episode
from robopref.data.robomimic import append_trajectories, load_dataset
from robopref.environments import make_env
from robopref.errors import InputError
from robopref.evaluation.drift import replay, replay_file

MIX = {"shares": {"expert": 1.0}, "noise": 0.1}


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "toy.hdf5"
    collect("toy/point-mass-v0", {"horizon": 30}, MIX, episodes=3, seed=0, path=path, workers=1)
    return path


def changed(path, tmp_path, **arrays):
    """The same file with arrays of its episodes changed by functions."""
    dataset = load_dataset(path, states=True)
    other = tmp_path / "changed.hdf5"
    episodes = [
        replace(
            trajectory,
            **{name: change(getattr(trajectory, name)) for name, change in arrays.items()},
        )
        for trajectory in (dataset[index] for index in range(len(dataset)))
    ]
    append_trajectories(other, episodes, dataset.env_args)
    return other


def test_a_recording_of_this_simulator_is_replayed_exactly(recording):
    replayed = replay_file(recording, episodes=2)
    assert replayed.versions == []
    assert len(replayed.drifts) == 2
    for drift in replayed.drifts:
        assert (drift.steps, drift.key) == (30, "flat")
        assert drift.furthest < 1e-6
        assert drift.success == drift.recorded_success


def test_more_episodes_than_there_are_means_all(recording):
    assert len(replay_file(recording, episodes=99).drifts) == 3


def test_other_actions_lead_away_and_say_how_far(recording, tmp_path):
    path = changed(recording, tmp_path, actions=lambda actions: np.zeros_like(actions))
    dataset = load_dataset(recording, states=True)
    (drift, *_) = replay_file(path, episodes=1).drifts
    walked = np.abs(dataset[0].observations["flat"] - dataset[0].observations["flat"][0]).max()
    assert drift.furthest == pytest.approx(walked, abs=1e-6)
    assert drift.first == 0.0
    assert drift.recorded_success and not drift.success


def test_another_start_is_seen_before_any_action(recording, tmp_path):
    path = changed(recording, tmp_path, states=lambda states: states * 0.5)
    assert replay_file(path, episodes=1).drifts[0].first > 0.01


def test_a_file_without_states_says_so(recording, tmp_path):
    path = changed(recording, tmp_path, states=lambda _: None)
    with pytest.raises(InputError, match="has no simulator states"):
        replay_file(path, episodes=1)


@pytest.mark.sim
def test_meta_world_is_replayed_exactly():
    env = make_env("metaworld/drawer-open-v3", horizon=15)
    act = env.unwrapped.demonstrator(MIX, np.random.default_rng(0)).act
    trajectory = record_episode(env, act, seed=3)
    env.reset(seed=4)
    assert replay(env.unwrapped, trajectory).furthest == 0.0
    env.close()

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError

LENGTHS = (3, 1, 5)


@pytest.fixture
def trajectories(make_trajectory):
    return [make_trajectory(length) for length in LENGTHS]


@pytest.fixture
def dataset(trajectories):
    return TrajectoryDataset.from_trajectories(trajectories, {"env_name": "x"}, "here")


def test_packing_keeps_every_episode(dataset, trajectories):
    assert len(dataset) == 3
    assert dataset.num_steps == 9
    assert dataset.offsets.tolist() == [0, 3, 4, 9]
    for episode, given in zip(dataset, trajectories, strict=True):
        for name, values in given.observations.items():
            assert np.array_equal(episode.observations[name], values)
        for name in ("actions", "rewards", "terminated", "truncated", "success", "states"):
            assert np.array_equal(getattr(episode, name), getattr(given, name))
        assert np.array_equal(episode.factors["distance"], given.factors["distance"])
        assert (episode.behaviour, episode.seed) == ("expert", 7)
    assert all(values.flags.c_contiguous for values in dataset.observations.values())


def test_next_observation_is_the_row_after(dataset, trajectories):
    rows = dataset.observation_rows
    assert rows.tolist() == [0, 1, 2, 4, 6, 7, 8, 9, 10]
    following = np.concatenate([given.observations["flat"][1:] for given in trajectories])
    assert np.array_equal(dataset.observations["flat"][rows + 1], following)


def test_flat_observations_are_side_by_side_in_order_of_keys(dataset):
    assert dataset.flat_observations.shape == (12, 5)
    assert np.array_equal(dataset.flat_observations[:, :3], dataset.observations["flat"])
    assert np.array_equal(dataset.flat_observations[:, 3:], dataset.observations["goal"])


def test_images_stay_out_of_the_flat_observations(make_trajectory):
    images = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    mixed = make_trajectory(2, observations={"image": images, "low": np.ones((3, 2))})
    assert TrajectoryDataset.from_trajectories([mixed]).flat_observations.shape == (3, 2)
    only = TrajectoryDataset.from_trajectories([make_trajectory(2, observations={"image": images})])
    assert only.observations["image"].dtype == np.uint8
    with pytest.raises(InputError, match="has images only"):
        _ = only.flat_observations


def test_returns_and_success_per_episode(make_trajectory):
    first = make_trajectory(2, rewards=np.array([1.0, 2.0]), success=np.array([True, False]))
    second = make_trajectory(1, rewards=np.array([-4.0]), success=np.array([False]))
    dataset = TrajectoryDataset.from_trajectories([first, second])
    assert dataset.returns.tolist() == [3.0, -4.0]
    assert dataset.episode_success.tolist() == [True, False]


def test_subset_holds_the_chosen_episodes_in_order(dataset, trajectories):
    part = dataset.subset([2, 0])
    assert part.lengths.tolist() == [5, 3]
    assert np.array_equal(part[0].actions, trajectories[2].actions)
    assert part.env_args == dataset.env_args


def test_fingerprint_knows_what_was_seen_and_done(dataset, trajectories):
    again = TrajectoryDataset.from_trajectories(trajectories)
    assert again.fingerprint == dataset.fingerprint
    assert dataset.subset([0, 2, 1]).fingerprint != dataset.fingerprint
    changed = dataset.actions.copy()
    changed[4, 1] += 1e-3
    assert replace(dataset, actions=changed).fingerprint != dataset.fingerprint
    seen = {**dataset.observations, "flat": dataset.observations["flat"] + 1}
    assert replace(dataset, observations=seen).fingerprint != dataset.fingerprint


def test_fingerprint_survives_relabelling_and_dropping_states(dataset):
    relabelled = replace(dataset, rewards=dataset.rewards + 1, states=None)
    assert relabelled.fingerprint == dataset.fingerprint


def test_fingerprint_depends_on_where_episodes_end(make_trajectory):
    whole = make_trajectory(4, observations={"flat": np.zeros((5, 1))}, actions=np.zeros((4, 1)))
    half = make_trajectory(2, observations={"flat": np.zeros((3, 1))}, actions=np.zeros((2, 1)))
    one = TrajectoryDataset.from_trajectories([whole])
    two = TrajectoryDataset.from_trajectories([half, half])
    assert one.fingerprint != two.fingerprint


def test_episodes_that_do_not_fit_together_are_refused(make_trajectory):
    other = make_trajectory(2, actions=np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(InputError, match="differ in keys or shapes"):
        TrajectoryDataset.from_trajectories([make_trajectory(2), other])
    with pytest.raises(InputError, match="holds no episode"):
        TrajectoryDataset.from_trajectories([])
    dataset = TrajectoryDataset.from_trajectories([make_trajectory(2)])
    with pytest.raises(InputError, match="do not fit"):
        replace(dataset, actions=np.zeros((3, 2), dtype=np.float32))

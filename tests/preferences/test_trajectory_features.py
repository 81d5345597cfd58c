"""Places of hand, object and goal that are no part of the observations."""

from __future__ import annotations

import numpy as np
import pytest

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.trajectory_features import progress_features
from robopref.structures import Segments

STEPS = 10


def lifted(make_trajectory, **entities) -> TrajectoryDataset:
    """The object falls 5 cm in the first step, lies, and is lifted by 10 cm from step 5 to 9."""
    height = np.array([0.05, *[0.0] * 5, 0.025, 0.05, 0.075, 0.1, 0.1])
    thing = np.zeros((STEPS + 1, 3), np.float32)
    thing[:, 2] = height
    hand = thing + np.array([0.0, 0.0, 0.2], np.float32)
    trajectory = make_trajectory(STEPS, observations={"hand": hand, "object": thing})
    places = {"hand": {"key": "hand"}, "object": {"key": "object"}, **entities}
    return TrajectoryDataset.from_trajectories([trajectory], {"entities": places})


def whole() -> Segments:
    return Segments(np.array([0]), np.array([0]), np.array([STEPS]))


def last(features, name) -> float:
    return float(features[name][0, 2])


def test_a_goal_above_the_object_is_reached_by_lifting(make_trajectory):
    dataset = lifted(
        make_trajectory,
        object={"key": "object", "settled": 1},
        goal={"offset": [0.0, 0.0, 0.1]},
    )
    features = progress_features(dataset, whole())
    assert last(features, "place") == pytest.approx(1.0)
    assert features["place"][0, 1] == pytest.approx(1.0)
    assert last(features, "move") == pytest.approx(1.0)


def test_a_fixed_goal_is_where_it_is_said_to_be(make_trajectory):
    dataset = lifted(
        make_trajectory,
        object={"key": "object", "settled": 1},
        goal={"position": [0.0, 0.0, 0.2]},
    )
    assert last(progress_features(dataset, whole()), "place") == pytest.approx(0.5)


def test_a_fall_at_the_start_is_no_motion_of_the_robots(make_trajectory):
    segment = Segments(np.array([0]), np.array([1]), np.array([4]))
    still = lifted(make_trajectory, object={"key": "object", "settled": 1})
    assert last(progress_features(still, segment), "move") == pytest.approx(0.0)
    fallen = lifted(make_trajectory)
    assert last(progress_features(fallen, segment), "move") == pytest.approx(0.5)


@pytest.mark.parametrize("numbers", [[0.0, 0.1], "high", [0.0, 0.0, float("nan")]])
def test_a_wrong_place_is_named(make_trajectory, numbers):
    dataset = lifted(make_trajectory, goal={"position": numbers})
    with pytest.raises(InputError, match="entity 'goal' needs three numbers in metres"):
        progress_features(dataset, whole())

import numpy as np
import pytest

from robopref.data.dataset import TrajectoryDataset
from robopref.data.transitions import transitions
from robopref.errors import InputError
from robopref.structures import Trajectory


def episode(length: int, first: float, terminated: bool) -> Trajectory:
    last = np.arange(length) == length - 1
    return Trajectory(
        observations={"flat": first + np.arange(length + 1, dtype=np.float32)[:, None]},
        actions=np.zeros((length, 2), dtype=np.float32),
        rewards=np.arange(length, dtype=np.float32),
        terminated=last & terminated,
        truncated=last & (not terminated),
        success=last,
    )


def dataset(terminated: bool = True) -> TrajectoryDataset:
    return TrajectoryDataset.from_trajectories(
        [episode(3, 0.0, False), episode(2, 10.0, terminated)]
    )


def test_next_observations_stay_in_the_episode() -> None:
    batch = transitions(dataset())
    assert batch.observations[:, 0].tolist() == [0, 1, 2, 10, 11]
    assert batch.next_observations[:, 0].tolist() == [1, 2, 3, 11, 12]
    assert batch.terminated.tolist() == [0, 0, 0, 0, 1]  # truncated steps bootstrap


def test_rewards_are_standardised_and_keep_their_offset_where_episodes_terminate() -> None:
    root_mean_square = (6 / 5) ** 0.5
    np.testing.assert_allclose(
        transitions(dataset()).rewards, np.array([0, 1, 2, 0, 1]) / root_mean_square, rtol=1e-6
    )
    centred = np.array([0, 1, 2, 0, 1]) - 0.8
    np.testing.assert_allclose(
        transitions(dataset(terminated=False)).rewards, centred / centred.std(), rtol=1e-6
    )


def test_other_rewards() -> None:
    rewards = transitions(dataset(terminated=False), np.arange(5.0)).rewards
    np.testing.assert_allclose(rewards, np.arange(-2.0, 3.0) / 2**0.5, rtol=1e-6)
    with pytest.raises(InputError, match=r"must be \(5,\) finite"):
        transitions(dataset(), np.arange(4.0))
    with pytest.raises(InputError, match="1 that are not"):
        transitions(dataset(), np.array([0.0, 1.0, np.nan, 0.0, 0.0]))

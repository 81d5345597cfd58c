from __future__ import annotations

import numpy as np
import pytest
import torch

from robopref.errors import InputError
from robopref.structures import PreferenceBatch, SegmentBatch, Segments, TransitionBatch


def test_length_and_return(make_trajectory):
    trajectory = make_trajectory(3, rewards=np.array([1.0, 2.0, 4.0], dtype=np.float32))
    assert len(trajectory) == 3
    assert trajectory.episode_return == 7.0


def test_return_of_many_small_rewards_keeps_its_digits(make_trajectory):
    rewards = np.full(100_000, 0.1, dtype=np.float32)
    assert make_trajectory(100_000, rewards=rewards).episode_return == pytest.approx(
        100_000 * float(np.float32(0.1)), rel=1e-12
    )


@pytest.mark.parametrize("name", ["rewards", "terminated", "truncated", "success", "interventions"])
def test_wrong_length_names_the_array_and_both_lengths(make_trajectory, name):
    with pytest.raises(InputError, match=rf"^{name} has 4 rows .*3 actions need 3"):
        make_trajectory(3, **{name: np.zeros(4)})


def test_observations_and_states_need_one_row_more(make_trajectory):
    with pytest.raises(InputError, match=r"observations\['flat'\] has 3 rows .* need 4"):
        make_trajectory(3, observations={"flat": np.zeros((3, 2))})
    with pytest.raises(InputError, match="states has 3 rows"):
        make_trajectory(3, states=np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"factors\['x'\] has 4 rows"):
        make_trajectory(3, factors={"x": np.zeros(4)})


def test_empty_trajectories_are_refused(make_trajectory):
    with pytest.raises(InputError, match="T > 0"):
        make_trajectory(1, actions=np.zeros((0, 2)))
    with pytest.raises(InputError, match="at least one named observation"):
        make_trajectory(1, observations={})


def test_segments_are_indexed_together():
    segments = Segments(np.array([0, 1, 2]), np.array([5, 6, 7]), np.array([10, 10, 9]))
    chosen = segments[np.array([2, 0])]
    assert chosen.episodes.tolist() == [2, 0]
    assert chosen.starts.tolist() == [7, 5]
    assert chosen.lengths.tolist() == [9, 10]
    with pytest.raises(InputError, match="must be equally many"):
        Segments(np.array([0]), np.array([5, 6]), np.array([10]))


def segment_batch(size: int) -> SegmentBatch:
    return SegmentBatch(torch.rand(size, 4, 3), torch.rand(size, 4, 2), torch.ones(size, 4))


def test_batches_are_indexed_together():
    batch = PreferenceBatch(
        segment_batch(5), segment_batch(5), torch.linspace(0, 1, 5), torch.ones(5)
    )
    part = batch[torch.tensor([4, 0])]
    assert len(part) == 2
    assert part.labels.tolist() == [1.0, 0.0]
    assert torch.equal(part.second.actions[0], batch.second.actions[4])


def test_batches_of_unequal_size_are_refused():
    with pytest.raises(InputError, match=r"differ in \(B, T\)"):
        SegmentBatch(torch.zeros(2, 4, 3), torch.zeros(2, 5, 2), torch.ones(2, 4))
    with pytest.raises(InputError, match="differ in B"):
        TransitionBatch(
            torch.zeros(2, 3), torch.zeros(2, 1), torch.zeros(3), torch.zeros(2, 3), torch.zeros(3)
        )


def test_transitions_are_indexed_and_moved():
    batch = TransitionBatch(
        torch.arange(6.0).reshape(3, 2),
        torch.zeros(3, 1),
        torch.arange(3.0),
        torch.ones(3, 2),
        torch.tensor([0.0, 0.0, 1.0]),
    )
    part = batch[torch.tensor([2])].to("cpu")
    assert part.observations.tolist() == [[4.0, 5.0]]
    assert part.terminated.tolist() == [1.0]

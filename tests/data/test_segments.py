import numpy as np
import pytest
import torch

from robopref.data.segments import (
    all_segments,
    check_segments,
    gather,
    sample_segments,
    whole_episodes,
)
from robopref.errors import InputError
from robopref.structures import Segments
from tests.preferences.small_data import dataset_of

DATASET = dataset_of([[1, 2, 3, 4], [5, 6], [7, 8, 9]])


def segments(*rows: tuple[int, int, int]) -> Segments:
    return Segments(*np.array(rows, dtype=np.int64).T)


def test_all_segments_lists_every_valid_start() -> None:
    found = all_segments(DATASET, 3)
    assert found.episodes.tolist() == [0, 0, 2]
    assert found.starts.tolist() == [0, 1, 0]
    assert found.lengths.tolist() == [3, 3, 3]


def test_all_segments_of_chosen_episodes() -> None:
    found = all_segments(DATASET, 2, np.array([1, 2]))
    assert list(zip(found.episodes, found.starts, strict=True)) == [(1, 0), (2, 0), (2, 1)]


def test_too_long_segments_name_the_longest_episode() -> None:
    with pytest.raises(InputError, match=r"segment_length=9: the longest episode .* has 4 steps"):
        all_segments(DATASET, 9)


def test_sampling_is_uniform_over_valid_starts_and_repeatable() -> None:
    draw = [sample_segments(DATASET, 6000, 2, np.random.default_rng(1)) for _ in range(2)]
    assert np.array_equal(draw[0].starts, draw[1].starts)
    keys = draw[0].episodes * 10 + draw[0].starts
    _, counts = np.unique(keys, return_counts=True)
    assert len(counts) == 6  # 3 + 1 + 2 valid starts
    assert np.abs(counts / 1000 - 1).max() < 0.12


def test_gather_returns_the_right_steps_and_zeros_beyond() -> None:
    batch = gather(DATASET, segments((0, 1, 3), (1, 0, 2), (2, 2, 1)))
    # The first observation feature is the reward of the step.
    expected = torch.tensor([[2.0, 3.0, 4.0], [5.0, 6.0, 0.0], [9.0, 0.0, 0.0]])
    torch.testing.assert_close(batch.observations[..., 0], expected)
    torch.testing.assert_close(batch.mask, (expected > 0).float())
    assert batch.actions.shape == (3, 3, 2)
    np.testing.assert_array_equal(batch.actions[1, :2], DATASET[1].actions)
    assert not batch.actions[2, 1:].any()


def test_whole_episodes() -> None:
    assert whole_episodes(DATASET).lengths.tolist() == [4, 2, 3]
    assert whole_episodes(DATASET, np.array([2])).episodes.tolist() == [2]


@pytest.mark.parametrize("row", [(3, 0, 1), (-1, 0, 1), (0, -1, 2), (0, 3, 2), (0, 0, 0)])
def test_segments_outside_are_refused(row: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match=r"labels: segment 1 .* lies outside the 3 episodes"):
        check_segments(DATASET, segments((0, 0, 1), row), "labels")

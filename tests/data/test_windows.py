import numpy as np
import pytest
import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.data.windows import Windows
from robopref.structures import Trajectory

LENGTHS = (6, 3, 9)


@pytest.fixture
def dataset() -> TrajectoryDataset:
    """The observation and action of a step are its row; that after the last step is -1."""

    def episode(first: int, length: int) -> Trajectory:
        steps = np.arange(first, first + length, dtype=np.float32)[:, None]
        flags = np.zeros(length, dtype=bool)
        return Trajectory(
            {"flat": np.concatenate([steps, [[-1.0]]])},
            steps, steps[:, 0], flags, flags, flags,
        )  # fmt: skip

    firsts = np.cumsum((0, *LENGTHS[:-1]))
    return TrajectoryDataset.from_trajectories(
        [episode(int(first), length) for first, length in zip(firsts, LENGTHS, strict=True)]
    )


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_each_step_is_in_as_many_windows_as_they_have_steps(
    dataset: TrajectoryDataset, steps: int
) -> None:
    windows = Windows(dataset, steps)
    every = windows[torch.arange(len(windows))]
    rows = every.actions[..., 0][every.mask == 1.0].long()
    assert torch.bincount(rows).tolist() == [steps] * sum(LENGTHS)
    torch.testing.assert_close(every.observations, every.actions)  # no -1: none of the last


def test_windows_hold_following_steps_of_one_episode(dataset: TrajectoryDataset) -> None:
    windows = Windows(dataset, 4)
    episode_of = np.repeat(np.arange(3), LENGTHS)
    drawn, episodes = windows.draw(200, torch.Generator().manual_seed(0))
    for actions, mask, episode in zip(drawn.actions, drawn.mask, episodes, strict=True):
        real = int(mask.sum())
        assert mask.tolist() == [1.0] * real + [0.0] * (4 - real)
        rows = actions[:real, 0].long().numpy()
        assert (np.diff(rows) == 1).all()
        assert (episode_of[rows] == int(episode)).all()
    lengths = drawn.mask.sum(1)
    starts = drawn.actions[lengths == 1.0, 0, 0]
    assert set(starts.tolist()) == {0.0, 5.0, 6.0, 8.0, 9.0, 17.0}  # first and last steps


def test_steps_are_spread_over_the_segment(dataset: TrajectoryDataset) -> None:
    windows = Windows(dataset, 4)
    starts, lengths = torch.tensor([9, 6]), torch.tensor([9, 3])
    middle = windows.steps(starts, lengths, 3)
    assert middle.actions[..., 0].tolist() == [[10.0, 13.0, 16.0], [6.0, 7.0, 8.0]]
    short = windows.steps(starts[1:], lengths[1:], 6)
    assert short.actions[0, :, 0].tolist() == [6.0, 6.0, 7.0, 7.0, 8.0, 8.0]
    drawn = [windows.steps(starts, lengths, 3, torch.Generator().manual_seed(s)) for s in range(50)]
    seen = torch.stack([steps.actions[0, :, 0] for steps in drawn])
    assert [set(column.tolist()) for column in seen.T] == [{9, 10, 11}, {12, 13, 14}, {15, 16, 17}]


def test_segments_stay_inside_their_episode(dataset: TrajectoryDataset) -> None:
    windows = Windows(dataset, 4)
    episodes = torch.tensor([0, 1, 2]).repeat(100)
    found = windows.segments(episodes, torch.full((300,), 5), 5, torch.Generator().manual_seed(0))
    episode_of = torch.from_numpy(np.repeat(np.arange(3), LENGTHS))
    assert (episode_of[found.actions[..., 0].long()] == episodes[:, None]).all()
    longest = found.actions[episodes == 2]
    assert set(longest[:, 0, 0].tolist()) == {9.0, 10.0, 11.0, 12.0, 13.0}

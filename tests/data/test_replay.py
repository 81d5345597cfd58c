"""The replay buffer: what may be drawn, and what follows what."""

from pathlib import Path

import numpy as np
import pytest
import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.data.replay import ReplayBuffer
from robopref.errors import InputError
from robopref.structures import Trajectory


def observation(episode: int, step: int) -> np.ndarray:
    return np.array([episode, step], dtype=np.float32)


def play(buffer: ReplayBuffer, episode: int, steps: int, terminated: bool = False) -> None:
    """An episode whose observations say where they stand; reward = 10 episode + step."""
    buffer.add_reset(observation(episode, 0))
    for step in range(steps):
        last = step == steps - 1
        buffer.add_step(
            np.array([step / 100]), 10.0 * episode + step, observation(episode, step + 1),
            terminated and last, success=last,
        )  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def demonstrations(episodes: int = 2, steps: int = 3) -> TrajectoryDataset:
    last = np.arange(steps) == steps - 1
    return TrajectoryDataset.from_trajectories(
        [
            Trajectory(
                observations={"flat": np.stack([observation(-1 - e, t) for t in range(steps + 1)])},
                actions=np.full((steps, 1), 0.5),
                rewards=np.full(steps, -1.0),
                terminated=np.zeros(steps, dtype=bool),
                truncated=last,
                success=last,
            )
            for e in range(episodes)
        ]
    )


@pytest.mark.parametrize("capacity", [2, 7, 30, 500])
def test_knows_its_steps_and_those_of_people(capacity: int, tmp_path: Path) -> None:
    buffer = ReplayBuffer(capacity, 2, 1, demonstrations())
    rng = np.random.default_rng(0)
    for episode in range(30):
        buffer.add_reset(observation(episode, 0))
        for step in range(int(rng.integers(0, 8))):
            following, by_hand = observation(episode, step + 1), bool(rng.random() < 0.3)
            buffer.add_step(np.zeros(1), 0.0, following, False, intervened=by_hand)
            own = buffer.valid.clone()
            own[: buffer.first] = False
            assert len(buffer) == own.sum()
            theirs = (own & buffer.intervened).nonzero()[:, 0]
            assert buffer.demonstrated.tolist() == [
                *buffer.demonstration_rows.tolist(), *theirs.tolist()
            ]  # fmt: skip
    buffer.save(tmp_path)
    other = ReplayBuffer(capacity, 2, 1, demonstrations())
    other.load(tmp_path)
    assert len(other) == len(buffer)
    assert other.demonstrated.tolist() == buffer.demonstrated.tolist()


@pytest.mark.parametrize("capacity", [7, 11, 30, 100])
def test_next_observations_are_of_the_same_episode(capacity: int) -> None:
    """Time limits, cut inserts and the write position: no step reaches across any of them."""
    buffer = ReplayBuffer(capacity, 2, 1, demonstrations())
    rng = np.random.default_rng(capacity)
    for episode in range(20):
        play(buffer, episode, int(rng.integers(0, 6)))  # 0 steps: an insert that broke off
        if len(buffer):
            batch = buffer.sample(200, generator(episode), demonstrations=0.25)
            assert (batch.observations[:, 0] == batch.next_observations[:, 0]).all()
            assert (batch.next_observations[:, 1] - batch.observations[:, 1] == 1).all()
            own = batch.observations[:, 0] >= 0
            assert (batch.demonstrated == (~own).float()).all()
            rewards = 10 * batch.observations[:, 0] + batch.observations[:, 1]
            assert (batch.rewards == rewards)[own].all()
            assert torch.allclose(batch.actions[own, 0], batch.observations[own, 1] / 100)
            assert (batch.rewards[~own] == -1).all() and (~own).sum() == 50
            assert not batch.terminated.any()


def test_the_newest_steps_are_kept() -> None:
    buffer = ReplayBuffer(10, 2, 1)
    for episode in range(5):
        play(buffer, episode, 3)
    # 10 rows: the last 4 + 4 of episodes 3 and 4, and 2 of episode 2, of which 1 is a step.
    assert len(buffer) == 7
    drawn = buffer.sample(500, generator()).observations
    assert {tuple(row) for row in drawn.tolist()} == {
        (2, 2), (3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2)
    }  # fmt: skip


def test_draws_are_uniform() -> None:
    buffer = ReplayBuffer(100, 2, 1)
    play(buffer, 0, 1)
    play(buffer, 1, 9)
    drawn = buffer.sample(50_000, generator()).observations
    share = float((drawn[:, 0] == 0).float().mean())
    assert abs(share - 0.1) < 0.006


def test_n_steps_stop_at_ends() -> None:
    """Rewards 1, 2, 3 (by hand: episode 0 pays 0, 1, 2) over up to three steps, discount 0.5."""
    buffer = ReplayBuffer(100, 2, 1)
    play(buffer, 0, 3)
    play(buffer, 1, 2, terminated=True)
    batch = buffer.sample(400, generator(), discount=0.5, n_step=3)
    seen = {
        (*start, reward, end, done)
        for start, reward, (_, end), done in zip(
            batch.observations.tolist(), batch.rewards.tolist(), batch.next_observations.tolist(),
            batch.terminated.tolist(), strict=True,
        )
    }  # fmt: skip
    assert seen == {
        (0, 0, 0 + 0.5 * 1 + 0.25 * 2, 3, 1 - 0.25),  # three steps: the learner's 0.5 makes 0.125
        (0, 1, 1 + 0.5 * 2, 3, 1 - 0.5),  # cut by the time limit after two: bootstraps
        (0, 2, 2, 3, 0),
        (1, 0, 10 + 0.5 * 11, 2, 1),  # terminated: no value follows
        (1, 1, 11, 2, 1),
    }


def test_episodes_come_back_and_are_relabelled() -> None:
    buffer = ReplayBuffer(12, 2, 1, demonstrations())
    for episode in range(4):
        play(buffer, episode, 4, terminated=episode == 2)
    dataset = buffer.episodes()
    assert dataset.lengths.tolist() == [1, 4, 4]  # 12 rows: 2 + 5 + 5
    assert dataset.rewards.tolist() == [13, 20, 21, 22, 23, 30, 31, 32, 33]
    assert dataset.terminated.tolist() == [False] * 4 + [True] + [False] * 4
    assert dataset.success.sum() == 3
    assert buffer.episodes(newest_steps=5).lengths.tolist() == [4, 4]
    # More than there are: all of them.
    assert len(buffer.episodes(newest_steps=1_000)) == len(dataset)
    buffer.relabel(np.arange(9, dtype=np.float32))
    batch = buffer.sample(300, generator())
    order = {13: 0, 20: 1, 21: 2, 22: 3, 23: 4, 30: 5, 31: 6, 32: 7, 33: 8}
    was = (10 * batch.observations[:, 0] + batch.observations[:, 1]).int().tolist()
    assert batch.rewards.tolist() == [order[reward] for reward in was]
    assert buffer.episodes().rewards.tolist()[0] == 13  # the true ones stay
    prior = buffer.sample(40, generator(), demonstrations=1.0)
    assert (prior.rewards == -1).all()


@pytest.mark.parametrize("episodes", [1, 3, 9])
def test_a_restored_buffer_goes_on_alike(episodes: int, tmp_path: Path) -> None:
    buffers = [ReplayBuffer(15, 2, 1, demonstrations()) for _ in range(2)]
    for episode in range(episodes):
        play(buffers[0], episode, 4)
    buffers[0].save(tmp_path)
    buffers[1].load(tmp_path)
    for buffer in buffers:
        play(buffer, 20, 3)
    first, second = (buffer.sample(64, generator(), demonstrations=0.5) for buffer in buffers)
    for name, values in vars(first).items():
        assert values is None or torch.equal(values, getattr(second, name))


def test_refusals() -> None:
    with pytest.raises(InputError, match="one step takes 2 rows"):
        ReplayBuffer(1, 2, 1)
    with pytest.raises(InputError, match="2 observation and 1 action features, the environment 3"):
        ReplayBuffer(10, 3, 1, demonstrations())
    with pytest.raises(InputError, match="nothing to draw"):
        ReplayBuffer(10, 2, 1).sample(4, generator())
    with pytest.raises(InputError, match="nothing to draw"):
        play(buffer := ReplayBuffer(10, 2, 1), 0, 2)
        buffer.sample(4, generator(), demonstrations=0.5)
    with pytest.raises(InputError, match="no step yet"):
        ReplayBuffer(10, 2, 1).episodes()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    play(buffer := ReplayBuffer(15, 2, 1), 0, 3)
    buffer.save(tmp_path)
    path = tmp_path / "replay.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="damaged"):
        ReplayBuffer(15, 2, 1).load(tmp_path)

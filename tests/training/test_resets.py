"""Episodes that start from recorded states."""

from datetime import UTC, datetime

import numpy as np
import pytest

from robopref.data.dataset import TrajectoryDataset
from robopref.environments import make_env
from robopref.errors import InputError
from robopref.evaluation.rollout import flatten
from robopref.preferences.dataset import Preferences
from robopref.structures import Segments, Trajectory
from robopref.training.resets import DatasetResets, ResetsConfig

HORIZON = 6


def recorded(env_id: str, episodes: int = 2) -> TrajectoryDataset:
    """Random episodes with their states."""
    env = make_env(env_id, horizon=HORIZON)
    rng = np.random.default_rng(0)
    trajectories = []
    for seed in range(episodes):
        observations = [flatten(env.reset(seed=seed)[0])]
        states = [env.unwrapped.get_state()]
        actions = rng.uniform(-1, 1, (HORIZON, env.action_space.shape[0])).astype(np.float32)
        for action in actions:
            observations.append(flatten(env.step(action)[0]))
            states.append(env.unwrapped.get_state())
        flags = np.zeros(HORIZON, dtype=bool)
        trajectories.append(
            Trajectory(
                observations={"flat": np.stack(observations)},
                actions=actions,
                rewards=np.zeros(HORIZON, dtype=np.float32),
                terminated=flags,
                truncated=np.arange(HORIZON) == HORIZON - 1,
                success=flags,
                states=np.stack(states),
            )
        )
    env.close()
    return TrajectoryDataset.from_trajectories(trajectories)


@pytest.mark.parametrize("env_id", ["toy/point-mass-v0", "metaworld/drawer-open-v3"])
def test_goes_on_where_the_recording_was(env_id: str) -> None:
    """From the state before step 2 of episode 1 the same action leads to the same observation."""
    dataset, env = recorded(env_id), make_env(env_id, horizon=HORIZON)
    resets = DatasetResets(ResetsConfig(share=1.0), dataset, env)
    start = HORIZON + 2
    env.reset(seed=9)
    observation = flatten(resets.restore(env, start))
    row = dataset.observation_rows[start]
    np.testing.assert_allclose(observation, dataset.observations["flat"][row], atol=1e-6)
    after, _, _, truncated, _ = env.step(dataset.actions[start])
    np.testing.assert_allclose(flatten(after), dataset.observations["flat"][row + 1], atol=1e-6)
    assert not truncated  # three steps of the recorded time are left
    for _ in range(3):
        truncated = env.step(dataset.actions[start])[3]
    assert truncated
    env.close()


def test_share_and_schedule() -> None:
    dataset, env = recorded("toy/point-mass-v0"), make_env("toy/point-mass-v0", horizon=HORIZON)
    resets = DatasetResets(ResetsConfig(share=0.8, until=100), dataset, env)
    assert [resets.config.share_at(step) for step in (0, 50, 100, 200)] == [0.8, 0.4, 0.0, 0.0]
    rng = np.random.default_rng(0)
    drawn = [resets.draw(50, rng) for _ in range(400)]
    assert np.mean([start is not None for start in drawn]) == pytest.approx(0.4, abs=0.08)
    assert {start for start in drawn if start is not None} == set(range(2 * HORIZON))


def test_starts_in_preferred_segments_alone() -> None:
    dataset, env = recorded("toy/point-mass-v0"), make_env("toy/point-mass-v0", horizon=HORIZON)

    def pieces(episodes: list[int], starts: list[int]) -> Segments:
        return Segments(np.array(episodes), np.array(starts), np.full(len(starts), 2))

    labels = Preferences.from_labels(
        dataset,
        pieces([0, 1, 0], [0, 3, 2]),
        pieces([1, 0, 1], [0, 4, 2]),
        np.array([1.0, 0.0, 0.5]),  # second, first, neither
        source="scripted",
        annotator="test",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    resets = DatasetResets(ResetsConfig(share=1.0), dataset, env, labels)
    rng = np.random.default_rng(0)
    assert {resets.draw(0, rng) for _ in range(100)} == {6, 7, 9, 10}


def test_refusals() -> None:
    dataset, env = recorded("toy/point-mass-v0"), make_env("toy/point-mass-v0", horizon=HORIZON)
    with pytest.raises(InputError, match=r"resets.share=1.5: must lie in \[0, 1\]"):
        ResetsConfig(share=1.5)
    stateless = Trajectory(**{**vars(dataset[0]), "states": None})
    with pytest.raises(InputError, match="keeps no simulator states"):
        DatasetResets(
            ResetsConfig(share=1.0), TrajectoryDataset.from_trajectories([stateless]), env
        )

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robopref.data.collect import record_episode
from robopref.environments import make_env


@pytest.fixture
def env():
    return make_env("toy/point-mass-v0", horizon=30)


def straight_to_the_goal(observation):
    return 10.0 * (observation[2:] - observation[:2])


def test_it_is_a_gymnasium_environment(env):
    check_env(env.unwrapped, skip_render_check=True)


def test_the_best_policy_is_known(env):
    for seed in range(20):
        trajectory = record_episode(env, straight_to_the_goal, seed)
        assert trajectory.success[-1]
        assert trajectory.rewards[-1] == pytest.approx(0.0, abs=1e-6)


def test_standing_still_is_paid_the_distance(env):
    trajectory = record_episode(env, lambda _: np.zeros(2), seed=1)
    position, goal = np.split(trajectory.observations["flat"][0], 2)
    assert trajectory.rewards == pytest.approx(np.full(30, -np.linalg.norm(position - goal)))
    assert np.array_equal(trajectory.factors["obj_to_target"], -trajectory.rewards)


def test_episodes_are_truncated_at_the_horizon_and_never_terminate(env):
    trajectory = record_episode(env, straight_to_the_goal, seed=2)
    assert len(trajectory) == 30
    assert not trajectory.terminated.any()
    assert trajectory.truncated.tolist() == [False] * 29 + [True]


def test_any_step_can_be_restored(env):
    trajectory = record_episode(env, straight_to_the_goal, seed=3)
    fresh = make_env("toy/point-mass-v0", horizon=30).unwrapped
    restored = fresh.set_state(trajectory.states[10])
    assert np.array_equal(restored, trajectory.observations["flat"][10])
    for step in range(10, 30):
        observation, reward, _, truncated, _ = fresh.step(trajectory.actions[step])
        assert np.array_equal(observation, trajectory.observations["flat"][step + 1])
        assert np.float32(reward) == trajectory.rewards[step]
        assert truncated == (step == 29)

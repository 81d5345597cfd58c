from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robopref.data.collect import record_episode
from robopref.environments import make_env
from robopref.errors import InputError
from robopref_envs import METAWORLD_TASKS

pytestmark = pytest.mark.sim

FEW = ("button-press-v3", "drawer-open-v3", "peg-insert-side-v3")
TASKS = [
    pytest.param(task, marks=() if task in FEW else pytest.mark.slow) for task in METAWORLD_TASKS
]
EXPERT = {"shares": {"expert": 1.0}, "noise": 0.1}


def make(task: str, **options):
    return make_env(f"metaworld/{task}", **{"horizon": 30, **options})


def play(env, seed: int, mix=EXPERT):
    rng = np.random.default_rng(seed)
    return record_episode(env, env.unwrapped.demonstrator(mix, rng).act, seed)


def test_every_task_of_metaworld_is_registered():
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    assert set(METAWORLD_TASKS) == set(ALL_V3_ENVIRONMENTS)
    assert len(METAWORLD_TASKS) == 50


@pytest.mark.parametrize("task", TASKS)
def test_any_step_can_be_restored_exactly(task):
    env = make(task)
    play(env, seed=1)  # an episode before must leave no trace
    trajectory = play(env, seed=2)
    other = make(task)
    play(other, seed=3)
    fresh = other.unwrapped
    for start in (0, 13, 29):
        restored = fresh.set_state(trajectory.states[start])
        assert np.array_equal(restored, trajectory.observations["flat"][start])
        for step in range(start, 30):
            observation, reward, terminated, truncated, info = fresh.step(trajectory.actions[step])
            assert np.array_equal(observation, trajectory.observations["flat"][step + 1]), step
            assert np.float32(reward) == trajectory.rewards[step]
            assert info["success"] == trajectory.success[step]
            assert not terminated
            assert truncated == (step == 29)
        assert np.array_equal(fresh.get_state(), trajectory.states[30])
    env.close()
    other.close()


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_episode(task):
    env = make(task)
    first = play(env, seed=5)
    other = play(env, seed=6)
    again = play(env, seed=5)
    fresh = play(make(task), seed=5)
    for trajectory in (again, fresh):
        assert np.array_equal(first.observations["flat"], trajectory.observations["flat"])
        assert np.array_equal(first.rewards, trajectory.rewards)
    assert not np.array_equal(first.observations["flat"][0], other.observations["flat"][0])


@pytest.mark.slow
@pytest.mark.parametrize("task", METAWORLD_TASKS)
def test_the_expert_succeeds_and_nothing_ends_the_episode(task):
    env = make(task, horizon=200)
    outcomes = [play(env, seed, {"shares": {"expert": 1.0}, "noise": 0.0}) for seed in range(3)]
    assert all(len(trajectory) == 200 for trajectory in outcomes)
    assert not any(trajectory.terminated.any() for trajectory in outcomes)
    assert any(trajectory.success.any() for trajectory in outcomes)  # push-back's is weak
    env.close()


def test_it_is_a_gymnasium_environment():
    check_env(make("reach-v3").unwrapped, skip_render_check=True)


def test_observations_lie_in_their_space_and_goals_are_shown():
    env = make("reach-v3")
    goals = []
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        assert env.observation_space.contains(observation)
        goals.append(observation[-3:])
    assert np.abs(np.diff(goals, axis=0)).min(axis=0).max() > 0


def test_behaviours_differ_in_what_they_achieve():
    env = make("button-press-v3", horizon=120)
    success = {
        behaviour: np.mean(
            [play(env, seed, {"shares": {behaviour: 1.0}}).success.any() for seed in range(4)]
        )
        for behaviour in ("expert", "random")
    }
    assert success == {"expert": 1.0, "random": 0.0}


def test_pictures_are_upright_and_of_two_environments_do_not_mix():
    first, second = (make("button-press-v3", render_size=64) for _ in range(2))
    first.reset(seed=0)
    second.reset(seed=1)
    try:
        picture = first.unwrapped.render()
    except InputError as error:
        pytest.skip(str(error))
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    other = second.unwrapped.render()
    assert not np.array_equal(picture, other)
    second.close()
    assert np.array_equal(first.unwrapped.render(), picture)
    first.close()


def test_pictures_are_observations_and_the_corner_cameras_upright():
    env = make("reach-v3", cameras=["corner", "topview"], image_size=48, horizon=3)
    try:
        observation, _ = env.reset(seed=0)
    except InputError as error:
        pytest.skip(str(error))
    assert env.observation_space.contains(observation)
    assert set(observation) == {"flat", "corner_image", "topview_image"}
    # Upright, the robot stands on the table: the wall above is brighter than the floor below.
    trajectory = play(env, 1)
    assert trajectory.observations["corner_image"].shape == (4, 48, 48, 3)
    assert trajectory.observations["corner_image"].dtype == np.uint8
    without = play(make("reach-v3", horizon=3), 1)
    assert np.array_equal(without.observations["flat"], trajectory.observations["flat"])
    restored = env.unwrapped.set_state(trajectory.states[1])
    assert np.array_equal(restored["corner_image"], trajectory.observations["corner_image"][1])
    env.close()


def test_an_unknown_camera_is_named():
    with pytest.raises(InputError, match="no camera 'nose'; choose from topview, corner"):
        make("reach-v3", cameras=["nose"])

"""gym-hil's Panda through robopref's adapter."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robopref.cli.main import main
from robopref.data.collect import record_episode
from robopref.environments import make_env
from robopref.errors import InputError

pytestmark = [
    pytest.mark.sim,
    pytest.mark.skipif(not find_spec("gym_hil"), reason="needs pip install 'robopref[gym_hil]'"),
]
EXPERT = {"shares": {"expert": 1.0}, "noise": 0.1}


@pytest.mark.filterwarnings("ignore:.*Box observation space:UserWarning")
def test_it_is_a_gymnasium_environment():
    env = make_env("gym_hil/pick-cube")
    check_env(env.unwrapped, skip_render_check=True)
    first, _ = env.reset(seed=1)
    again, _ = env.reset(seed=1)
    other, _ = env.reset(seed=2)
    np.testing.assert_array_equal(first["environment_state"], again["environment_state"])
    assert not np.allclose(first["environment_state"], other["environment_state"])
    env.close()


def test_the_expert_picks_the_cube_up_wherever_it_lies():
    env = make_env("gym_hil/pick-cube")
    for seed in range(5):
        rng = np.random.default_rng(seed)
        episode = record_episode(env, env.unwrapped.demonstrator(EXPERT, rng).act, seed)
        assert episode.success.any(), seed
    entities = env.unwrapped.env_args["entities"]
    hand = episode.observations["agent_pos"][:, entities["hand"]["first"] :]
    lifted = episode.observations["environment_state"][:, 2]
    # When it is held, hand and cube are in one place, 10 cm above where the cube lay.
    np.testing.assert_allclose(hand[-1], episode.observations["environment_state"][-1], atol=0.05)
    assert lifted[-1] > lifted[0] + 0.05
    env.close()


def test_a_state_says_all_that_follows():
    env = make_env("gym_hil/pick-cube")
    first, _ = env.reset(seed=3)
    action = np.array([0.5, 0.2, -0.4, 1.0], np.float32)
    for _ in range(4):
        first, *_ = env.step(action)
    state = env.unwrapped.get_state()
    after, reward, *_ = env.step(-action)
    again = env.unwrapped.set_state(state)
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)
    once_more, same, *_ = env.step(-action)
    assert same == reward
    for name, values in after.items():
        np.testing.assert_array_equal(once_more[name], values)
    env.close()


def test_a_cube_out_of_reach_ends_the_episode():
    env = make_env("gym_hil/pick-cube")
    env.reset(seed=0)
    env.unwrapped.panda.data.jnt("block").qpos[:2] = 0.7, 0.0
    for _ in range(3):
        *_, terminated, truncated, info = env.step(np.zeros(4, np.float32))
    assert terminated and not truncated and not info["success"]
    env.close()


def test_pictures_and_wrong_cameras():
    with pytest.raises(InputError, match="has no camera 'top'; choose from .*front"):
        make_env("gym_hil/pick-cube", cameras=["top"])
    env = make_env("gym_hil/pick-cube", cameras=["front"], image_size=48, render_mode="rgb_array")
    try:
        found, _ = env.reset(seed=0)
    except InputError as error:
        pytest.skip(str(error))
    assert found["front_image"].shape == (48, 48, 3)
    assert env.render().shape == (256, 256, 3)
    env.close()


def test_a_session_on_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["env=gym_hil/pick-cube", "horizon=60", "operator=synthetic"]
    arguments += ["synthetic.patience=3", "steps=120", "rlpd.hidden=[16]", "device=cpu", "name=s"]
    arguments += ["learning.start_steps=30", "evaluation.episodes=1"]
    assert main(["hil", "local", *arguments]) == 0

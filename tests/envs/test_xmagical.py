"""X-MAGICAL's two tasks of preference."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from robopref.environments import make_env
from robopref.errors import InputError

if find_spec("pymunk") is None or find_spec("xmagical") is None:
    pytest.skip("needs the extra xmagical", allow_module_level=True)


def played(env: Any, behaviour: str, seed: int) -> tuple[float, bool]:
    env.reset(seed=seed)
    mix = {"shares": {behaviour: 1.0}, "noise": 0.0}
    pusher = env.unwrapped.demonstrator(mix, np.random.default_rng(seed))
    total, success, ended = 0.0, False, False
    while not ended:
        _, reward, terminated, truncated, info = env.step(pusher.act(None))
        total, success = total + reward, success or info["success"]
        ended = terminated or truncated
    return total, success


@pytest.mark.parametrize("task", ["avoid", "group"])
def test_the_preferred_way_is_paid_better_and_alone_succeeds(task: str) -> None:
    env = make_env(f"xmagical/{task}")
    preferred = [played(env, "expert", seed) for seed in range(6)]
    direct = [played(env, "direct", seed) for seed in range(6)]
    assert np.mean([success for _, success in preferred]) > 0.7
    assert not any(success for _, success in direct)
    assert np.mean([paid for paid, _ in preferred]) > np.mean([paid for paid, _ in direct])


def test_another_embodiment_does_the_same_tasks() -> None:
    env = make_env("xmagical/group", embodiment="mediumstick")
    assert np.mean([played(env, "expert", seed)[1] for seed in range(4)]) > 0.7


def test_same_seed_same_pictures() -> None:
    pictures = []
    for _ in range(2):
        env = make_env("xmagical/avoid", cameras=["top"], image_size=32)
        env.reset(seed=4)
        observation, *_ = env.step(np.array([1.0, 0.2], np.float32))
        assert env.observation_space.contains(observation)
        pictures.append(observation["top_image"])
    np.testing.assert_array_equal(*pictures)
    assert len(np.unique(pictures[0].reshape(-1, 3), axis=0)) > 4


@pytest.mark.parametrize("task", ["avoid", "group"])
def test_a_state_is_restored(task: str) -> None:
    env: Any = make_env(f"xmagical/{task}").unwrapped
    env.reset(seed=1)
    for _ in range(30):
        env.step(np.array([0.8, 0.1], np.float32))
    state, before = env.get_state(), env._observe()
    env.reset(seed=2)
    np.testing.assert_allclose(env.set_state(state), before, atol=1e-6)
    np.testing.assert_allclose(env.get_state(), state, atol=1e-6)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="has no embodiment 'hand'"):
        make_env("xmagical/avoid", embodiment="hand")
    with pytest.raises(InputError, match="has no camera 'front'"):
        make_env("xmagical/avoid", cameras=["front"])

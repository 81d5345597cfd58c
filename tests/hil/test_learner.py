"""The learner of a session: which buffer a step lands in, restarts, versions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robopref.errors import InputError
from robopref.hil.actor import received_policy
from robopref.hil.learner import LearningConfig, SessionLearner, intervention_rates
from robopref.hil.steps import Sizes, Steps
from robopref.policies.registry import new_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.visual import VisualConfig
from tests.hil.steps import IMAGE_SHAPE, episode

CONFIG = LearningConfig(batch_size=8, start_steps=4, publish_every=2, checkpoint_every=3)


def made(folder: Path, seed: int = 0, looks: bool = False) -> SessionLearner:
    config: Any = RLPDConfig(hidden=[8], critics=2, critic_steps=1)
    if looks:
        config = VisualConfig("rlpd", config, list(IMAGE_SHAPE))
    return SessionLearner(new_policy(config, 2, 1, seed), CONFIG, folder)


def test_every_step_is_in_the_online_part_and_corrections_among_the_demonstrations(
    tmp_path: Path,
) -> None:
    learner = made(tmp_path)
    learner.receive("arm", Steps.join([episode(1, 5, people=(1, 2)), episode(6, 4, people=(0,))]))
    learner.absorb()
    assert len(learner.replay) == 9
    rows = learner.replay.demonstrated
    seen = learner.replay.observations[rows][:, 0].tolist()
    assert seen == [2.0, 3.0, 6.0]
    # The next observation of a correction that is followed by the policy's own step is its own.
    batch = learner.replay.sample(64, torch.Generator(), demonstrations=1.0)
    torch.testing.assert_close(batch.next_observations[:, 0], batch.observations[:, 0] + 1.0)


def test_a_time_limit_is_not_the_tasks_end(tmp_path: Path) -> None:
    learner = made(tmp_path)
    learner.receive("arm", Steps.join([episode(1, 5), episode(6, 5)]))
    learner.absorb()
    batch = learner.replay.sample(256, torch.Generator())
    assert not batch.terminated.any()
    # Step 5 bootstraps from its own last observation, never from the next episode's first one.
    last = batch.observations[:, 0] == 5.0
    assert last.any()
    assert (batch.next_observations[last, 0] == 6.0).all()


def test_two_actors_do_not_mix_their_episodes(tmp_path: Path) -> None:
    learner = made(tmp_path)
    for first in range(1, 5):
        learner.receive("left", episode(first, 1))
        other = episode(first, 1)
        other.observations[:] += 100.0
        other.next_observations[:] += 100.0
        learner.receive("right", other)
    learner.absorb()
    batch = learner.replay.sample(256, torch.Generator())
    torch.testing.assert_close(batch.next_observations[:, 0], batch.observations[:, 0] + 1.0)


def test_images_stay_with_their_steps_when_two_actors_take_turns(tmp_path: Path) -> None:
    learner = made(tmp_path, looks=True)
    left, right = episode(1, 6, looks=True), episode(1, 6, looks=True)
    right.observations[:] += 100.0
    right.next_observations[:] += 100.0
    right.first_images[:] += 100
    right.next_images[:] += 100
    for first in range(0, 6, 2):  # in the middle of their episodes
        learner.receive("left", left[first : first + 2])
        learner.receive("right", right[first : first + 2])
    learner.absorb()
    batch = learner.replay.sample(256, torch.Generator())
    assert batch.images is not None and batch.next_images is not None
    torch.testing.assert_close(batch.images[:, 0, 0, 0].float(), batch.observations[:, 0])
    torch.testing.assert_close(batch.next_images[:, 0, 0, 0].float(), batch.next_observations[:, 0])
    assert learner.learn()
    learner.close()
    again = made(tmp_path, looks=True)
    assert again.steps == 12
    with pytest.raises(InputError, match="give both the same cameras= and image_size="):
        again.open("left", Sizes(2, 1))


def test_a_restart_keeps_steps_policy_and_growing_versions(tmp_path: Path) -> None:
    learner = made(tmp_path)
    learner.receive("arm", episode(1, 20, people=(3,)))
    for _ in range(6):
        assert learner.learn()
    observation = np.array([[0.3, -0.2]], np.float32)
    action, version = learner.policy.act(observation), learner.version
    assert version >= 4
    learner.close()
    again = made(tmp_path, seed=5)
    assert (again.steps, again.updates) == (20, 6)
    np.testing.assert_array_equal(again.policy.act(observation), action)
    assert again.open("arm", Sizes(2, 1)) == 20
    assert len(again.replay.demonstrated) == 1
    assert again.version > 3  # the steps were taken with version 3


def test_updates_keep_to_their_share(tmp_path: Path) -> None:
    learner = made(tmp_path)
    learner.receive("arm", episode(1, 3))
    assert not learner.learn()
    learner.receive("arm", episode(4, 7))
    made_updates = 0
    while learner.learn():
        made_updates += 1
    assert made_updates == 10 - 4 + 1


def test_weights_make_the_same_policy_elsewhere(tmp_path: Path) -> None:
    learner = made(tmp_path)
    _, weights, description = learner.weights()
    policy = received_policy(weights, description)
    observations = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_array_equal(policy.act(observations), learner.policy.act(observations))
    with pytest.raises(InputError):
        received_policy(weights[:40], description)


def test_wrong_actors_are_refused(tmp_path: Path) -> None:
    learner = made(tmp_path)
    with pytest.raises(InputError, match="has 3 observation and 1 action features"):
        learner.open("arm", Sizes(3, 1))
    for name in ("", "../x", "a/b", "a b"):
        with pytest.raises(InputError, match="a name has letters"):
            learner.open(name, Sizes(2, 1))


def test_intervention_rates_by_episode() -> None:
    steps = Steps.join([episode(1, 5, people=(1, 2)), episode(6, 4)])
    np.testing.assert_allclose(intervention_rates(steps), [0.4, 0.0])

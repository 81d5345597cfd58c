"""A learned reward beside success, and one that corrections teach while the session runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from robopref.errors import InputError
from robopref.hil.learner import LearningConfig, SessionLearner
from robopref.hil.rewards import SessionReward, SessionRewardConfig, takeovers
from robopref.hil.steps import Steps, session_dataset
from robopref.networks.pretrained import SPATIAL, FrozenEncoder
from robopref.policies.registry import new_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.visual import VisualConfig
from robopref.rewards.bradley_terry import BradleyTerryConfig, BradleyTerryReward
from robopref.rewards.rapl import RaplConfig, RaplReward
from tests.hil.steps import IMAGE_SHAPE, episode


def corrected(first: int) -> Steps:
    """Sixteen steps, of which a person chose the last eight, in another direction."""
    steps = episode(first, 16, people=tuple(range(8, 16)))
    steps.actions[:8], steps.actions[8:], steps.rewards[:] = -0.5, 0.5, 0.0
    return steps


def session(folder: Path, reward: SessionReward) -> SessionLearner:
    sizes = corrected(1).observations.shape[1], corrected(1).actions.shape[1]
    policy = new_policy(RLPDConfig(hidden=[8], critics=2), *sizes, seed=0)
    return SessionLearner(policy, LearningConfig(batch_size=4), folder, reward=reward)


def sizes() -> tuple[int, int]:
    steps = corrected(1)
    return steps.observations.shape[1], steps.actions.shape[1]


def test_a_step_is_worth_its_success_and_its_share_of_the_reward(tmp_path: Path) -> None:
    model = BradleyTerryReward(BradleyTerryConfig(actions=True), *sizes())
    model.mean_length.fill_(16.0)
    reward = SessionReward(SessionRewardConfig(weight=2.0), model)
    learner = session(tmp_path, reward)
    steps = corrected(1)
    learner.receive("arm", steps)
    learner.absorb()
    paid = reward.pay(steps.observations, steps.actions)
    assert np.abs(paid).max() <= 2.0 / 16.0 and np.ptp(paid) > 0.0
    rows = learner.replay.valid.nonzero()[:, 0]
    np.testing.assert_allclose(learner.replay.rewards[rows], steps.rewards + paid, rtol=1e-5)
    np.testing.assert_allclose(learner.replay.true_rewards[rows], steps.rewards)


def test_corrections_teach_it_and_every_step_is_paid_anew(tmp_path: Path) -> None:
    reward = SessionReward(SessionRewardConfig(learn_every=2))
    learner = session(tmp_path, reward)
    learner.receive("arm", corrected(1))
    learner.absorb()
    assert reward.model is None and not learner.replay.rewards.any()
    for number in range(1, 6):
        learner.receive("arm", corrected(16 * number + 1))
    learner.absorb()
    assert reward.model is not None
    rows = learner.replay.valid.nonzero()[:, 0]
    actions, paid = learner.replay.actions[rows, 0], learner.replay.rewards[rows]
    assert paid[actions > 0].mean() > paid[actions < 0].mean() + 0.05
    first = paid[:16]  # of before there was a reward
    assert first[8:].mean() > first[:8].mean()
    # The steps are on the disk, and what they teach with them.
    learner.close()
    again = session(tmp_path, SessionReward(SessionRewardConfig(learn_every=2)))
    torch.testing.assert_close(again.replay.rewards[rows], paid)


def test_takeovers_are_counted() -> None:
    steps = Steps.join([episode(1, 9, people=(0, 1, 4, 8)), episode(10, 5, people=(0, 1))])
    assert takeovers(steps) + takeovers(steps) == 8
    assert takeovers(steps[:2]) + takeovers(steps[2:], before=bool(steps.intervened[1])) == 4
    assert takeovers(steps[1:], before=True) == 3


class Boundless(BradleyTerryReward):
    name = "boundless"
    bound = None  # type: ignore[assignment]


def test_what_could_outweigh_success_is_refused() -> None:
    model = Boundless(BradleyTerryConfig(), 4, 2)
    with pytest.raises(InputError, match="boundless is not bounded per step"):
        SessionReward(SessionRewardConfig(), model)
    with pytest.raises(InputError, match="reward.segment_steps=2"):
        SessionRewardConfig(segment_steps=2)


def watching() -> RaplReward:
    """A reward that looks at pictures; its best video ends in white."""
    torch.manual_seed(0)
    model = RaplReward(RaplConfig(frames=2, experts=1), 1024, 1)
    white = torch.full((1, *IMAGE_SHAPE), 255, dtype=torch.uint8)
    model.experts[:] = FrozenEncoder(SPATIAL)(white).float()
    model.signs[:], model.length[()] = 1.0, 10.0
    return model


def test_images_pay_alike_in_whatever_parts_they_come() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    steps = Steps.join([episode(1, 6, looks=True), episode(7, 5, looks=True)])
    reward = SessionReward(SessionRewardConfig(), watching())
    whole = reward.pay_steps("arm", steps)
    assert whole.shape == (11,) and (whole < 0).all() and (whole >= -1.0 / 10.0).all()
    parts = [steps[:2], steps[2:3], steps[3:8], steps[8:]]
    paid = [reward.pay_steps("other", part) for part in parts]
    np.testing.assert_allclose(np.concatenate(paid), whole, rtol=1e-3)
    # A dataset of the same steps is paid as they are.
    dataset = session_dataset([steps], "memory", ["top_image"])
    np.testing.assert_allclose(reward.pay_dataset(dataset), whole, rtol=1e-3)


def test_a_session_is_paid_by_what_it_sees_and_again_after_a_restart(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    steps = episode(1, 8, looks=True)
    settings = VisualConfig("rlpd", RLPDConfig(hidden=[8], critics=2), list(IMAGE_SHAPE))
    found = []
    for _ in range(2):
        policy = new_policy(settings, 2, 1, seed=0)
        reward = SessionReward(SessionRewardConfig(weight=3.0), watching())
        reward.check(2, 1, IMAGE_SHAPE)
        with pytest.raises(InputError, match="rapl looks at images; give the cameras="):
            reward.check(2, 1, None)
        demonstrations = session_dataset([episode(1, 4, looks=True)], "memory", ["top_image"])
        learner = SessionLearner(policy, LearningConfig(), tmp_path, demonstrations, reward)
        learner.receive("arm", steps)  # known the second time
        learner.absorb()
        rows = learner.replay.valid.nonzero()[:, 0]
        found.append((learner.replay.rewards - learner.replay.true_rewards)[rows].numpy())
        learner.close()
    expected = SessionReward(SessionRewardConfig(weight=3.0), watching()).pay_steps("arm", steps)
    np.testing.assert_allclose(found[0], [*expected[:4], *expected], rtol=1e-3)
    np.testing.assert_array_equal(found[0], found[1])

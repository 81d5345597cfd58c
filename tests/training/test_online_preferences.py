"""Preferences asked on the way: exploration, sessions, relabelling, and resuming."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.replay import ReplayBuffer
from robopref.errors import InputError
from robopref.policies.registry import new_policy
from robopref.policies.sac import SACConfig
from robopref.preferences.queries import Pairs
from robopref.preferences.teachers import TeacherConfig, teacher_answers
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.training.evaluated import EvaluationConfig
from robopref.training.logger import read_metrics
from robopref.training.online import OnlineTrainingConfig, train_online
from robopref.training.online_preferences import OnlinePreferences, OnlinePreferencesConfig

ASK = OnlinePreferencesConfig(
    budget=50, pairs_per_session=20, session_every=100, segment_length=8, nearest=3, compared=40
)
REWARD = BradleyTerryConfig(members=2, hidden=[16], epochs=15, batch_size=8)


def oracle(
    dataset: TrajectoryDataset, pairs: Pairs, rng: np.random.Generator
) -> NDArray[np.float64]:
    return teacher_answers(dataset, pairs, TeacherConfig(), rng)


def asking(**options: Any) -> OnlinePreferences:
    return OnlinePreferences(ASK, REWARD, options.get("teacher", oracle), seed=0)


def walks(episodes: int = 10, steps: int = 20, seed: int = 0) -> ReplayBuffer:
    """Points that walk at random; the true reward is the first coordinate."""
    rng = np.random.default_rng(seed)
    replay = ReplayBuffer(1_000, 2, 1)
    for _ in range(episodes):
        position = rng.uniform(-1, 1, 2)
        replay.add_reset(position)
        for _ in range(steps):
            position = np.clip(position + rng.normal(0, 0.3, 2), -1, 1)
            replay.add_step(np.zeros(1), float(position[0]), position, False, learned_reward=0.0)
    return replay


def test_exploring_pays_for_what_is_far() -> None:
    rewards = asking()
    replay = walks()
    near, far = np.zeros(2, dtype=np.float32), np.full(2, 5.0, dtype=np.float32)
    assert rewards.pay(near, np.zeros(1)) == 0.0  # nothing seen yet
    assert rewards.after_episode(20, replay) == {}
    assert rewards.pay(far, np.zeros(1)) > 3 * rewards.pay(near, np.zeros(1)) > 0.0


def test_a_session_learns_the_teachers_reward_and_pays_anew() -> None:
    rewards, replay = asking(), walks(episodes=40)
    metrics = rewards.after_episode(100, replay)
    assert metrics["labels"] == 20 and metrics["label_accuracy"] > 0.8
    paid = replay.rewards[replay.valid]
    true = replay.true_rewards[replay.valid]
    assert torch.corrcoef(torch.stack([paid, true]))[0, 1] > 0.5  # from 20 answers
    assert abs(float(paid.mean())) < 1e-4 and float(paid.std()) == pytest.approx(1.0, abs=1e-2)
    good, bad = np.array([0.9, 0], dtype=np.float32), np.array([-0.9, 0], dtype=np.float32)
    action = np.zeros(1, dtype=np.float32)
    assert rewards.pay(good, action) > rewards.pay(bad, action) + 1.0


def test_the_budget_holds_and_sessions_keep_their_distance() -> None:
    rewards, replay = asking(), walks(episodes=40)
    asked = [rewards.after_episode(step, replay).get("labels") for step in range(20, 700, 40)]
    assert [count for count in asked if count] == [20, 40, 50]
    assert asked[:2] == [None, None] and rewards.asked == 50


def test_a_strategy_asks_from_the_second_session_on() -> None:
    config = dataclasses.replace(ASK, strategy="disagreement")
    asked = {}
    for name, ask in (("uniform", ASK), ("disagreement", config)):
        rewards, replay = OnlinePreferences(ask, REWARD, oracle, seed=0), walks(episodes=40)
        for step in (100, 200):
            rewards.after_episode(step, replay)
        asked[name] = [piece.episode_return for piece in rewards._segments]
    assert asked["uniform"][:40] == asked["disagreement"][:40]
    assert asked["uniform"][40:] != asked["disagreement"][40:]


@pytest.mark.parametrize("strategy", ["uniform", "disagreement"])
def test_no_pair_is_asked_twice_while_the_replay_moves_on(strategy: str) -> None:
    config = dataclasses.replace(
        ASK, strategy=strategy, budget=1_000, pairs_per_session=6, recent_steps=30
    )
    asked: list[bytes] = []

    def remembering(dataset: TrajectoryDataset, pairs: Pairs, rng: Any) -> NDArray[np.float64]:
        for index in range(len(pairs[0])):
            pieces = [
                dataset[int(side.episodes[index])]
                .observations["flat"][int(side.starts[index]) :][:8]
                .tobytes()
                for side in pairs
            ]
            asked.append(b"".join(sorted(pieces)))
        return np.where(np.arange(len(pairs[0])) % 3 == 0, np.nan, oracle(dataset, pairs, rng))

    rewards = OnlinePreferences(config, REWARD, remembering, seed=0)
    rng, replay = np.random.default_rng(0), ReplayBuffer(50, 2, 1)
    for episode in range(12):
        replay.add_reset(rng.uniform(-1, 1, 2))
        for _ in range(11):
            replay.add_step(np.zeros(1), rng.normal(), rng.uniform(-1, 1, 2), False)
        if episode > 3:
            rewards.after_episode(100 * episode, replay)
    assert len(asked) == rewards.asked == 48 and len(set(asked)) == 48


def test_skipped_and_equal_answers() -> None:
    def undecided(dataset: TrajectoryDataset, pairs: Pairs, rng: Any) -> NDArray[np.float64]:
        return np.where(np.arange(len(pairs[0])) % 2, np.nan, 0.5)

    rewards = asking(teacher=undecided)
    metrics = rewards.after_episode(100, walks(40))
    assert metrics == {"labels": 10.0} and rewards.model is None and rewards.asked == 20


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    def train(folder: Path, steps: int) -> dict[str, torch.Tensor]:
        policy = new_policy(SACConfig(hidden=[16]), 4, 2, 0)
        config = OnlineTrainingConfig(
            steps, random_steps=40, batch_size=16, log_every=20, checkpoint_every=40
        )
        train_online(
            policy, "toy/point-mass-v0", {}, ReplayBuffer(200, 4, 2), config,
            EvaluationConfig(episodes=0, episodes_on_the_way=0), folder, asking(),
        )  # fmt: skip
        return policy.state_dict()

    whole = train(tmp_path / "whole", 260)
    for steps in (80, 140, 260):  # stops while exploring and between two sessions
        parts = train(tmp_path / "parts", steps)
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name
    assert any(line.get("episode/labels") == 40 for line in read_metrics(tmp_path / "parts"))


def test_refusals() -> None:
    with pytest.raises(InputError, match="preferences.budget=0"):
        OnlinePreferencesConfig(budget=0)
    with pytest.raises(InputError, match="strategy=clever: no such way to ask"):
        OnlinePreferencesConfig(strategy="clever")
    with pytest.raises(InputError, match="must be below compared=5"):
        OnlinePreferencesConfig(compared=5)

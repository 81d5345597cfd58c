"""A saved reward pays a policy that acts: what lands in the replay, its scale, and resuming."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.normalization import reward_scale
from robopref.data.replay import ReplayBuffer
from robopref.errors import InputError
from robopref.policies.base import Policy
from robopref.policies.registry import new_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.sac import SACConfig
from robopref.rewards import visual
from robopref.rewards.base import RewardModel, RewardPrediction
from robopref.rewards.bradley_terry import BradleyTerryConfig, LSTMConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import Caution, relabel, relabel_cautiously
from robopref.structures import SegmentBatch, Trajectory
from robopref.training.evaluated import EvaluationConfig
from robopref.training.online import OnlineTrainingConfig, train_online
from robopref.training.saved_reward import SCALE_FILE, SavedReward

ENV = "toy/point-mass-v0"
NOT_EVALUATED = EvaluationConfig(episodes=0, episodes_on_the_way=0)


@dataclass
class Nothing:
    encoder: str = ""


class FirstFeature(RewardModel):
    """Pays `offset + slope x` of the first feature `x`, whatever the task is."""

    name = "first_feature"
    looks_back = False

    def __init__(self, size: int = 4, slope: float = 3.0, encoder: str = "") -> None:
        super().__init__(Nothing(encoder), size, 2)
        self.register_buffer("slope", torch.tensor(slope))

    slope: Tensor

    def fit(self, *_: Any) -> dict[str, float]:
        raise NotImplementedError

    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        return RewardPrediction(
            (5.0 + self.slope * segments.observations[..., 0]) * segments.mask, None
        )


def demonstrations() -> TrajectoryDataset:
    """Two walks whose true rewards are all 1,000."""
    rng, steps = np.random.default_rng(0), 20
    last = np.arange(steps) == steps - 1
    return TrajectoryDataset.from_trajectories([
        Trajectory(
            observations={"flat": rng.uniform(-1, 1, (steps + 1, 4)).astype(np.float32)},
            actions=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
            rewards=np.full(steps, 1_000.0),
            terminated=np.zeros(steps, dtype=bool),
            truncated=last,
            success=last,
        )
        for _ in range(2)
    ])  # fmt: skip


def train(
    folder: Path,
    model: RewardModel,
    prior: TrajectoryDataset | None = None,
    policy: Any = None,
    env: dict[str, Any] | None = None,
    size: int = 4,
    **options: Any,
) -> tuple[Policy, ReplayBuffer, SavedReward]:
    policy = new_policy(policy or RLPDConfig(hidden=[8]), size, 2, 0)
    replay = ReplayBuffer(5_000, size, 2, prior)
    paid = None if prior is None else relabel_cautiously(prior, model, Caution())
    rewards = SavedReward(model, replay, Caution(), demonstrations=paid)
    defaults = {"random_steps": 45, "batch_size": 16, "log_every": 20, "checkpoint_every": 20}
    config = OnlineTrainingConfig(**{**defaults, **options})
    train_online(policy, ENV, env or {}, replay, config, NOT_EVALUATED, folder, rewards)
    return policy, replay, rewards


@pytest.mark.parametrize("prior", [None, demonstrations()], ids=["alone", "demonstrations"])
def test_the_replay_holds_the_models_rewards_at_their_scale(
    tmp_path: Path, prior: TrajectoryDataset | None
) -> None:
    _, replay, rewards = train(tmp_path, FirstFeature(), prior, steps=100)
    steps = replay.valid.nonzero()[:, 0]
    raw = 5.0 + 3.0 * replay.observations[steps, 0].numpy()
    paid = replay.rewards[steps].numpy()
    # The first update follows step 46: the scale is of those, and of the demonstrations before.
    before = 46 + (0 if prior is None else prior.num_steps)
    offset, size = reward_scale(raw[:before], np.zeros(before, dtype=bool))
    assert rewards.scale == pytest.approx((offset, size), rel=1e-5)
    np.testing.assert_allclose(paid, (raw - offset) / size, atol=1e-5)
    assert abs(paid[:before].mean()) < 1e-5 and paid[:before].std() == pytest.approx(1, abs=1e-5)
    if prior is not None:  # true rewards stay what they were
        assert (replay.true_rewards[replay.demonstration_rows] == 1_000.0).all()


def test_pretraining_takes_the_scale_from_the_demonstrations(tmp_path: Path) -> None:
    prior = demonstrations()
    _, replay, rewards = train(
        tmp_path, FirstFeature(), prior, steps=40, random_steps=0, pretraining_updates=3
    )
    expected = reward_scale(relabel(prior, FirstFeature()).mean, prior.terminated)
    assert rewards.scale == pytest.approx(expected, rel=1e-5)
    assert float(replay.rewards[replay.demonstration_rows].std(correction=0)) == pytest.approx(1.0)


@pytest.mark.parametrize("config", [LSTMConfig(width=4), BradleyTerryConfig(hidden=[4])])
def test_steps_are_paid_as_in_the_whole_episode(config: Any) -> None:
    """Also by a reward that remembers, whose memory ends with the episode."""
    dataset = demonstrations()
    for caution in (Caution(), Caution(pessimism=2.0), Caution(lower_bound=True)):
        model = make_reward(config, dataset, 0)
        rewards = SavedReward(model, ReplayBuffer(10, 4, 2), caution)
        paid: list[float] = []
        for episode in range(len(dataset)):
            walk = dataset[episode]
            for observation, action in zip(walk.observations["flat"], walk.actions, strict=False):
                paid.append(rewards.pay(observation, np.asarray(action, dtype=np.float32)))
            rewards.after_episode(0, ReplayBuffer(10, 4, 2))
        expected = relabel_cautiously(dataset, model, caution)
        np.testing.assert_allclose(paid, expected, rtol=1e-4, atol=1e-5)


class CentreOfRed:
    """In place of an encoder: where the red dot is, from -1 on the left to 1."""

    def __init__(self, name: str) -> None:
        self.name = name

    def to(self, device: Any) -> CentreOfRed:
        return self

    def __call__(self, images: Tensor) -> Tensor:
        columns = images[:, 0].float().sum(1)
        grid = (torch.arange(columns.shape[1]) + 0.5) / columns.shape[1] * 2.0 - 1.0
        return ((columns * grid).sum(1) / columns.sum(1))[:, None].half()


def test_a_reward_of_images_sees_what_the_policy_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visual, "FrozenEncoder", CentreOfRed)
    model, pictures = FirstFeature(1, encoder="red"), {"cameras": ["top"], "image_size": 32}
    policy, replay, rewards = train(tmp_path, model, env=pictures, size=2, steps=100)
    assert policy.image_shape is None and replay.images is None
    assert rewards.scale is not None
    steps = replay.valid.nonzero()[:, 0]
    place = replay.observations[steps, 0].numpy()
    paid = replay.rewards[steps].numpy() * rewards.scale[1] + rewards.scale[0]
    inside = np.abs(place) < 0.7  # a dot at the edge is cut off
    np.testing.assert_allclose(paid[inside], 5.0 + 3.0 * place[inside], atol=0.1)
    with pytest.raises(InputError, match="looks at images through red, and the environment shows"):
        rewards.look(np.zeros(4))


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    prior = demonstrations()
    model = make_reward(LSTMConfig(width=4), prior, 0)
    whole, replay, _ = train(tmp_path / "whole", model, prior, steps=140)
    for steps in (20, 60, 140):  # stops before there is a scale, and after
        parts, resumed, rewards = train(tmp_path / "parts", model, prior, steps=steps)
        assert (rewards.scale is None) == (steps == 20)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    assert torch.equal(replay.rewards, resumed.rewards)
    with pytest.raises(InputError, match="was made with rewards=.*lstm"):
        train(tmp_path / "parts", make_reward(LSTMConfig(width=4), prior, 1), prior, steps=160)


def test_the_policy_follows_the_reward_and_not_the_environments(tmp_path: Path) -> None:
    """The environment pays for the goal, the model for going right: to the wall, from anywhere."""
    config = SACConfig(hidden=[32, 32], learning_rate=3e-3, discount=0.9, initial_temperature=0.1)

    def ends(slope: float) -> NDArray[np.float32]:
        """(10,): where the last episodes end."""
        model = FirstFeature(slope=slope)
        options = {"policy": config, "steps": 1_000, "random_steps": 100, "batch_size": 64}
        _, replay, _ = train(tmp_path / f"{slope}", model, **options)
        episodes = replay.episodes(200)
        lasts = [episodes[index].observations["flat"][-1, 0] for index in range(len(episodes))]
        return np.array(lasts[-10:])

    assert ends(0.01).mean() > 0.8  # however small its rewards are
    assert ends(-100.0).mean() < -0.8


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pays all 46 steps before the first update alike"):
        train(tmp_path / "constant", FirstFeature(slope=0.0), steps=60)
    rewards = SavedReward(FirstFeature(), ReplayBuffer(10, 4, 2), Caution())
    (tmp_path / SCALE_FILE).write_text('{"scale": [1]}')
    with pytest.raises(InputError, match=r"saved_reward.json: damaged; remove this checkpoint"):
        rewards.load(tmp_path)
    with pytest.raises(InputError, match="pessimism of another kind"):
        Caution(pessimism=1.0, lower_bound=True)

"""Online training: learns, and a resumed run equals an uninterrupted one."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.data.replay import ReplayBuffer
from robopref.environments import make_env
from robopref.errors import InputError
from robopref.policies.base import Policy
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import new_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.sac import SACConfig
from robopref.structures import Trajectory, TransitionBatch
from robopref.training.evaluated import RESULT_FILE, EvaluationConfig, load_result
from robopref.training.logger import read_metrics
from robopref.training.online import OnlineTrainingConfig, _unseen, train_online

ENV = "toy/point-mass-v0"
LOOK = EvaluationConfig(episodes=20, every=200, episodes_on_the_way=2)


def make(config: Any, seed: int = 0) -> Policy:
    return new_policy(config, 4, 2, seed)


def train(folder: Path, **options: Any) -> tuple[Policy, ReplayBuffer]:
    policy = make(options.pop("policy", SACConfig(hidden=[32, 32])))
    replay = ReplayBuffer(options.pop("capacity", 2_000), 4, 2, options.pop("prior", None))
    defaults = {"random_steps": 100, "batch_size": 64, "log_every": 100, "checkpoint_every": 200}
    config = OnlineTrainingConfig(**{**defaults, **options})
    train_online(policy, ENV, {}, replay, config, LOOK, folder)
    return policy, replay


def test_learns_to_walk_to_the_goal(tmp_path: Path) -> None:
    policy = SACConfig(hidden=[32, 32], learning_rate=3e-3, discount=0.9, initial_temperature=0.1)
    train(tmp_path, policy=policy, steps=1_200)
    assert load_result(tmp_path / RESULT_FILE).success_last.mean() >= 0.9
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [100 * n for n in range(1, 13)]
    assert lines[-1]["episode/return"] > lines[0]["episode/return"]
    assert [line["step"] for line in read_metrics(tmp_path / "evaluation")] == [
        200, 400, 600, 800, 1000, 1200
    ]  # fmt: skip


@pytest.mark.parametrize("capacity", [2_000, 150])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, capacity: int) -> None:
    whole, replay = train(tmp_path / "whole", steps=500, capacity=capacity)
    train(tmp_path / "parts", steps=250, capacity=capacity)
    policy, resumed = train(tmp_path / "parts", steps=500, capacity=capacity)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, policy.state_dict()[name]), name
    for name in ("observations", "actions", "rewards", "valid"):
        assert torch.equal(getattr(replay, name), getattr(resumed, name)), name
    first, second = (
        [{k: v for k, v in line.items() if k != "updates_per_second"} for line in read_metrics(f)]
        for f in (tmp_path / "whole", tmp_path / "parts")
    )
    assert first[-1] == second[-1]


def demonstrations(reward: float = 1_000.0) -> TrajectoryDataset:
    steps = 20
    last = np.arange(steps) == steps - 1
    return TrajectoryDataset.from_trajectories(
        [
            Trajectory(
                observations={"flat": np.zeros((steps + 1, 4), dtype=np.float32)},
                actions=np.zeros((steps, 2), dtype=np.float32),
                rewards=np.full(steps, reward),
                terminated=last,
                truncated=np.zeros(steps, dtype=bool),
                success=last,
            )
        ]
    )


def test_half_of_every_part_of_a_batch_is_demonstrations(tmp_path: Path) -> None:
    seen: list[float] = []

    class Watched(type(make(RLPDConfig(hidden=[8])))):  # type: ignore[misc]
        def _step(self, batch: TransitionBatch, *rest: Any) -> dict[str, torch.Tensor]:
            seen.append(float((batch.rewards == 1_000).float().mean()))
            return super()._step(batch, *rest)

    policy = make(RLPDConfig(hidden=[8], critic_steps=2))
    policy.__class__ = Watched
    replay = ReplayBuffer(500, 4, 2, demonstrations())
    config = OnlineTrainingConfig(steps=60, random_steps=20, batch_size=32, log_every=20,
                                  checkpoint_every=60)  # fmt: skip
    train_online(policy, ENV, {}, replay, config, EvaluationConfig(episodes=0), tmp_path)
    assert seen == [0.5] * 80


def test_offline_first_then_online(tmp_path: Path) -> None:
    """Pretraining reads demonstrations alone, is looked at before the first step, and is not
    repeated by a run that goes on."""
    options = {"policy": IQLConfig(hidden=[8]), "pretraining_updates": 30, "batch_size": 16}
    whole, _ = train(tmp_path / "whole", prior=demonstrations(), steps=200, **options)
    train(tmp_path / "parts", prior=demonstrations(), steps=100, **options)
    options["policy"] = IQLConfig(hidden=[8])
    parts, replay = train(tmp_path / "parts", prior=demonstrations(), steps=200, **options)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    lines = read_metrics(tmp_path / "whole" / "evaluation")
    assert [line["step"] for line in lines] == [0, 200]
    assert read_metrics(tmp_path / "parts")[0]["step"] == 0
    assert len(replay) == 200  # the policy acted from the first step on


def test_another_setting_does_not_resume(tmp_path: Path) -> None:
    train(tmp_path, steps=200)
    with pytest.raises(InputError, match="batch_size=64, now 32"):
        train(tmp_path, steps=300, batch_size=32)


def test_refusals() -> None:
    with pytest.raises(InputError, match="online.n_step=0: must be at least 1"):
        OnlineTrainingConfig(n_step=0)
    with pytest.raises(InputError, match="multiple of log_every=1000"):
        OnlineTrainingConfig(checkpoint_every=1_500)
    with pytest.raises(InputError, match="demonstrations_share=2"):
        OnlineTrainingConfig(demonstrations_share=2)


@pytest.mark.skipif(not find_spec("xmagical"), reason="extra xmagical")
def test_only_what_shows_the_same_state_is_evaluated_without_cameras() -> None:
    pictures = {"cameras": ["top"], "image_size": 16}
    for env_id, blind in (("xmagical/avoid", True), (ENV, False)):  # a point hides its place
        env = make_env(env_id, **pictures, horizon=20)
        found = _unseen(env_id, {**pictures, "horizon": 20}, env)
        env.close()
        assert found == ({"horizon": 20} if blind else {**pictures, "horizon": 20})

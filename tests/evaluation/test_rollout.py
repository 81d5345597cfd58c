from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict

from robopref.data.normalization import standardize_rewards
from robopref.errors import InputError
from robopref.evaluation.rollout import evaluate, flatten, record_video, unflatten
from robopref.policies.base import Policy
from robopref.policies.behavior_cloning import BehaviorCloning, BehaviorCloningConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import make_policy
from robopref.structures import TransitionBatch
from robopref.training.offline import OfflineTrainingConfig, train_offline

ENV = "toy/point-mass-v0"


def mixed_data(episodes: int = 600, horizon: int = 20) -> TransitionBatch:
    """Each point mass walks to the goal (3 in 10), away from it, or nowhere in particular."""
    rng = np.random.default_rng(0)
    position, goal = rng.uniform(-1, 1, (2, episodes, 2))
    sign = rng.choice([1.0, -1.0, 0.0], size=(episodes, 1), p=[0.3, 0.35, 0.35])
    rows = []
    for _ in range(horizon):
        actions = np.clip(sign * 10 * (goal - position) + rng.normal(0, 0.3, goal.shape), -1, 1)
        following = np.clip(position + 0.1 * actions, -1, 1)
        reward = -np.linalg.norm(following - goal, axis=1)
        rows.append((np.hstack([position, goal]), actions, reward, np.hstack([following, goal])))
        position = following
    parts = [
        torch.tensor(np.concatenate(part), dtype=torch.float32) for part in zip(*rows, strict=True)
    ]
    goes_on = np.zeros(episodes * horizon, dtype=bool)
    parts[2] = torch.from_numpy(standardize_rewards(parts[2].numpy(), goes_on))
    return TransitionBatch(*parts, torch.zeros(episodes * horizon))


def train(config: object, folder: Path) -> Policy:
    data = mixed_data()
    policy = make_policy(config, data, seed=0)
    train_offline(
        policy,
        data,
        OfflineTrainingConfig(1500, batch_size=128, log_every=500, checkpoint_every=1500),
        folder,
    )
    return policy


def test_iql_learns_and_beats_cloning_on_mixed_data(tmp_path: Path) -> None:
    iql = train(
        IQLConfig(hidden=[64, 64], learning_rate=1e-3, discount=0.9, target_update_rate=0.02),
        tmp_path / "iql",
    )
    cloning = train(BehaviorCloningConfig(hidden=[64, 64], learning_rate=1e-3), tmp_path / "bc")
    iql_result = evaluate(iql, ENV, {}, episodes=30, seed=0)
    cloning_result = evaluate(cloning, ENV, {}, episodes=30, seed=0)
    # walking straight to the goal returns -4.9, cloning the mixture about -20
    assert iql_result.returns.mean() > -10.0 > cloning_result.returns.mean() + 5.0
    assert iql_result.summary["success"] > cloning_result.summary["success"] + 0.1


def untrained(observation_dim: int = 4, action_dim: int = 2) -> Policy:
    torch.manual_seed(0)
    return BehaviorCloning(BehaviorCloningConfig(hidden=[8]), observation_dim, action_dim)


def test_workers_change_nothing() -> None:
    alone = evaluate(untrained(), ENV, {"horizon": 5}, episodes=5, seed=3)
    shared = evaluate(untrained(), ENV, {"horizon": 5}, episodes=5, seed=3, workers=2)
    np.testing.assert_array_equal(alone.returns, shared.returns)
    np.testing.assert_array_equal(alone.success_any, shared.success_any)
    other = evaluate(untrained(), ENV, {"horizon": 5}, episodes=5, seed=4)
    assert not np.array_equal(alone.returns, other.returns)


def test_more_episodes_keep_the_first() -> None:
    few = evaluate(untrained(), ENV, {}, episodes=2, seed=0)
    many = evaluate(untrained(), ENV, {}, episodes=4, seed=0)
    np.testing.assert_array_equal(few.returns, many.returns[:2])


class Passer(BehaviorCloning):
    """Walks straight past the goal: success on the way, none at the end."""

    def act(self, observations, deterministic=True, generator=None):  # type: ignore[no-untyped-def]
        if not hasattr(self, "direction") or self.restarted:
            offset = observations[:, 2:] - observations[:, :2]
            self.direction = offset / np.abs(offset).max()
            self.restarted = False
        return self.direction.astype(np.float32)

    def reset(self) -> None:
        self.restarted = True


def test_success_at_any_and_at_the_last_step() -> None:
    result = evaluate(Passer(BehaviorCloningConfig(), 4, 2), ENV, {"horizon": 80}, 10, seed=0)
    assert result.success_any.all()
    assert result.success_last.sum() < 10
    assert (0 < result.steps_to_success).all()
    assert (result.steps_to_success < 80).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_other_actions_are_refused(workers: int) -> None:
    with pytest.raises(InputError, match=r"takes actions \(2,\), but the policy gives \(3,\)"):
        evaluate(untrained(action_dim=3), ENV, {}, episodes=2, seed=0, workers=workers)


def test_unfit_environments_are_refused() -> None:
    with pytest.raises(InputError, match=r"expects observations \(B, 5\)"):
        evaluate(untrained(observation_dim=5), ENV, {}, episodes=1, seed=0)
    with pytest.raises(InputError, match="unknown environment"):
        evaluate(untrained(), "toy/nothing-v0", {}, episodes=1, seed=0)
    with pytest.raises(InputError, match="episodes"):
        evaluate(untrained(), ENV, {}, episodes=0, seed=0)


def test_flatten_sorts_keys_and_drops_images() -> None:
    observation = {
        "b": np.array([3.0]),
        "a": np.array([[1.0, 2.0]]),
        "image": np.zeros((2, 2, 3), dtype=np.uint8),
    }
    np.testing.assert_array_equal(flatten(observation), [1.0, 2.0, 3.0])


def test_unflatten_is_the_reverse_of_flatten() -> None:
    space = Dict({
        "place": Box(-1.0, 1.0, (2, 3), np.float32),
        "angle": Box(-1.0, 1.0, (), np.float32),
        "top_image": Box(0, 255, (4, 4, 3), np.uint8),
    })  # fmt: skip
    rows = [space.sample() for _ in range(5)]
    found = unflatten(np.stack([flatten(row) for row in rows]), space)
    assert set(found) == {"place", "angle"}
    for name, values in found.items():
        np.testing.assert_allclose(values, np.stack([row[name] for row in rows]))
    assert set(unflatten(np.zeros((2, 4), np.float32), Box(-1.0, 1.0, (4,)))) == {"flat"}


@pytest.mark.sim
def test_video_of_meta_world() -> None:
    policy = untrained(observation_dim=39, action_dim=4)
    kwargs = {"horizon": 6, "render_size": 64}
    frames = record_video(policy, "metaworld/reach-v3", kwargs, seed=0, every=2)
    assert frames.shape == (3, 64, 64, 3) and frames.dtype == np.uint8
    assert frames.std() > 5 and not np.array_equal(frames[0], frames[-1])

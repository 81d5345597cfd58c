"""What every policy in the registry must do."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robopref.data.windows import Steps
from robopref.errors import InputError
from robopref.networks.persistence import WEIGHTS
from robopref.policies.base import Policy
from robopref.policies.dpo import DPO, DPOConfig
from robopref.policies.dppo import ScoredBatch
from robopref.policies.oppo import OPPOBatch
from robopref.policies.registry import FROM_LABELS, POLICIES, load_policy, make_policy
from robopref.policies.sac import SACConfig
from robopref.policies.segment_pairs import PairBatch
from robopref.policies.visual import EncoderConfig
from robopref.structures import SegmentBatch, TransitionBatch

pytestmark = pytest.mark.parametrize("name", sorted(POLICIES))


def batch(seed: int = 0) -> TransitionBatch:
    generator = torch.Generator().manual_seed(seed)
    observations = torch.randn(64, 5, generator=generator) * 3.0 + 1.0
    observations[:, 4] = 0.25  # a constant dimension
    actions = torch.rand(64, 2, generator=generator) * 2 - 1
    rewards = torch.randn(64, generator=generator)
    terminated = (torch.rand(64, generator=generator) < 0.1).float()
    return TransitionBatch(observations, actions, rewards, observations.roll(-1, 0), terminated)


def make(name: str, seed: int = 0) -> Policy:
    small: dict[str, Any] = {"width": 16, "heads": 2} if name == "oppo" else {"hidden": [16, 16]}
    if name == "visual":
        encoder = EncoderConfig(features=8, crop=1)
        small = {"learner": "sac", "options": SACConfig([16, 16]), "image_shape": [3, 8, 8]}
        small["encoder"] = encoder
    if name == "dpo":
        with TemporaryDirectory() as folder:
            make("behavior_cloning", seed).save(Path(folder))
            return make_policy(DPOConfig(folder), batch(), seed)
    return make_policy(POLICIES[name][1](**small), batch(), seed)


def images(observations: Any) -> Any:
    """Pictures of any observations: all they show is the first number."""
    shades = torch.as_tensor(observations)[:, 0].abs().mul(20.0).clamp(0, 255).to(torch.uint8)
    return shades[:, None, None, None].expand(-1, 3, 8, 8).contiguous()


def learning_batch(name: str, seed: int = 0) -> Any:
    """What `update` of a policy takes."""
    steps = batch(seed)
    if name == "visual":
        pictures = images(steps.observations), images(steps.next_observations)
        return dataclasses.replace(steps, images=pictures[0], next_images=pictures[1])
    if name in POLICIES and name not in FROM_LABELS:
        return steps
    observations, actions = steps.observations.view(16, 4, 5), steps.actions.view(16, 4, 2)
    if name == "dppo":
        scores = observations.sum((1, 2))
        return ScoredBatch(observations, actions, torch.ones(16, 4), scores)
    if name != "oppo":
        rows = torch.arange(64)
        joined = steps.take(torch.cat([rows, rows.roll(4), rows]))
        return PairBatch(joined, torch.ones(2, 16, 4), steps.terminated[:16], torch.ones(16))
    sequences = Steps(observations, actions)
    return OPPOBatch(
        SegmentBatch(observations, actions, torch.ones(16, 4)),
        sequences,
        sequences,
        Steps(observations.flip(0), actions.flip(0)),
        steps.terminated[:16],
        torch.ones(16),
    )


def fresh_actions(policy: Policy, *arguments: Any) -> Any:
    """The first actions of an episode."""
    policy.reset()
    seen = {"images": images(arguments[0]).numpy()} if policy.image_shape else {}
    return policy.act(*arguments, **seen)


def acting_weights(policy: Policy) -> torch.Tensor:
    """The weights that a saved policy acts with, in a row."""
    with TemporaryDirectory() as folder:
        policy.save(Path(folder))
        weights = load_file(Path(folder) / WEIGHTS)
    return torch.cat([value.flatten().double() for _, value in sorted(weights.items())])


def test_acts_within_bounds(name: str) -> None:
    policy = make(name)
    observations = batch().observations
    for deterministic in (True, False):
        actions = fresh_actions(policy, observations, deterministic)
        assert actions.shape == (64, 2) and actions.dtype == np.float32
        assert np.abs(actions).max() <= 1.0
    np.testing.assert_array_equal(
        fresh_actions(policy, observations.numpy()), fresh_actions(policy, observations)
    )


def test_random_actions_follow_the_generator(name: str) -> None:
    policy = make(name)
    first, second = (
        fresh_actions(policy, batch().observations, False, torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_an_update_changes_weights_and_returns_finite_scalars(name: str) -> None:
    policy = make(name)
    before = acting_weights(policy)
    metrics = policy.update(learning_batch(name))
    assert metrics
    for value in metrics.values():
        assert value.shape == () and not value.requires_grad and torch.isfinite(value)
    assert not torch.equal(acting_weights(policy), before)


def test_learning_lowers_the_actor_loss(name: str) -> None:
    policy = make(name)
    generator = torch.Generator().manual_seed(0)
    losses = [
        policy.update(learning_batch(name), generator)["actor_loss"].item() for _ in range(300)
    ]
    assert np.mean(losses[-30:]) < np.mean(losses[:30])


def test_same_seed_same_policy(name: str) -> None:
    policies = [make(name, seed) for seed in (1, 1, 2)]
    for policy in policies:
        for seed in range(3):
            policy.update(learning_batch(name, seed), torch.Generator().manual_seed(seed))
    first, second, other = (fresh_actions(policy, batch().observations) for policy in policies)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_saved_and_loaded_acts_the_same(name: str, tmp_path: Path) -> None:
    policy = make(name)
    policy.update(learning_batch(name))
    policy.save(tmp_path / "policy")
    loaded = load_policy(tmp_path / "policy")
    if isinstance(policy, DPO):  # becomes a policy of the kind that it tuned
        policy = policy.learner
    assert type(loaded) is type(policy) and loaded.config == policy.config
    np.testing.assert_array_equal(
        fresh_actions(loaded, batch(5).observations), fresh_actions(policy, batch(5).observations)
    )
    assert sorted(path.name for path in (tmp_path / "policy").iterdir()) == ["policy.json", WEIGHTS]


def test_wrong_observations_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"expects observations \(B, 5\), found \(1, 7\)"):
        fresh_actions(make(name), np.zeros((1, 7), dtype=np.float32))


def test_damaged_folders_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_policy(tmp_path / "nowhere")
    make(name).save(tmp_path)
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged"):
        load_policy(tmp_path)
    (tmp_path / "policy.json").write_text('{"policy": "unheard-of"}')
    with pytest.raises(InputError, match="not a saved policy"):
        load_policy(tmp_path)

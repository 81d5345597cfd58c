"""Updates that are replayed on a GPU, and the same calls where there is none."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from robopref.policies.base import Policy
from robopref.policies.gripper import GripperConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.recorded import RecordedUpdates
from robopref.policies.registry import make_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.sac import SACConfig
from robopref.structures import TransitionBatch
from robopref.training.offline import OfflineTrainingConfig, train_offline

CONFIGS = [
    IQLConfig(hidden=[64, 64]),
    SACConfig(hidden=[64, 64]),
    RLPDConfig(hidden=[64, 64], critics=5),
    SACConfig(hidden=[64, 64], gripper=GripperConfig([-1, 0, 1])),
]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def transitions(device: str) -> TransitionBatch:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(500, *shape, generator=generator)

    ends = (normal() > 2).float()
    return TransitionBatch(normal(6), normal(2).tanh(), normal(), normal(6), ends).to(device)


def parameters(policy: Policy) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in policy.parameters()])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("config", CONFIGS, ids=["iql", "sac", "rlpd", "gripper"])
@pytest.mark.parametrize("drawn", [True, False], ids=["source", "batch"])
def test_gives_what_plain_updates_give(config: object, device: str, drawn: bool) -> None:
    data, found = transitions(device), []
    for recorded in (False, True):
        policy = make_policy(config, data, seed=0, device=device)
        generator = torch.Generator(device).manual_seed(3)
        updates = RecordedUpdates(policy, generator)
        size = 32 * policy.batches_per_update
        metrics = []
        for _ in range(12):
            if not recorded:
                metrics.append(policy.update(data.draw(size, generator), generator))
            elif drawn:
                metrics.append(updates.from_source(data, size))
            else:
                metrics.append(updates.from_batch(data.draw(size, generator)))
        rows = torch.stack([torch.stack(list(update.values())) for update in metrics])
        found.append((parameters(policy), rows, generator.get_state()))
    for plain, replayed in zip(*found, strict=True):
        torch.testing.assert_close(replayed, plain, rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_a_copy_of_a_policy_in_use_learns_too(device: str) -> None:
    data = transitions(device)
    policy = make_policy(CONFIGS[0], data, seed=0, device=device)
    policy.update(data)
    other = copy.deepcopy(policy)
    policy.update(data)
    other.update(data)
    assert torch.equal(parameters(other), parameters(policy))


@pytest.mark.gpu
def test_a_policy_that_moves_to_a_gpu_goes_on_there() -> None:
    data = transitions("cpu")
    policy = make_policy(CONFIGS[0], data, seed=0)
    policy.update(data)
    policy.to("cuda")
    updates = RecordedUpdates(policy, torch.Generator("cuda").manual_seed(0))
    moved = data.to("cuda")
    for _ in range(6):
        metrics = updates.from_source(moved, 32)
    assert all(torch.isfinite(value) for value in metrics.values())


@pytest.mark.gpu
@pytest.mark.parametrize("config", CONFIGS, ids=["iql", "sac", "rlpd", "gripper"])
def test_resumes_on_a_gpu(config: object, tmp_path: Path) -> None:
    data = transitions("cuda")

    def train(folder: str, *lengths: int) -> Tensor:
        for updates in lengths:
            policy = make_policy(config, data, seed=0, device="cuda")
            training = OfflineTrainingConfig(
                updates, batch_size=32, log_every=10, checkpoint_every=10
            )
            train_offline(policy, data, training, tmp_path / folder)
        return parameters(policy)

    torch.testing.assert_close(train("twice", 20, 50), train("once", 50), rtol=0, atol=0)

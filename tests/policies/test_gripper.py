"""The gripper's own critic on problems whose answer is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from robopref.errors import InputError
from robopref.policies.gripper import GripperConfig, GripperCritic, GripperLearner
from robopref.policies.registry import load_policy, make_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.sac import SAC, SACConfig
from robopref.structures import TransitionBatch

COMMANDS = [-1.0, 0.0, 1.0]


def grasping(count: int, seed: int) -> TransitionBatch:
    """One step: it is right to close where the first entry is 1, to open where it is -1; the second
    entry says that the gripper is open. The hand is right at 0.4.
    """
    generator = torch.Generator().manual_seed(seed)
    near = torch.where(torch.rand(count, generator=generator) < 0.5, 1.0, -1.0)
    is_open = (torch.rand(count, generator=generator) < 0.5).float()
    actions = torch.rand(count, 2, generator=generator) * 2 - 1
    close = actions[:, 1].round()
    rewards = 0.1 * close * near - (actions[:, 0] - 0.4).square()
    observations = torch.stack([near, is_open], -1)
    return TransitionBatch(observations, actions, rewards, observations, torch.ones(count))


def trained(config: SACConfig) -> SAC:
    policy = make_policy(config, grasping(512, 0), 0)
    assert isinstance(policy, SAC)
    generator = torch.Generator().manual_seed(1)
    for seed in range(500):
        policy.update(grasping(128 * policy.batches_per_update, seed), generator)
    return policy


def config(**gripper: object) -> SACConfig:
    return SACConfig(
        hidden=[32, 32],
        learning_rate=3e-3,
        initial_temperature=0.05,
        entropy_per_action=-2,
        gripper=GripperConfig(COMMANDS, **gripper),  # type: ignore[arg-type]
    )


CASES = torch.tensor([[1.0, 1.0], [1.0, 0.0], [-1.0, 1.0], [-1.0, 0.0]])
"""Near or far, and the gripper open or closed."""


def test_learns_when_to_close_and_how_to_move() -> None:
    actions = trained(config()).act(CASES)
    assert actions[:, 0] == pytest.approx(0.4, abs=0.1)
    assert actions[:, 1].tolist() == [1.0, 1.0, -1.0, -1.0]


def test_does_not_turn_for_less_than_the_penalty() -> None:
    """Closing an open gripper earns 0.1 and costs 0.5; a closed one may go on closing."""
    actions = trained(config(penalty=-0.5, observation=1)).act(CASES)
    assert actions[0, 1] == 0.0 and actions[1, 1] == 1.0
    assert actions[2, 1] == -1.0 and actions[3, 1] == 0.0


def test_only_commands_that_turn_the_gripper_cost() -> None:
    critic = GripperCritic(GripperConfig(COMMANDS, -0.02, observation=0), 1, [4], False)
    observations = torch.tensor([[1.0]] * 3 + [[0.0]] * 3)
    given = critic.given(torch.tensor([-0.9, 0.1, 0.6] * 2))
    assert given.tolist() == [0, 1, 2] * 2
    expected = [0.0, 0.0, -0.02, -0.02, 0.0, 0.0]
    assert critic.penalties(observations, given).tolist() == pytest.approx(expected)


def test_gradient_is_autograds() -> None:
    torch.manual_seed(0)
    critic = GripperCritic(GripperConfig(COMMANDS, -0.1, observation=1), 2, [8], True)
    batch = grasping(20, 0)
    states = torch.cat([batch.observations, batch.next_observations + 0.3])
    now, following = critic.values(states)[0].split(20)
    best = following.argmax(-1, keepdim=True)
    given = critic.given(batch.actions[:, -1])
    rewards = batch.rewards + critic.penalties(batch.observations, given)
    ended = torch.arange(20) % 2
    value = critic.target_values(states[20:])[0].gather(1, best)[:, 0]
    targets = rewards + 0.9 * (1 - ended) * value
    loss = (now.gather(1, given[:, None])[:, 0] - targets.detach()).square().mean()
    expected: list[Tensor] = list(torch.autograd.grad(loss, list(critic.values.parameters())))
    learner = GripperLearner(critic)
    batch = TransitionBatch(
        batch.observations, batch.actions, batch.rewards, batch.next_observations, ended.float()
    )
    found = learner.learn(states, batch, 0.9)
    torch.testing.assert_close(found, loss.detach())
    for parameter, gradient in zip(critic.values.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_the_hand_learns_as_without_a_gripper() -> None:
    """Actor and critics see an action without the gripper, whatever that is told."""
    batch = grasping(64, 0)
    with_gripper = make_policy(config(), batch, 0)
    hand_alone = TransitionBatch(
        batch.observations, batch.actions[:, :1], batch.rewards, batch.next_observations,
        batch.terminated,
    )  # fmt: skip
    plain = make_policy(SACConfig(hidden=[32, 32]), hand_alone, 0)
    assert isinstance(with_gripper, SAC) and isinstance(plain, SAC)
    assert [parameter.shape for parameter in with_gripper.actor.parameters()] == [
        parameter.shape for parameter in plain.actor.parameters()
    ]
    assert with_gripper.act(batch.observations).shape == (64, 2)


@pytest.mark.parametrize("critic_steps", [1, 2])
def test_is_saved_with_the_policy(tmp_path: Path, critic_steps: int) -> None:
    settings = RLPDConfig(
        [16], critics=3, critic_steps=critic_steps, gripper=GripperConfig(COMMANDS)
    )
    policy = make_policy(settings, grasping(64, 0), 0)
    metrics = policy.update(grasping(64, 1), torch.Generator().manual_seed(0))
    assert metrics["gripper_loss"] > 0
    policy.save(tmp_path)
    loaded = load_policy(tmp_path)
    assert (loaded.act(CASES) == policy.act(CASES)).all()
    assert loaded.config.gripper == settings.gripper


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"commands": [1.0]}, "two or more"),
        ({"commands": [-1.0, 2.0]}, "within"),
        ({"commands": COMMANDS, "penalty": 0.02, "observation": 0}, "must not be above 0"),
        ({"commands": COMMANDS, "penalty": -0.02}, "gripper.observation"),
    ],
)
def test_refuses(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GripperConfig(**settings)  # type: ignore[arg-type]


def test_refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="has 2 entries"):
        make_policy(config(penalty=-0.1, observation=2), grasping(8, 0), 0)
    lone = grasping(8, 0)
    lone = TransitionBatch(
        lone.observations, lone.actions[:, :1], lone.rewards, lone.next_observations,
        lone.terminated,
    )  # fmt: skip
    with pytest.raises(InputError, match="no dimension beside"):
        make_policy(config(), lone, 0)

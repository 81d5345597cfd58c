"""SAC on problems whose answer is known."""

import pytest
import torch

from robopref.errors import InputError
from robopref.policies.registry import make_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.sac import SAC, SACConfig
from robopref.structures import TransitionBatch


def bandit(count: int, seed: int) -> TransitionBatch:
    """One step: the reward is highest at action 0.4 where the observation is 1, -0.4 at -1."""
    generator = torch.Generator().manual_seed(seed)
    observations = torch.where(torch.rand(count, 1, generator=generator) < 0.5, 1.0, -1.0)
    actions = torch.rand(count, 1, generator=generator) * 2 - 1
    rewards = -10.0 * (actions - 0.4 * observations).square().squeeze(-1)
    return TransitionBatch(observations, actions, rewards, observations, torch.ones(count))


@pytest.mark.parametrize(
    "config",
    [
        SACConfig([32, 32], learning_rate=3e-3, initial_temperature=0.05, entropy_per_action=-2),
        RLPDConfig([32, 32], learning_rate=3e-3, initial_temperature=0.05, entropy_per_action=-2),
    ],
    ids=["sac", "rlpd"],
)
def test_finds_the_best_action(config: SACConfig) -> None:
    policy = make_policy(config, bandit(512, 0), 0)
    generator = torch.Generator().manual_seed(1)
    for seed in range(400 if config.critics == 2 else 300):
        metrics = policy.update(bandit(128, seed), generator)
    actions = policy.act(torch.tensor([[1.0], [-1.0]]))
    assert actions[:, 0] == pytest.approx([0.4, -0.4], abs=0.06)
    assert metrics["entropy"].item() == pytest.approx(-2.0, abs=0.6)


def test_values_of_a_chain() -> None:
    """Reward 1 for ever: without entropy in the backup Q is 1 / (1 - discount)."""
    config = SACConfig(
        hidden=[32], learning_rate=1e-2, discount=0.5, target_update_rate=0.1, backup_entropy=False
    )
    states = torch.ones(64, 1)
    actions = torch.linspace(-1, 1, 64)[:, None]
    batch = TransitionBatch(states, actions, torch.ones(64), states, torch.zeros(64))
    policy = make_policy(config, batch, 0)
    for _ in range(300):
        metrics = policy.update(batch, torch.Generator().manual_seed(0))
    assert metrics["value"].item() == pytest.approx(2.0, abs=0.05)


def test_critic_steps_use_different_parts_and_the_actor_the_last() -> None:
    """Two critic steps equal a step of the critics on the even rows, then a full one on the odd."""
    batch = bandit(64, 0)
    whole = make_policy(SACConfig(hidden=[16], critic_steps=2), batch, 0)
    parts = make_policy(SACConfig(hidden=[16]), batch, 0)
    assert isinstance(parts, SAC) and whole.batches_per_update == 2
    whole.update(batch, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        parts._step(batch[0::2], generator, with_actor=False)
    parts.update(batch[1::2], generator)
    for first, second in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_critics": 3}, "target_critics=3: must lie within 1 and sac.critics=2"),
        ({"discount": 1.5}, "sac.discount: must be within"),
        ({"critic_steps": 0}, "sac.critic_steps: must be positive"),
        ({"hidden": []}, "needs positive widths"),
    ],
)
def test_refusals(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SACConfig(**options)

import pytest
import torch

from robopref.errors import InputError
from robopref.policies.iql import IQL, IQLConfig
from robopref.structures import TransitionBatch


def chain(terminated: float) -> TransitionBatch:
    """One state that leads to itself, reward 1."""
    ones = torch.ones(64)
    states = torch.zeros(64, 1)
    actions = torch.zeros(64, 1)
    return TransitionBatch(states, actions, ones, states, terminated * ones)


@pytest.mark.parametrize(("terminated", "value"), [(1.0, 1.0), (0.0, 2.0)])
def test_value_goes_on_after_truncation_and_ends_at_termination(
    terminated: float, value: float
) -> None:
    # with discount 0.5 the endless chain is worth 1 + 0.5 + 0.25 + ... = 2
    torch.manual_seed(0)
    config = IQLConfig(hidden=[16], discount=0.5, target_update_rate=0.1, learning_rate=1e-2)
    policy = IQL(config, 1, 1)
    for _ in range(400):
        metrics = policy.update(chain(terminated))
    assert metrics["value"].item() == pytest.approx(value, abs=0.05)


def test_actor_prefers_the_rewarded_action() -> None:
    # a bandit: half the data does +0.8 (reward 1), half -0.8 (reward 0)
    torch.manual_seed(0)
    actions = torch.tensor([[0.8], [-0.8]]).repeat(64, 1)
    rewards = (actions[:, 0] > 0).float()
    states = torch.zeros(128, 1)
    batch = TransitionBatch(states, actions, rewards, states, torch.ones(128))
    policy = IQL(IQLConfig(hidden=[32], inverse_temperature=10.0, learning_rate=1e-2), 1, 1)
    for _ in range(800):
        policy.update(batch)
    assert policy.act(torch.zeros(1, 1))[0, 0] > 0.7


def test_update_does_not_touch_the_batch() -> None:
    batch = chain(0.0)
    tensors = {name: values for name, values in vars(batch).items() if values is not None}
    copies = {name: values.clone() for name, values in tensors.items()}
    IQL(IQLConfig(hidden=[8]), 1, 1).update(batch)
    assert all(torch.equal(values, copies[name]) for name, values in tensors.items())


def test_target_critic_follows_slowly() -> None:
    policy = IQL(IQLConfig(hidden=[8], target_update_rate=0.25), 1, 1)
    before = policy.target_critic.layers[0].weight.clone()
    policy.update(chain(0.0))
    expected = 0.75 * before + 0.25 * policy.critic.layers[0].weight
    torch.testing.assert_close(policy.target_critic.layers[0].weight, expected)


def test_acts_with_the_average_of_the_actor() -> None:
    policy = IQL(IQLConfig(hidden=[8], actor_average_rate=0.25, learning_rate=1e-2), 1, 1)
    before = policy.averaged_actor.trunk.layers[0].weight.clone()
    policy.update(chain(0.0))
    expected = 0.75 * before + 0.25 * policy.actor.trunk.layers[0].weight
    torch.testing.assert_close(policy.averaged_actor.trunk.layers[0].weight, expected)
    observations = torch.ones(1, 1)
    action = policy.averaged_actor(observations).detach().numpy()
    assert policy.act(observations) == action
    assert policy.act(observations) != policy.actor(observations).detach().numpy()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"expectile": 1.5}, "iql.expectile"),
        ({"hidden": []}, "iql.hidden"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        IQLConfig(**settings)  # type: ignore[arg-type]

"""Gradients by hand against autograd's of the same losses, and whole updates against autograd."""

import copy

import pytest
import torch
from torch import Tensor

from robopref.networks.actor_critic import GaussianActor, SquashedGaussianActor
from robopref.policies import gradients, losses
from robopref.policies.base import Policy
from robopref.policies.iql import IQL, IQLConfig
from robopref.policies.registry import new_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.policies.sac import SAC, SACConfig
from robopref.structures import TransitionBatch

SIZES = (5, 3)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def transitions(count: int) -> TransitionBatch:
    observation_dim, action_dim = SIZES
    return TransitionBatch(
        normal(count, observation_dim, seed=1),
        normal(count, action_dim, seed=2).tanh(),
        normal(count, seed=3),
        normal(count, observation_dim, seed=4),
        (torch.arange(count) % 5 == 0).float(),
        demonstrated=(torch.arange(count) < count // 2).float(),
    )


def test_expectile() -> None:
    q, v = normal(9), normal(9, seed=1).requires_grad_()
    loss = losses.expectile_loss(q - v, 0.8)
    found, gradient = gradients.expectile_gradient((q - v).detach(), 0.8)
    torch.testing.assert_close(found, loss.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(loss, v)[0])


def test_cloning() -> None:
    mean, actions = normal(4, 3).requires_grad_(), normal(4, 3, seed=1).tanh()
    weights = torch.tensor([1.0, 0.0, 1.0, 0.0])
    loss = losses.cloning_loss(torch.tanh(mean), actions, weights)
    found, gradient = gradients.cloning_gradient(mean.detach(), actions, weights)
    torch.testing.assert_close(found, loss.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(loss, mean)[0])
    # Nobody to clone: nothing to learn.
    none, gradient = gradients.cloning_gradient(mean.detach(), actions, torch.zeros(4))
    assert none == 0.0 and not gradient.any()


def test_critic() -> None:
    values, targets = normal(3, 9).requires_grad_(), normal(9, seed=1)
    loss = losses.critic_loss(values, targets)
    found, gradient = gradients.critic_gradient(values.detach(), targets)
    torch.testing.assert_close(found, loss.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(loss, values)[0])


@pytest.mark.parametrize("log_std", [0.3, -7.0, 4.0], ids=["inside", "below", "above"])
def test_weighted_regression(log_std: float) -> None:
    torch.manual_seed(0)
    actor = GaussianActor(5, [8], 3)
    torch.nn.init.constant_(actor.log_std, log_std)
    observations, actions, weights = normal(9, 5), normal(9, 3, seed=1), normal(9, seed=2).exp()
    outputs = actor.trunk(observations)[0]
    loss = losses.weighted_regression_loss(actor.log_prob(observations, actions), weights)
    loss.backward()
    with torch.no_grad():
        found = gradients.weighted_regression_gradients(outputs, actor.log_std, actions, weights)
    torch.testing.assert_close(found.loss, loss.detach())
    torch.testing.assert_close(found.log_std, actor.log_std.grad, rtol=1e-5, atol=1e-5)
    bias = actor.trunk.linear_layers[-1].bias.grad
    torch.testing.assert_close(found.trunk.sum(0), bias[0, 0])


def test_soft_actor() -> None:
    """A critic that is a quadratic of the action, so that its gradient is known."""
    actor = SquashedGaussianActor(5, [8], 3, False)
    torch.nn.init.normal_(actor.trunk.linear_layers[-1].weight, std=4.0)  # some are clamped
    observations, temperature = normal(64, 5), torch.tensor(0.3)
    generator = torch.Generator().manual_seed(7)
    actions, log_probs = actor.sample(observations, generator)
    loss = losses.soft_actor_loss(-actions.square().sum(-1), log_probs, temperature)
    loss.backward()
    with torch.no_grad():
        noise = normal(64, 3, seed=7)
        drawn = gradients.squashed_actions(actor.trunk(observations)[0], noise)
        own = 2.0 * drawn.actions / 64
        found = gradients.soft_actor_gradients(drawn, own, temperature)
    torch.testing.assert_close(drawn.actions, actions.detach())
    torch.testing.assert_close(drawn.log_probs, log_probs.detach(), rtol=1e-4, atol=1e-4)
    bias = actor.trunk.linear_layers[-1].bias.grad
    torch.testing.assert_close(found.sum(0), bias[0, 0], rtol=1e-4, atol=1e-5)
    assert 0 < drawn.within.mean() < 1


def iql_by_autograd(policy: IQL, batch: TransitionBatch) -> None:
    """Sets the gradients of Algorithm 1's three losses."""
    pairs = torch.cat([batch.observations, batch.actions], -1)
    with torch.no_grad():
        target_q = policy.target_critic(pairs).squeeze(-1).amin(0)
        next_v = policy.value(batch.next_observations)[0].squeeze(-1)
    v = policy.value(batch.observations)[0].squeeze(-1)
    config = policy.config
    targets = losses.td_target(batch.rewards, config.discount, batch.terminated, next_v)
    weights = losses.advantage_weights((target_q - v).detach(), config.inverse_temperature)
    log_probs = policy.actor.log_prob(batch.observations, batch.actions)
    losses.expectile_loss(target_q - v, config.expectile).backward(
        inputs=list(policy.value.parameters())
    )
    critic_loss = losses.critic_loss(policy.critic(pairs).squeeze(-1), targets)
    inputs = [batch.observations] if batch.observations.requires_grad else []
    critic_loss.backward(inputs=[*policy.critic.parameters(), *inputs])
    losses.weighted_regression_loss(log_probs, weights).backward(
        inputs=[*policy.actor.parameters(), *inputs]
    )


def sac_by_autograd(policy: SAC, batch: TransitionBatch) -> None:
    """Sets the gradients of the critics', the actor's and the temperature's losses."""
    config, generator = policy.config, torch.Generator().manual_seed(5)
    size = len(batch)
    states = torch.cat([batch.observations, batch.next_observations])
    actions, log_probs = policy.actor.sample(states, generator)
    temperature = policy.log_temperature.exp().detach()
    members = torch.arange(config.critics)
    if config.target_critics < config.critics:
        members = torch.randperm(config.critics, generator=generator)[: config.target_critics]
    with torch.no_grad():
        next_pairs = torch.cat([batch.next_observations, actions[size:]], -1)
        next_q = policy.target_critic(next_pairs).squeeze(-1)[members]
        next_values = losses.soft_value(next_q, log_probs[size:], temperature)
        targets = losses.td_target(batch.rewards, config.discount, batch.terminated, next_values)
    own_pairs = torch.cat([batch.observations, actions[:size]], -1)
    own = policy.critic(own_pairs).squeeze(-1)
    value = own.mean(0) if config.actor_reads_mean else own.amin(0)
    actor_loss = losses.soft_actor_loss(value, log_probs[:size], temperature)
    if config.cloning_weight:
        theirs = policy.critic(torch.cat([batch.observations, batch.actions], -1)).squeeze(-1)
        better = theirs.mean(0) > own.mean(0)
        assert better.any() and not better.all()
        told = torch.tanh(policy.actor.trunk(batch.observations)[0, :, : policy.action_dim])
        assert batch.demonstrated is not None
        cloning = losses.cloning_loss(told, batch.actions, batch.demonstrated * better)
        actor_loss = actor_loss + config.cloning_weight * cloning
    entropy = config.entropy_per_action * policy.action_dim
    heat = losses.temperature_loss(policy.log_temperature, log_probs[:size], entropy)
    torch.autograd.backward(
        [actor_loss, heat], inputs=[*policy.actor.parameters(), policy.log_temperature]
    )
    pairs = torch.cat([batch.observations, batch.actions], -1)
    critic_loss = losses.critic_loss(policy.critic(pairs).squeeze(-1), targets)
    inputs = [batch.observations] if batch.observations.requires_grad else []
    critic_loss.backward(inputs=[*policy.critic.parameters(), *inputs])


@pytest.mark.parametrize(
    "config",
    [
        IQLConfig([16, 8]),
        SACConfig([16, 8]),
        SACConfig([16], critics=4, target_critics=2, actor_reads_mean=True),
        RLPDConfig([16, 8], critic_steps=1),
        RLPDConfig([16, 8], critic_steps=1, cloning_weight=0.5),
    ],
    ids=["iql", "sac", "redq", "rlpd", "cloning"],
)
def test_update_has_the_gradients_of_autograd(config: IQLConfig | SACConfig) -> None:
    batch, twin = transitions(32), transitions(32)
    for each in (batch, twin):  # as a visual policy does
        each.observations.requires_grad_()
    policy = new_policy(config, *SIZES, seed=0)
    plain = copy.deepcopy(policy)
    policy.update(batch, torch.Generator().manual_seed(5))
    if isinstance(plain, IQL):
        iql_by_autograd(plain, twin)
    else:
        assert isinstance(plain, SAC)
        sac_by_autograd(plain, twin)
    compared = 0
    for (name, found), expected in zip(policy.named_parameters(), plain.parameters(), strict=True):
        if expected.requires_grad:
            assert found.grad is not None and expected.grad is not None, name
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-6, msg=name)
            compared += 1
    assert compared >= 9
    found, expected = batch.observations.grad, twin.observations.grad
    assert found is not None and expected is not None
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("config", [IQLConfig([8]), SACConfig([8])], ids=["iql", "sac"])
def test_a_copy_goes_on_by_itself(config: IQLConfig | SACConfig) -> None:
    """A copy made in mid-training learns the same and leaves the first one alone."""

    def train(policy: Policy) -> list[Tensor]:
        for seed in range(3):
            policy.update(transitions(16), torch.Generator().manual_seed(seed))
        return [value.clone() for value in policy.parameters()]

    policy = new_policy(config, *SIZES, seed=0)
    train(policy)
    twin = copy.deepcopy(policy)
    before = [value.clone() for value in policy.parameters()]
    learned = train(twin)
    for value, former in zip(policy.parameters(), before, strict=True):
        torch.testing.assert_close(value, former, rtol=0, atol=0)
    for value, expected in zip(train(policy), learned, strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=0)

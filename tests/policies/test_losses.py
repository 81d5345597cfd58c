import math

import pytest
import torch

from robopref.policies.losses import (
    advantage_weights,
    critic_loss,
    expectile_loss,
    soft_actor_loss,
    soft_value,
    td_target,
    temperature_loss,
    weighted_regression_loss,
)


def test_expectile_loss_worked_numbers() -> None:
    # 0.7 * 2^2 = 2.8 and 0.3 * 1^2 = 0.3
    assert expectile_loss(torch.tensor([2.0, -1.0]), 0.7).item() == pytest.approx(3.1 / 2)


@pytest.mark.parametrize(("expectile", "minimum"), [(0.5, 0.5), (0.9, 0.9)])
def test_expectile_of_a_fair_coin(expectile: float, minimum: float) -> None:
    # the tau-expectile of a variable that is 0 or 1 with equal chance is tau
    coin = torch.tensor([0.0, 1.0])
    grid = torch.linspace(0.0, 1.0, 1001)
    losses = torch.stack([expectile_loss(coin - value, expectile) for value in grid])
    assert grid[losses.argmin()].item() == pytest.approx(minimum, abs=1e-3)


def test_td_target_stops_at_termination_only() -> None:
    target = td_target(
        torch.tensor([1.0, 1.0]), 0.9, torch.tensor([0.0, 1.0]), torch.tensor([10.0, 10.0])
    )
    torch.testing.assert_close(target, torch.tensor([10.0, 1.0]))


def test_critic_loss_sums_over_critics_and_stops_gradients() -> None:
    values = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    targets = torch.tensor([0.0, 2.0], requires_grad=True)
    loss = critic_loss(values, targets)
    assert loss.item() == pytest.approx(0.5 + 2.0)
    loss.backward()
    assert targets.grad is None


def test_advantage_weights_are_exponential_and_clipped() -> None:
    weights = advantage_weights(torch.tensor([0.0, 1.0, 50.0]), 3.0)
    torch.testing.assert_close(weights, torch.tensor([1.0, math.exp(3.0), 100.0]))


def test_weighted_regression_worked_numbers() -> None:
    loss = weighted_regression_loss(torch.tensor([-1.0, -2.0]), torch.tensor([3.0, 0.5]))
    assert loss.item() == pytest.approx((3.0 + 1.0) / 2)


def test_soft_value_worked_numbers() -> None:
    values = torch.tensor([[1.0, 5.0], [2.0, 4.0]])
    log_probs = torch.tensor([-1.0, 2.0])
    torch.testing.assert_close(soft_value(values, log_probs, 0.5), torch.tensor([1.5, 3.0]))
    torch.testing.assert_close(soft_value(values, log_probs, 0.0), torch.tensor([1.0, 4.0]))


def test_soft_actor_loss_worked_numbers() -> None:
    loss = soft_actor_loss(torch.tensor([1.0, 3.0]), torch.tensor([-2.0, 0.0]), torch.tensor(0.5))
    assert loss.item() == pytest.approx(((-1.0 - 1.0) + (0.0 - 3.0)) / 2)


def test_temperature_rises_while_the_entropy_is_too_low() -> None:
    log_temperature = torch.tensor(0.0, requires_grad=True)
    temperature_loss(log_temperature, torch.tensor([2.0, 4.0]), target_entropy=-1.0).backward()
    assert log_temperature.grad is not None
    assert log_temperature.grad.item() == pytest.approx(-2.0)  # entropy -3 is below -1: upwards

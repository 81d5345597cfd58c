"""Batched Sinkhorn, with POT as the reference."""

import numpy as np
import ot
import pytest
import torch

from robopref.optimal_transport.sinkhorn import sinkhorn_plans, sinkhorn_potentials


def sequences(count: int, length: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(count, length, 8, generator=generator).cumsum(1)
    return torch.nn.functional.normalize(steps, dim=-1)


def uniform(lengths: list[int], longest: int) -> torch.Tensor:
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return mask / torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("regularization", [1.0, 0.1, 0.03])
def test_plans_are_those_of_pot(regularization: float) -> None:
    costs = torch.cdist(sequences(6, 20, 0), sequences(6, 30, 1))
    first, second = uniform([20] * 6, 20), uniform([30] * 6, 30)
    plans = sinkhorn_plans(costs, first, second, regularization, tolerance=1e-7)
    for plan, cost in zip(plans, costs.double().numpy(), strict=True):
        exact = ot.sinkhorn(
            np.full(20, 1 / 20), np.full(30, 1 / 30), cost, regularization,
            method="sinkhorn_log", stopThr=1e-10, numItermax=20_000,
        )  # fmt: skip
        assert np.abs(plan.numpy() - exact).max() < 1e-6


def test_padding_takes_no_mass_and_changes_nothing() -> None:
    costs = torch.cdist(sequences(2, 12, 2), sequences(2, 12, 3))
    masses = uniform([12, 7], 12), uniform([9, 12], 12)
    costs[1, 7:] = 1e3  # whatever stands there
    plans = sinkhorn_plans(costs, *masses, 0.1, tolerance=1e-7)
    alone = sinkhorn_plans(
        costs[1:, :7], uniform([7], 7), uniform([12], 12), 0.1, tolerance=1e-7
    )  # fmt: skip
    assert not plans[0, :, 9:].any()
    assert not plans[1, 7:].any()
    torch.testing.assert_close(plans[1:, :7], alone, atol=1e-6, rtol=0)


def test_marginals_hold_for_costs_far_beyond_the_regularization() -> None:
    costs = torch.cdist(sequences(3, 25, 4), sequences(3, 25, 5)) + 50.0
    masses = uniform([25] * 3, 25)
    plans = sinkhorn_plans(costs, masses, masses, 0.01, tolerance=1e-5, most_rounds=20_000)
    assert plans.isfinite().all()
    torch.testing.assert_close(plans.sum(2), masses, atol=1e-5, rtol=0)
    torch.testing.assert_close(plans.sum(1), masses, atol=1e-5, rtol=0)


def test_known_plan_of_two_points() -> None:
    # Symmetric 2 x 2 with costs 0 and 1: the diagonal holds 1 / (2 (1 + exp(-1 / reg))).
    costs = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    masses = torch.full((1, 2), 0.5)
    plan = sinkhorn_plans(costs, masses, masses, 0.5)[0]
    assert float(plan[0, 0]) == pytest.approx(0.5 / (1.0 + np.exp(-2.0)), abs=1e-6)
    assert float(plan[0, 1]) == pytest.approx(0.5 / (1.0 + np.exp(2.0)), abs=1e-6)


@pytest.mark.parametrize("regularization", [1.0, 0.02])
def test_potentials_carry_each_point_as_its_row_of_the_plan(regularization: float) -> None:
    costs = torch.cdist(sequences(4, 20, 0), sequences(4, 30, 1))
    masses = uniform([20] * 4, 20), uniform([30, 30, 30, 11], 30)
    plans = sinkhorn_plans(costs, *masses, regularization, 1e-6, 20_000)
    potentials = sinkhorn_potentials(costs, *masses, regularization, 1e-6, 20_000)
    rows = torch.softmax(potentials[:, None] - costs / regularization, 2)
    torch.testing.assert_close(rows / 20, plans, atol=1e-6, rtol=1e-3)

"""Worked numbers and identities of the transport plans."""

import numpy as np
import ot
import pytest

from robopref.optimal_transport.gromov_wasserstein import (
    balanced_plan,
    proximal_plan,
    semi_relaxed_plan,
    transport_objective,
)


def distances(points: np.ndarray) -> np.ndarray:
    return np.abs(points[:, None] - points[None]).astype(float)


LINE = distances(np.array([0.0, 0.1, 0.3, 0.7, 1.0]))


@pytest.mark.parametrize("solve", [balanced_plan, lambda s, t: proximal_plan(s, t, 0.01)])
def test_balanced_plans_have_uniform_marginals(solve) -> None:
    plan = solve(LINE, distances(np.array([0.0, 0.5, 1.0])))
    np.testing.assert_allclose(plan.sum(axis=1), 1 / 5, atol=1e-6)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / 3, atol=1e-6)


def test_identity_plan_of_a_space_with_itself_costs_nothing() -> None:
    assert transport_objective(None, LINE, LINE, np.eye(5) / 5, 1.0) == pytest.approx(
        0.0, abs=1e-12
    )


def test_objective_equals_the_sum_over_all_pairs_of_pairs() -> None:
    rng = np.random.default_rng(0)
    source, target = distances(rng.random(3)), distances(rng.random(4))
    cost, plan = rng.random((3, 4)), rng.random((3, 4))
    structure = sum(
        (source[i, k] - target[j, m]) ** 2 * plan[i, j] * plan[k, m]
        for i in range(3)
        for k in range(3)
        for j in range(4)
        for m in range(4)
    )
    expected = 0.3 * (cost * plan).sum() + 0.7 * structure
    assert transport_objective(cost, source, target, plan, 0.7) == pytest.approx(expected)


def test_semi_relaxed_columns_sum_to_one_and_rows_are_free() -> None:
    # Every target lies at the first source point: the others are not used.
    cost = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    plan = semi_relaxed_plan(cost, np.zeros((3, 3)), np.zeros((2, 2)), 0.0, 0.01)
    np.testing.assert_allclose(plan.sum(axis=0), 0.5)
    assert plan[0].sum() > 0.999


def test_without_structure_the_plan_is_a_softmax_of_the_cost() -> None:
    cost = np.random.default_rng(1).random((4, 3))
    expected = np.exp(-cost / 0.2)
    expected /= expected.sum(axis=0) * 3
    plan = semi_relaxed_plan(cost, np.zeros((4, 4)), np.zeros((3, 3)), 0.0, 0.2)
    np.testing.assert_allclose(plan, expected, atol=1e-5)


def test_fused_cost_breaks_the_tie_between_a_line_and_its_mirror_image() -> None:
    place = np.linspace(0.0, 1.0, 6)
    inside = distances(place)
    cost = (place[:, None] - place[None]) ** 2
    plan = semi_relaxed_plan(cost, inside, inside, 0.8, 0.02)
    assert (plan.argmax(axis=0) == np.arange(6)).all()
    mirrored = semi_relaxed_plan(cost[::-1], inside, inside, 0.8, 0.02)
    assert (mirrored.argmax(axis=0) == np.arange(6)[::-1]).all()


def test_small_temperature_reaches_the_objective_of_pot() -> None:
    rng = np.random.default_rng(2)
    source, target = distances(rng.random(8)), distances(rng.random(6))
    cost = rng.random((8, 6))
    uniform = np.full(6, 1 / 6)
    reference = ot.gromov.semirelaxed_fused_gromov_wasserstein(
        cost.T, target, source, uniform, symmetric=True, alpha=0.5
    ).T
    plan = semi_relaxed_plan(cost, source, target, 0.5, 0.002, iterations=500)
    ours, theirs = (transport_objective(cost, source, target, p, 0.5) for p in (plan, reference))
    assert ours <= theirs + 1e-3

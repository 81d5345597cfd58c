import math
from typing import Any

import numpy as np
import pytest
import torch

from robopref.rewards.losses import (
    bradley_terry_loss,
    davidson_loss,
    entropy_hinge,
    gaussian_preference_loss,
    lambda_loss,
    linear_preference_loss,
    plackett_luce_loss,
    rao_kupper_loss,
)

ONES = torch.ones(1)


def bradley_terry(logit: float, label: float) -> float:
    return float(bradley_terry_loss(torch.tensor([[logit]]), torch.tensor([label]), ONES))


def gaussian(mean: float, std: float, label: float, samples: int = 1) -> float:
    noise = torch.randn(samples, 1, 1, generator=torch.Generator().manual_seed(0))
    logit, spread = torch.tensor([[mean]]), torch.tensor([[std]])
    return float(gaussian_preference_loss(logit, spread, noise, torch.tensor([label]), ONES))


@pytest.mark.parametrize("label", [0.0, 0.3, 1.0])
def test_equal_sums_cost_log_2(label: float) -> None:
    assert bradley_terry(0.0, label) == pytest.approx(math.log(2.0))
    assert gaussian(0.0, 0.0, label) == pytest.approx(math.log(2.0))


def test_bradley_terry_worked_number() -> None:
    # P = sigmoid(log 3) = 3/4
    assert bradley_terry(math.log(3.0), 1.0) == pytest.approx(math.log(4.0 / 3.0))
    assert bradley_terry(math.log(3.0), 0.0) == pytest.approx(math.log(4.0))
    soft = 0.25 * math.log(4.0 / 3.0) + 0.75 * math.log(4.0)
    assert bradley_terry(math.log(3.0), 0.25) == pytest.approx(soft)


def test_swapping_the_sides_flips_the_label() -> None:
    assert bradley_terry(1.3, 0.2) == pytest.approx(bradley_terry(-1.3, 0.8))
    assert gaussian(1.3, 0.0, 0.2) == pytest.approx(gaussian(-1.3, 0.0, 0.8))


def test_confidence_weighs_pairs() -> None:
    logits, labels = torch.tensor([[2.0, -1.0]]), torch.tensor([1.0, 1.0])
    both = bradley_terry_loss(logits, labels, torch.tensor([2.0, 0.0]))
    assert float(both) == pytest.approx(bradley_terry(2.0, 1.0))


def test_members_are_kept_apart() -> None:
    logits = torch.tensor([[0.0], [math.log(3.0)]])
    losses = bradley_terry_loss(logits, torch.ones(1), ONES)
    torch.testing.assert_close(losses, torch.tensor([math.log(2.0), math.log(4.0 / 3.0)]))


def test_gaussian_without_spread_is_bradley_terry() -> None:
    assert gaussian(1.7, 0.0, 0.9, samples=5) == pytest.approx(bradley_terry(1.7, 0.9))


def test_gaussian_is_the_log_of_the_expected_probability() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    expected = np.sum(weights / (1.0 + np.exp(-(1.0 + 3.0 * nodes)))) / np.sqrt(2.0 * np.pi)
    assert gaussian(1.0, 3.0, 1.0, samples=200_000) == pytest.approx(-math.log(expected), abs=5e-3)


def test_a_wide_gaussian_pulls_no_harder_on_a_wrong_pair() -> None:
    """Gradient of the loss at a confident mean, for the right and for the flipped label."""
    noise = torch.randn(100_000, 1, 1, generator=torch.Generator().manual_seed(0))

    def pull(std: float, label: float) -> float:
        mean = torch.tensor([[5.0]], requires_grad=True)
        spread, labels = torch.tensor([[std]]), torch.tensor([label])
        gaussian_preference_loss(mean, spread, noise, labels, ONES).sum().backward()
        assert mean.grad is not None
        return abs(float(mean.grad))

    assert pull(0.01, 0.0) / pull(0.01, 1.0) > 100
    assert pull(50.0, 0.0) / pull(50.0, 1.0) < 1.3


def test_entropy_hinge_acts_below_the_preset_on_real_steps_only() -> None:
    log_std = torch.tensor([[[0.0, -1.0, -9.0]], [[1.0, 2.0, 0.0]]])
    weights = torch.tensor([[1.0, 1.0, 0.0]])
    gaps = entropy_hinge(log_std, torch.tensor(0.5), weights)
    torch.testing.assert_close(gaps, torch.tensor([(0.5 + 1.5) / 2.0, 0.0]))


def test_the_linear_model_is_a_ratio_of_scores() -> None:
    first, second = torch.tensor([[1.0]]), torch.tensor([[2.0]])
    for label, chance in ((1.0, 2.0 / 3.0), (0.0, 1.0 / 3.0)):
        loss = linear_preference_loss(first, second, torch.tensor([label]), ONES)
        assert loss.item() == pytest.approx(-math.log(chance), abs=2e-3)
    nothing = linear_preference_loss(torch.zeros(1, 1), torch.zeros(1, 1), ONES, ONES)
    assert nothing.item() == pytest.approx(math.log(2.0))


def test_rao_kupper_worked_numbers() -> None:
    # theta = 2 and equal sums: 1 / (1 + 2) for either, and so much for a tie.
    threshold = torch.tensor(math.log(2.0))
    for label in (0.0, 0.5, 1.0):
        loss = rao_kupper_loss(torch.zeros(1, 1), threshold, torch.tensor([label]), ONES)
        assert loss.item() == pytest.approx(math.log(3.0))
    # exp(d) = 2: second 2 / (2 + 2 * 1), first 1 / (1 + 2 * 2), a tie for the rest.
    logits = torch.tensor([[math.log(2.0)]])
    for label, chance in ((1.0, 0.5), (0.0, 0.2), (0.5, 0.3)):
        loss = rao_kupper_loss(logits, threshold, torch.tensor([label]), ONES)
        assert loss.item() == pytest.approx(-math.log(chance), rel=1e-5)


def test_davidson_worked_numbers() -> None:
    # exp(d) = 4 and nu = 2: odds 1 : 2 * 2 : 4.
    logits, log_tie = torch.tensor([[math.log(4.0)]]), torch.tensor(math.log(2.0))
    for label, chance in ((0.0, 1 / 9), (0.5, 4 / 9), (1.0, 4 / 9)):
        loss = davidson_loss(logits, log_tie, torch.tensor([label]), ONES)
        assert loss.item() == pytest.approx(-math.log(chance), rel=1e-5)


@pytest.mark.parametrize("model", [rao_kupper_loss, davidson_loss])
def test_swapping_a_pair_and_its_label_changes_nothing_with_ties(model: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(3, 20, generator=generator), torch.rand(20, generator=generator)
    tie, weights = torch.tensor(0.7), torch.rand(20, generator=generator)
    torch.testing.assert_close(
        model(logits, tie, labels, weights), model(-logits, tie, 1.0 - labels, weights)
    )


def test_plackett_luce_worked_numbers() -> None:
    # exp(s) = 4, 2, 1: the best first with 4 / 7, then 2 / 3
    scores = torch.tensor([[[4.0, 2.0, 1.0]]]).log()
    mask = torch.ones(1, 3, dtype=torch.bool)
    expected = -math.log(4.0 / 7.0 * 2.0 / 3.0)
    assert float(plackett_luce_loss(scores, mask, ONES)) == pytest.approx(expected)
    # what is on no place does not count, and a list of two is a pair
    pair = torch.tensor([[True, True, False]])
    assert float(plackett_luce_loss(scores, pair, ONES)) == pytest.approx(math.log(1.5))
    assert bradley_terry(-math.log(2.0), 0.0) == pytest.approx(math.log(1.5))


def test_lambda_loss_worked_numbers() -> None:
    scores, mask = torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 2, dtype=torch.bool)
    # gains 1 and 0, discounts log 2 and log 3
    weight = 1.0 / math.log(2.0) - 1.0 / math.log(3.0)
    expected = weight * math.log1p(math.exp(-1.0))
    assert float(lambda_loss(scores, mask, ONES)) == pytest.approx(expected)
    # an error at the top costs more than the same error at the bottom
    three = torch.ones(1, 3, dtype=torch.bool)
    top = lambda_loss(torch.tensor([[[1.0, 2.0, 0.0]]]), three, ONES)
    bottom = lambda_loss(torch.tensor([[[2.0, 0.0, 1.0]]]), three, ONES)
    assert float(top) > float(bottom)


@pytest.mark.parametrize("loss", [plackett_luce_loss, lambda_loss])
def test_places_that_are_not_taken_change_nothing(loss: Any) -> None:
    scores = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    mask, weights = torch.arange(4) < torch.tensor([[4], [2], [3]]), torch.tensor([1.0, 2.0, 0.5])
    total = loss(scores, mask, weights)
    alone = torch.stack([
        loss(scores[:, [i], :size], mask[[i], :size], weights[[i]])
        for i, size in enumerate((4, 2, 3))
    ]).mean(0)  # fmt: skip
    torch.testing.assert_close(total, alone)
    total.sum().backward()
    assert not scores.grad[:, ~mask].any() and scores.grad.isfinite().all()

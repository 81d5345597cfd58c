import numpy as np
import pytest

from robopref.errors import InputError
from robopref.evaluation.statistics import interquartile_mean, mean


def test_interquartile_mean_drops_the_outer_halves() -> None:
    scores = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [1000.0]])
    estimate = interquartile_mean(scores)
    assert estimate.value == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert estimate.low <= estimate.value <= estimate.high


def test_mean_of_tasks() -> None:
    scores = np.array([[0.0, 1.0], [1.0, 1.0]])
    estimate = mean(scores)
    assert estimate.value == pytest.approx(0.75)
    # only the first task varies: its mean lies in [0, 1]
    assert (estimate.low, estimate.high) == (0.5, 1.0)
    assert str(estimate) == "0.75 [0.50, 1.00]"


def test_same_seed_same_interval() -> None:
    scores = np.random.default_rng(0).random((5, 3))
    assert interquartile_mean(scores, seed=4) == interquartile_mean(scores, seed=4)


def test_bootstrap_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(40):
        estimate = mean(rng.normal(0.5, 0.1, (20, 2)), seed=trial, resamples=300)
        hits += estimate.low <= 0.5 <= estimate.high
    assert hits >= 34


def test_missing_scores_are_refused() -> None:
    with pytest.raises(InputError, match="finish the missing runs"):
        mean(np.array([[0.5, np.nan]]))

"""How good a learned reward is, measured against labels and the true reward."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences, check_dataset
from robopref.rewards.relabel import LearnedRewards, episode_sums, sum_differences

COVERAGE_LEVELS = tuple(np.arange(0.1, 0.95, 0.1))
"""Central intervals at which calibration is read off."""
CALIBRATION_BINS = 10
EPIC_STEPS, FOURIER_FEATURES, RIDGE = 20_000, 200, 1e-4
"""Of `epic_distance`: most steps; and of the regression behind it random features, and the penalty
as a share of their mean square."""


def label_accuracy(
    rewards: NDArray[np.float32], preferences: Preferences, dataset: TrajectoryDataset
) -> float:
    """Share of pairs whose preferred segment has the larger sum of rewards.

    Args:
        rewards: (N,) rewards of all steps of the dataset.
        preferences: labelled pairs that the reward was not trained on. Ties (0.5) are left out.
        dataset: the dataset of the pairs.

    Returns:
        Share in [0, 1]; equal sums count as half right.

    Raises:
        InputError: if the labels belong to another dataset or all of them are ties.
    """
    check_dataset(preferences, dataset)
    decided = preferences.labels != 0.5
    if not decided.any():
        raise InputError("preferences: every label is a tie, so no accuracy can be measured")
    pairs = preferences[decided]
    difference = sum_differences(rewards, pairs, dataset)
    agreement = np.sign(difference) * np.sign(pairs.labels - 0.5)
    return float(np.mean(0.5 + 0.5 * agreement))


def annotator_accuracies(
    rewards: NDArray[np.float32], preferences: Preferences, dataset: TrajectoryDataset
) -> dict[str, float]:
    """`label_accuracy` over the pairs of each person who decided any, by name."""
    found: dict[str, float] = {}
    for name in sorted(set(preferences.annotator)):
        own = preferences[np.array(preferences.annotator) == name]
        if (own.labels != 0.5).any():
            found[name] = label_accuracy(rewards, own, dataset)
    return found


def preference_calibration_error(
    rewards: NDArray[np.float32], preferences: Preferences, dataset: TrajectoryDataset
) -> float:
    """How far predicted chances of being preferred are from how often that is so.

    The expected calibration error (Naeini, Cooper, Hauskrecht, AAAI 2015) of
    `sigmoid(sum of the second - sum of the first)`, over ten bins of equally many pairs.

    Args:
        rewards: (N,) in log-odds.
        preferences: labelled pairs that the reward was not trained on.
        dataset: the dataset of the pairs.

    Returns:
        In [0, 1]; 0 is right.
    """
    check_dataset(preferences, dataset)
    difference = sum_differences(rewards, preferences, dataset)
    predicted = 0.5 + 0.5 * np.tanh(0.5 * difference)  # the sigmoid, without overflow
    # Whichever side is predicted: the order within a pair must not matter.
    sure = np.maximum(predicted, 1.0 - predicted)
    right = np.where(predicted >= 0.5, preferences.labels, 1.0 - preferences.labels)
    bins = np.array_split(np.argsort(sure, kind="stable"), min(CALIBRATION_BINS, len(sure)))
    gaps = [len(rows) * abs(float(np.mean(sure[rows] - right[rows]))) for rows in bins]
    return sum(gaps) / len(sure)


def reward_quality(learned: LearnedRewards, dataset: TrajectoryDataset) -> dict[str, float]:
    """Compares learned with true rewards.

    Returns:
        `epic_distance`; `return_spearman`: rank correlation of episode sums; `step_pearson`:
        correlation of step rewards; and, where the model predicts a standard deviation, the
        numbers of `std_calibration`. NaN where one side is constant.
    """
    true = dataset.rewards.astype(np.float64)
    mean = learned.mean.astype(np.float64)
    metrics = {
        "epic_distance": epic_distance(mean, true, dataset),
        "return_spearman": _correlation(
            stats.rankdata(episode_sums(mean, dataset)), stats.rankdata(dataset.returns)
        ),
        "step_pearson": _correlation(mean, true),
    }
    if learned.std is not None:
        metrics |= std_calibration(mean, learned.std.astype(np.float64), true)
    return metrics


def epic_distance(
    learned: NDArray[np.float64],
    true: NDArray[np.float64],
    dataset: TrajectoryDataset,
    discount: float = 0.99,
) -> float:
    """How far two rewards are apart, but for scale, zero and potential shaping.

    Gleave, Dennis, Legg, Russell, Leike: Quantifying Differences in Reward Functions, ICLR 2021,
    arXiv 2006.13900, definitions 4.1 and 4.7. Both are brought to a canonical form in which
    shaping cancels, `R + discount h(s') - h(s)` with `h(s)` the mean reward over actions and next
    states in `s`; the distance is `sqrt((1 - rho) / 2)` of their Pearson correlation.

    Different here: the true reward is known on recorded steps alone, so `h` is a regression of the
    rewards on the state (ridge, over random Fourier features), as good as the data cover states.

    Args:
        learned: (N,) rewards of all steps.
        true: (N,)
        dataset: whose steps they are.
        discount: of the shaping.

    Returns:
        In [0, 1]: 0 the same, 0.71 unrelated, 1 opposite; NaN where one is constant.
    """
    rng = np.random.default_rng(0)
    steps = np.sort(rng.permutation(dataset.num_steps)[:EPIC_STEPS])
    rows = dataset.observation_rows[steps]
    both = _fourier_features(dataset.flat_observations[np.concatenate([rows, rows + 1])], rng)
    here, after = np.split(both, 2)
    canonical = [
        rewards[steps] + (discount * after - here) @ _ridge(here, rewards[steps])
        for rewards in (learned, true)
    ]
    correlation = _correlation(canonical[0], canonical[1])
    return math.sqrt(max(1.0 - correlation, 0.0) / 2.0) if math.isfinite(correlation) else math.nan


def _fourier_features(states: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, F): constant, standardised states, and cosines of random projections of them (Rahimi and
    Recht: Random Features for Large-Scale Kernel Machines, NeurIPS 2007).
    """
    scale = states.std(axis=0, dtype=np.float64)
    moving = scale > 1e-6
    values = (states[:, moving] - states[:, moving].mean(axis=0, dtype=np.float64)) / scale[moving]
    width = np.sqrt(max(values.shape[1], 1))
    directions = rng.normal(size=(values.shape[1], FOURIER_FEATURES)) / width
    waves = np.cos(values @ directions + rng.uniform(0.0, 2.0 * np.pi, FOURIER_FEATURES))
    return np.concatenate([np.ones((len(values), 1)), values, waves], axis=1)


def _ridge(features: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F,): weights of the features."""
    gram = features.T @ features
    penalty = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.asarray(np.linalg.solve(gram + penalty, features.T @ values))


def std_calibration(
    mean: NDArray[np.float64], std: NDArray[np.float64], true: NDArray[np.float64]
) -> dict[str, float]:
    """Whether the predicted standard deviations fit the errors.

    Preferences leave scale and zero of a reward open, so the true rewards are first brought to
    the learned scale by the affine map of least squares. The residuals, divided by the predicted
    standard deviations, should then be standard normal.

    Args:
        mean: (N,) predicted mean.
        std: (N,) predicted standard deviation, positive.
        true: (N,) true rewards.

    Returns:
        `std_coverage_95`: share of residuals within 1.96 standard deviations (0.95 is right);
        `std_calibration_error`: mean over central intervals of 10 to 90 % of the absolute
        difference between the interval's nominal and actual share (0 is right);
        `std_error_spearman`: rank correlation of predicted standard deviation and absolute
        residual (does it tell where the reward is wrong?).
    """
    design = np.stack([true, np.ones_like(true)], axis=1)
    fitted = design @ np.linalg.lstsq(design, mean, rcond=None)[0]
    residuals = np.abs(mean - fitted)
    standardised = residuals / std
    gaps = [
        abs(float(np.mean(standardised <= stats.norm.ppf(0.5 + level / 2.0))) - level)
        for level in COVERAGE_LEVELS
    ]
    return {
        "std_coverage_95": float(np.mean(standardised <= stats.norm.ppf(0.975))),
        "std_calibration_error": float(np.mean(gaps)),
        "std_error_spearman": _correlation(stats.rankdata(std), stats.rankdata(residuals)),
    }


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])

import math
from dataclasses import replace

import numpy as np
import pytest

from robopref.errors import InputError
from robopref.evaluation.reward_quality import label_accuracy, reward_quality, std_calibration
from robopref.rewards.relabel import LearnedRewards
from tests.rewards.problems import labelled

DATASET, PREFERENCES = labelled()


def test_the_true_reward_is_perfect() -> None:
    assert label_accuracy(DATASET.rewards, PREFERENCES, DATASET) == 1.0
    assert label_accuracy(-DATASET.rewards, PREFERENCES, DATASET) == 0.0
    assert label_accuracy(0 * DATASET.rewards, PREFERENCES, DATASET) == 0.5
    quality = reward_quality(LearnedRewards(5.0 * DATASET.rewards + 1.0, None), DATASET)
    assert quality["return_spearman"] == pytest.approx(1.0)
    assert quality["step_pearson"] == pytest.approx(1.0)
    assert set(quality) == {"return_spearman", "step_pearson"}


def test_ties_are_left_out() -> None:
    labels = PREFERENCES.labels.copy()
    labels[:50] = 0.5
    assert label_accuracy(DATASET.rewards, replace(PREFERENCES, labels=labels), DATASET) == 1.0
    with pytest.raises(InputError, match="every label is a tie"):
        label_accuracy(DATASET.rewards, replace(PREFERENCES, labels=0 * labels + 0.5), DATASET)


def test_a_constant_reward_has_no_correlation() -> None:
    quality = reward_quality(LearnedRewards(0 * DATASET.rewards, None), DATASET)
    assert math.isnan(quality["return_spearman"])


def test_calibration_of_known_errors() -> None:
    rng = np.random.default_rng(0)
    true, std = rng.normal(size=50_000), rng.uniform(0.1, 1.0, 50_000)
    mean = 3.0 * true - 1.0 + std * rng.normal(size=50_000)
    right = std_calibration(mean, std, true)
    assert right["std_coverage_95"] == pytest.approx(0.95, abs=0.01)
    assert right["std_calibration_error"] < 0.01
    assert right["std_error_spearman"] > 0.4
    narrow = std_calibration(mean, std / 10.0, true)
    assert narrow["std_coverage_95"] < 0.25
    assert narrow["std_calibration_error"] > 0.3

import math
from dataclasses import replace

import numpy as np
import pytest

from robopref.data.segments import all_segments
from robopref.errors import InputError
from robopref.evaluation.reward_quality import (
    annotator_accuracies,
    epic_distance,
    label_accuracy,
    preference_calibration_error,
    reward_quality,
    std_calibration,
)
from robopref.evaluation.sensitivity import reward_sensitivity
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import uniform_pairs
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import LearnedRewards
from tests.rewards.problems import NOW, labelled

DATASET, PREFERENCES = labelled()


def test_the_true_reward_is_perfect() -> None:
    assert label_accuracy(DATASET.rewards, PREFERENCES, DATASET) == 1.0
    assert label_accuracy(-DATASET.rewards, PREFERENCES, DATASET) == 0.0
    assert label_accuracy(0 * DATASET.rewards, PREFERENCES, DATASET) == 0.5
    quality = reward_quality(LearnedRewards(5.0 * DATASET.rewards + 1.0, None), DATASET)
    assert quality["return_spearman"] == pytest.approx(1.0)
    assert quality["step_pearson"] == pytest.approx(1.0)
    assert quality["epic_distance"] == pytest.approx(0.0, abs=1e-3)
    assert set(quality) == {"epic_distance", "return_spearman", "step_pearson"}


def test_shaping_does_not_count_as_a_difference() -> None:
    true = DATASET.rewards.astype(np.float64)
    rng = np.random.default_rng(0)
    potential = DATASET.flat_observations.astype(np.float64) @ np.array([0.0, 2.0, -1.0])
    rows = DATASET.observation_rows
    shaped = 3.0 * true + 1.0 + 0.99 * potential[rows + 1] - potential[rows]
    assert np.corrcoef(shaped, true)[0, 1] < 0.8
    assert epic_distance(shaped, true, DATASET) < 0.15
    noise = rng.normal(size=len(true))
    assert epic_distance(noise, true, DATASET) == pytest.approx(0.5**0.5, abs=0.05)
    assert epic_distance(-true, true, DATASET) == pytest.approx(1.0, abs=1e-3)
    assert math.isnan(epic_distance(0.0 * true, true, DATASET))


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


def test_each_annotator_is_measured_alone() -> None:
    flipped = np.arange(len(PREFERENCES)) % 2 == 0
    both = replace(
        PREFERENCES,
        labels=np.where(flipped, 1.0 - PREFERENCES.labels, PREFERENCES.labels),
        annotator=np.where(flipped, "ana", "ben"),
    )
    assert annotator_accuracies(DATASET.rewards, both, DATASET) == {"ana": 0.0, "ben": 1.0}
    ties = replace(both, labels=np.where(flipped, 0.5, both.labels))
    assert annotator_accuracies(DATASET.rewards, ties, DATASET) == {"ben": 1.0}


def test_calibration_of_chances() -> None:
    def error(scale: float) -> float:
        return preference_calibration_error(scale * DATASET.rewards, asked, DATASET)

    rng = np.random.default_rng(0)
    pairs = uniform_pairs(all_segments(DATASET, 3), 4_000, rng)
    sums = [
        DATASET.rewards[first[:, None] + np.arange(3)].sum(1)
        for first in (DATASET.offsets[side.episodes] + side.starts for side in pairs)
    ]
    labels = (rng.random(4_000) < 1.0 / (1.0 + np.exp(sums[0] - sums[1]))).astype(float)
    asked = Preferences.from_labels(
        DATASET, *pairs, labels, source="scripted", annotator="test", created_at=NOW
    )
    assert error(1.0) < 0.03  # as sure as it should be
    assert error(20.0) > 0.1 and error(0.01) > 0.1  # too sure, and not sure enough


def test_a_reward_looks_at_what_it_was_learned_from() -> None:
    model = make_reward(BradleyTerryConfig(), DATASET, seed=0)
    model.fit(PREFERENCES, DATASET, seed=0)
    looks = reward_sensitivity(model, DATASET, np.random.default_rng(0))
    assert list(looks) == ["state[0]", "state[1]", "state[2]", "action[0]", "action[1]"]
    assert sum(looks.values()) == pytest.approx(1.0)
    assert looks["state[0]"] > 0.6 and looks["action[0]"] == 0.0

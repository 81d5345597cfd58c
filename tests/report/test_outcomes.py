"""Figures of an evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from robopref.evaluation.rollout import EvaluationResult
from robopref.report.demo import label_metrics
from robopref.report.outcomes import outcome_line, outcome_metrics


def test_success_has_wilson_intervals():
    success = np.arange(20) < 8
    steps = np.where(success, 30 + np.arange(20), 0)
    metrics = outcome_metrics(EvaluationResult(np.arange(20.0), success, success & False, steps))
    assert metrics["success"] == 0.4
    # Wilson, 8 of 20: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    assert metrics["success_low"] == pytest.approx(0.2188, abs=1e-4)
    assert metrics["success_high"] == pytest.approx(0.6134, abs=1e-4)
    assert (metrics["success_last"], metrics["success_last_low"]) == (0.0, 0.0)
    assert metrics["success_last_high"] > 0.1  # none of twenty does not prove never
    assert metrics["return"] == 9.5
    assert metrics["return_low"] < 9.5 < metrics["return_high"]
    assert metrics["steps_to_success"] == 33.5  # of 30 to 37, without the failures
    assert 30 <= metrics["steps_to_success_low"] < 33.5 < metrics["steps_to_success_high"] <= 37
    assert outcome_line(metrics) == (
        "success 40% [22%, 61%], after 34 steps, at the last step 0% [0%, 16%], return 9.5 over 20 "
        "episodes"
    )


def test_nothing_is_said_of_the_time_to_success_without_one():
    never = np.zeros(3, bool)
    metrics = outcome_metrics(EvaluationResult(np.zeros(3), never, never, np.zeros(3, np.int64)))
    assert "steps_to_success" not in metrics
    assert outcome_line(metrics).startswith("success 0% [0%, 56%], at the last step 0%")


def test_label_accuracy_of_all_and_of_the_surer_half():
    labels = np.array([0.9, 0.45, 0.2, 0.6])
    truth = np.array([True, True, False, False])
    assert label_metrics(labels, truth) == {
        "label_accuracy": 0.5,
        "label_accuracy_confident_half": 1.0,
    }

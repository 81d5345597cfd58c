"""The figures of an evaluation, with 95 % intervals over its episodes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import binomtest

from robopref.evaluation.rollout import EvaluationResult
from robopref.evaluation.statistics import mean


def outcome_metrics(result: EvaluationResult) -> dict[str, float]:
    """Success at any step, success at the last step, return and, of episodes with success, steps
    until then, each with `_low` and `_high`.

    The intervals are Wilson's for shares, and bootstrapped for the others.
    """
    metrics: dict[str, float] = {"episodes": len(result.returns)}
    for name, successes in (
        ("success", result.success_any),
        ("success_last", result.success_last),
    ):
        low, high = binomtest(int(successes.sum()), len(successes)).proportion_ci(method="wilson")
        metrics |= {name: float(successes.mean()), f"{name}_low": low, f"{name}_high": high}
    steps = result.steps_to_success[result.success_any]
    for name, values in (("return", result.returns), ("steps_to_success", steps)):
        if len(values):
            found = mean(np.asarray(values, np.float64)[:, None])
            metrics |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return metrics


def outcome_line(metrics: Mapping[str, float]) -> str:
    """What `outcome_metrics` found, for the terminal."""
    shares = [
        f"{title} {metrics[name]:.0%} [{metrics[f'{name}_low']:.0%}, {metrics[f'{name}_high']:.0%}]"
        for name, title in (("success", "success"), ("success_last", "at the last step"))
    ]
    steps = metrics.get("steps_to_success")
    after = [] if steps is None else [f"after {steps:.0f} steps"]
    return (
        f"{', '.join([shares[0], *after, shares[1]])}, return {metrics['return']:.4g} over "
        f"{metrics['episodes']} episodes"
    )

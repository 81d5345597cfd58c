"""The figures of an evaluation, with 95 % intervals over its episodes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import binomtest

from robopref.evaluation.rollout import EvaluationResult
from robopref.evaluation.statistics import mean


def outcome_metrics(result: EvaluationResult) -> dict[str, float]:
    """Success at any step, success at the last step and return, each with `_low` and `_high`.

    The intervals are Wilson's for shares, and bootstrapped for the return.
    """
    metrics: dict[str, float] = {"episodes": len(result.returns)}
    for name, successes in (
        ("success", result.success_any),
        ("success_last", result.success_last),
    ):
        low, high = binomtest(int(successes.sum()), len(successes)).proportion_ci(method="wilson")
        metrics |= {name: float(successes.mean()), f"{name}_low": low, f"{name}_high": high}
    returns = mean(np.asarray(result.returns)[:, None])
    return metrics | {
        "return": returns.value, "return_low": returns.low, "return_high": returns.high
    }  # fmt: skip


def outcome_line(metrics: Mapping[str, float]) -> str:
    """What `outcome_metrics` found, for the terminal."""
    shares = [
        f"{title} {metrics[name]:.0%} [{metrics[f'{name}_low']:.0%}, {metrics[f'{name}_high']:.0%}]"
        for name, title in (("success", "success"), ("success_last", "at the last step"))
    ]
    return (
        f"{', '.join(shares)}, return {metrics['return']:.4g} over {metrics['episodes']} episodes"
    )

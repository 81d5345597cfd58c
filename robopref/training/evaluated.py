"""Offline training with evaluations on the way, and what is in a run's folder afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robopref.errors import InputError
from robopref.evaluation.rollout import NOTHING_LEARNED, EvaluationResult, evaluate
from robopref.files import read_json, write_json
from robopref.policies.base import BatchSource, Policy
from robopref.training.checkpoint import newest_step
from robopref.training.evaluations import Evaluations
from robopref.training.offline import OfflineTrainingConfig, train_offline

POLICY_FOLDER, CURVE_FOLDER, RESULT_FILE = "policy", "evaluation", "evaluation.json"
"""In a run's folder: the trained policy, metrics of the evaluations on the way, the last one."""

OnMetrics = Callable[[int, Mapping[str, float]], None]
"""Told updates done and metrics."""


@dataclass
class EvaluationConfig:
    """When a policy is tried in its environment, and for how long."""

    episodes: int = 50
    """Episodes after the last update; 0 trains without an environment."""
    every: int = 5_000
    """Updates between two evaluations on the way."""
    episodes_on_the_way: int = 10
    """Episodes of each of those; 0 looks at the end only."""
    seed: int = 0
    """Seed of starts and goals; equal ones for every policy."""
    beside: bool = True
    """Whether those on the way are played in a process of their own while training goes on."""

    def __post_init__(self) -> None:
        least = {"episodes": 0, "every": 1, "episodes_on_the_way": 0, "seed": 0}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise InputError(
                    f"evaluation.{name}={getattr(self, name)}: must be at least {minimum}"
                )


def train_and_evaluate(
    policy: Policy,
    batches: BatchSource,
    training: OfflineTrainingConfig,
    evaluation: EvaluationConfig,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    run_dir: Path,
    on_metrics: OnMetrics = lambda step, metrics: None,
    learned: Sequence[str] = NOTHING_LEARNED,
) -> dict[str, float]:
    """Trains `policy` in place, saves it, and evaluates it; goes on where `run_dir` left off.

    Args:
        policy: as made.
        batches: the data, on the policy's device.
        training: length and seed.
        evaluation: when and how long to evaluate.
        env_id: Gymnasium id; not made when `evaluation.episodes` is 0.
        env_kwargs: arguments of the environment.
        run_dir: gets what `train_offline` writes, `evaluation/metrics.jsonl` with a line per
            evaluation on the way, `policy/`, and `evaluation.json`.
        on_metrics: told updates done and metrics of the training at every line.
        learned: folder of a reward whose sums the evaluations tell beside the true returns, and
            whose it is.

    Returns:
        The last metrics of the training.

    Raises:
        InputError: as `train_offline` and `evaluate`.
    """
    metrics: dict[str, float] = {}
    done = newest_step(run_dir / "checkpoints")
    with evaluations_on_the_way(
        evaluation, env_id, env_kwargs, run_dir, done, learned
    ) as evaluations:
        for step in _stops(training.updates, evaluation):
            until = OfflineTrainingConfig(**{**vars(training), "updates": step})
            metrics = train_offline(policy, batches, until, run_dir, on_metrics)
            if done <= step < training.updates:
                evaluations.look(policy, step)
    save_and_evaluate(policy, evaluation, env_id, env_kwargs, run_dir, learned)
    return metrics


def evaluations_on_the_way(
    evaluation: EvaluationConfig,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    run_dir: Path,
    step: int,
    learned: Sequence[str] = NOTHING_LEARNED,
) -> Evaluations:
    """The learning curve of a run that goes on from `step`; `learned` goes to `evaluate`."""
    episodes, seed = evaluation.episodes_on_the_way, evaluation.seed
    folder = run_dir / CURVE_FOLDER
    played = {"env_id": env_id, "env_kwargs": dict(env_kwargs), "episodes": episodes, "seed": seed}
    return Evaluations(folder, step, {**played, "learned": [*learned]}, evaluation.beside)


def save_and_evaluate(
    policy: Policy,
    evaluation: EvaluationConfig,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    run_dir: Path,
    learned: Sequence[str] = NOTHING_LEARNED,
) -> None:
    """Writes the trained policy and, if there are to be any, the outcome of its episodes."""
    policy.save(run_dir / POLICY_FOLDER)
    if evaluation.episodes:
        episodes, seed = evaluation.episodes, evaluation.seed
        result = evaluate(policy, env_id, env_kwargs, episodes, seed, learned=learned)
        save_result(run_dir / RESULT_FILE, result)


def _stops(updates: int, evaluation: EvaluationConfig) -> list[int]:
    """Updates after which training pauses."""
    if not evaluation.episodes or not evaluation.episodes_on_the_way:
        return [updates]
    return [*range(evaluation.every, updates, evaluation.every), updates]


def save_result(path: Path, result: EvaluationResult) -> None:
    """Writes the outcome of every episode as JSON, atomically."""
    found = {name: values for name, values in vars(result).items() if values is not None}
    write_json(path, {name: values.tolist() for name, values in found.items()})


def load_result(path: Path) -> EvaluationResult:
    """Reads what `save_result` wrote.

    Raises:
        InputError: if the file is missing or damaged.
    """
    content = read_json(path)
    return EvaluationResult(**{name: np.asarray(values) for name, values in content.items()})

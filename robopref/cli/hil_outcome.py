"""What a session of `robopref hil` leaves behind, and what is said of its episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import save_dataset
from robopref.errors import InputError
from robopref.files import write_json
from robopref.hil.actor import EpisodeOutcome
from robopref.hil.corrections import correction_preferences
from robopref.hil.learner import SessionLearner, intervention_rates
from robopref.hil.steps import session_dataset
from robopref.preferences.dataset import save_preferences
from robopref.report.outcomes import outcome_line, outcome_metrics
from robopref.training.evaluated import (
    RESULT_FILE,
    EvaluationConfig,
    load_result,
    save_and_evaluate,
)

SESSION_FILE, CORRECTIONS_FILE = "session.hdf5", "corrections.parquet"


def finish(
    session: SessionLearner,
    env: gymnasium.Env[Any, Any],
    cameras: Sequence[str],
    env_id: str,
    env_kwargs: dict[str, Any],
    segment_steps: int,
    evaluation: EvaluationConfig,
    folder: Path,
) -> None:
    """Keeps everything and says how good the policy is without corrections."""
    session.absorb()
    session.checkpoint()
    if not session.steps:
        print(f"{folder}: no step was made")
        return
    played = session.session()
    recorded = session_dataset(played, str(folder), cameras, env.observation_space)
    dataset = replace(recorded, env_args=getattr(env.unwrapped, "env_args", {}))
    save_again(folder / SESSION_FILE, dataset)
    corrected = True
    try:
        labels = correction_preferences(dataset, segment_steps, datetime.now(UTC))
        save_preferences(folder / CORRECTIONS_FILE, labels)
    except InputError:
        corrected = False
    save_and_evaluate(session.policy, evaluation, env_id, env_kwargs, folder)
    rates = np.concatenate([intervention_rates(steps) for steps in played])
    metrics = {
        "steps": session.steps,
        "session_episodes": len(rates),
        "updates": session.updates,
        "intervention_rate": float(np.mean(rates)),
        "intervention_rate_last_20": float(np.mean(rates[-20:])),
        "comparisons": len(labels) if corrected else 0,
    }
    said = ""
    if evaluation.episodes:
        metrics |= outcome_metrics(load_result(folder / RESULT_FILE))
        said = f", {outcome_line(metrics)}"
    session.close()
    write_json(folder / "metrics.json", metrics)
    print(
        f"{folder}: {session.steps} steps, corrected in {100 * metrics['intervention_rate']:.0f} % "
        f"of an episode, {100 * metrics['intervention_rate_last_20']:.0f} % in the last 20{said}"
    )


def save_again(path: Path, dataset: TrajectoryDataset) -> None:
    """Writes a dataset in place of one that is there, which stays until the new one is whole."""
    whole = path.with_name(f"new-{path.name}")
    whole.unlink(missing_ok=True)
    save_dataset(whole, dataset)
    whole.replace(path)


def told(outcome: EpisodeOutcome) -> str:
    """An episode in one line."""
    if not outcome.steps:
        return "the robot stopped before the first step"
    how = "success" if outcome.success else "no success"
    share = 100 * outcome.intervened / outcome.steps
    otherwise = ", against what was seen" if outcome.disagreed else ""
    return f"{how} in {outcome.steps} steps, {share:.0f} % of them by hand{otherwise}"


def numbers(outcome: EpisodeOutcome) -> dict[str, float]:
    """An episode as metrics."""
    return {
        "episode/success": float(outcome.success),
        "episode/steps": float(outcome.steps),
        "episode/intervention_rate": outcome.intervened / max(outcome.steps, 1),
        "episode/takeovers": float(outcome.takeovers),
        "episode/disagreed": float(outcome.disagreed),
    }

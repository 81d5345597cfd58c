"""Trains a policy on a dataset, from its true rewards or from a learned reward.

The run's folder gets metrics, TensorBoard events, checkpoints, the policy, and the outcome of
every episode of the last evaluation. `resume=` goes on with a run, other options on top of its own.

Examples:
  robopref train dataset=drawer.hdf5 rewards=true
  robopref train dataset=drawer.hdf5 rewards=runs/train-reward/drawer/reward name=drawer
  robopref train dataset=drawer.hdf5 policy=behavior_cloning training.updates=20000
  robopref train resume=runs/train/drawer training.updates=40000
  robopref train -m dataset=drawer.hdf5 training.seed=0,1,2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import MISSING
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robopref.cli.config import run
from robopref.cli.runs import run_folder
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset
from robopref.data.transitions import transitions
from robopref.environments import make_env, recorded_env
from robopref.errors import InputError
from robopref.files import write_json
from robopref.policies.behavior_cloning import BehaviorCloningConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import POLICIES, make_policy
from robopref.report.outcomes import outcome_line, outcome_metrics
from robopref.rewards.registry import load_reward
from robopref.rewards.relabel import relabel
from robopref.training.evaluated import (
    POLICY_FOLDER,
    RESULT_FILE,
    EvaluationConfig,
    load_result,
    train_and_evaluate,
)
from robopref.training.offline import OfflineTrainingConfig

TRUE, ZERO = "true", "zero"
"""Words for rewards that need no reward model."""


@dataclass
class TrainConfig:
    """Options of `robopref train`."""

    dataset: str = MISSING
    """robomimic HDF5 file."""
    rewards: str = TRUE
    """What to learn from: true (the dataset's own), zero, or the folder of a reward model."""
    policy: str = "iql"
    """The learner: iql or behavior_cloning. Its options have its name."""
    iql: IQLConfig = field(default_factory=IQLConfig)
    """Options of policy=iql."""
    behavior_cloning: BehaviorCloningConfig = field(default_factory=BehaviorCloningConfig)
    """Options of policy=behavior_cloning."""
    training: OfflineTrainingConfig = field(default_factory=OfflineTrainingConfig)
    """How long to train."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """When to try the policy in the environment that the dataset names."""
    device: str = "auto"
    """cpu, cuda, or auto for CUDA where there is one."""
    resume: str = ""
    """Folder of a run to go on with."""
    name: str = ""
    """Name of the run's folder under runs/train, the time of day when empty."""

    def __post_init__(self) -> None:
        if self.rewards.lower() == TRUE:  # YAML reads the word as a truth value
            self.rewards = TRUE
        learners = [name for name in POLICIES if hasattr(self, name)]
        if self.policy not in learners:
            raise InputError(
                f"policy={self.policy}: no such policy; choose from {', '.join(learners)}"
            )


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    run("train", TrainConfig, arguments, train)


def train(config: TrainConfig) -> None:
    """Trains and evaluates one policy and says how well it does."""
    torch.set_num_threads(1)
    device = chosen_device(config.device)
    dataset = load_dataset(config.dataset)
    data = transitions(dataset, _rewards(dataset, config.rewards, device))
    policy = make_policy(getattr(config, config.policy), data, config.training.seed, device)
    env_id, env_kwargs = _environment(dataset, config.evaluation)
    with run_folder("train", config.name, config) as folder:
        with _progress() as progress:
            bar = progress.add_task(config.policy, total=config.training.updates, note="")

            def show(step: int, metrics: Mapping[str, float]) -> None:
                note = f"{metrics['updates_per_second']:.0f}/s"
                progress.update(bar, completed=step, note=note)

            metrics = train_and_evaluate(
                policy,
                data,
                config.training,
                config.evaluation,
                env_id,
                env_kwargs,
                folder,
                on_metrics=show,
            )
        if config.evaluation.episodes:
            metrics |= outcome_metrics(load_result(folder / RESULT_FILE))
        write_json(folder / "metrics.json", {"updates": config.training.updates, **metrics})
    outcome = f", {outcome_line(metrics)}" if config.evaluation.episodes else ""
    print(f"{folder / POLICY_FOLDER}: {config.training.updates} updates{outcome}")


def chosen_device(name: str) -> torch.device:
    """The device that the option `device` means.

    Raises:
        InputError: if there is none of that name.
    """
    try:
        device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
        )
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={name}: cannot be used here; choose auto or cpu") from error
    return device


def _rewards(
    dataset: TrajectoryDataset, source: str, device: torch.device
) -> NDArray[np.float32] | None:
    """(N,): what `transitions` takes; None for the dataset's own."""
    if source == TRUE:
        return None
    if source == ZERO:
        return np.zeros(dataset.num_steps, dtype=np.float32)
    if not Path(source).is_dir():
        raise InputError(
            f"rewards={source}: no such folder; give true, zero, or the folder of a reward model"
        )
    return relabel(dataset, load_reward(source, device)).mean


def _environment(
    dataset: TrajectoryDataset, evaluation: EvaluationConfig
) -> tuple[str, dict[str, Any]]:
    """Gymnasium id and arguments, tried before the long work; empty when none is needed."""
    if not evaluation.episodes:
        return "", {}
    env_id, env_kwargs = recorded_env(dataset.env_args, dataset.observations)
    try:
        make_env(env_id, **env_kwargs).close()
    except InputError as error:
        raise InputError(f"{error}; evaluation.episodes=0 trains without it") from error
    return env_id, env_kwargs


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("updates, {task.fields[note]}"),
        TimeRemainingColumn(),
    )

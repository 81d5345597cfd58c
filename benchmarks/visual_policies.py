"""Policies of the visual benchmark: IQL on the state, paid by a reward that saw the videos.

The rewards are those of `visual_rewards` at its main number of labels, over all videos of the task;
`other robot` trains on the videos of another robot, paid by the labels of the first. Controls: the
true reward, zero, and cloning. Policies follow their advantages greedily (IQL's default) or less
so, since the errors of a learned reward are advantages too.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from results import success_of_seeds
from robopref.data.lazy import load_dataset_lazily
from robopref.data.transitions import transitions
from robopref.policies.behavior_cloning import BehaviorCloningConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import make_policy
from robopref.processes import long_time_slices, one_thread
from robopref.training.evaluated import (
    RESULT_FILE,
    EvaluationConfig,
    load_result,
    train_and_evaluate,
)
from robopref.training.offline import OfflineTrainingConfig
from visual_rewards import ARMS, MAIN_LABELS, TASKS, TRANSFER, row_file

TRUTH, ZERO, CLONING = "true_reward", "zero_reward", "cloning"
POLICY_TASKS = ("lift", "drawer-open")
"""Those whose videos hold enough for a policy; see `visual_online` for the others."""
ARMS_OF_POLICIES = (TRUTH, *(arm for arm in ARMS if arm != "rapl_contrast"), ZERO, CLONING)
ARMS_OF_ANOTHER_ROBOT = (TRUTH, "rapl", "rlhf", ZERO)
UPDATES = 5_000
INVERSE_TEMPERATURES = (3.0, 0.5)


@dataclass(frozen=True)
class Run:
    """One policy."""

    folder: Path
    """Of the benchmark."""
    task: str
    arm: str
    seed: int
    transferred: bool
    """Whether it is for the other robot."""
    videos: int
    updates: int
    episodes: int
    """Of the evaluation."""

    inverse_temperature: float | None = None
    """Of IQL."""

    learner: ClassVar[str] = "iql"

    @property
    def own(self) -> Path:
        """The run's folder."""
        robot = "other" if self.transferred else "same"
        name = f"{self.task}-{robot}-{self.arm}-{self.seed}"
        learner = self.learner
        if self.inverse_temperature is not None:
            learner = f"{learner}-{self.inverse_temperature:g}"
        return self.folder / "policies" / learner / name

    @property
    def done(self) -> bool:
        """Whether it has been made."""
        return (self.own / RESULT_FILE).is_file()

    def make(self) -> None:
        """Trains and evaluates it in this process."""
        one_thread()
        long_time_slices()
        task, name = TASKS[self.task], self.task
        if self.transferred:
            task, name = TRANSFER[self.task], f"{self.task}-transfer"
        dataset = load_dataset_lazily(task.path(self.folder, name, self.videos))
        data = transitions(dataset, self._rewards(dataset.rewards))
        config: Any = BehaviorCloningConfig()
        if self.inverse_temperature is not None:
            config = IQLConfig(inverse_temperature=self.inverse_temperature)
        self.own.mkdir(parents=True, exist_ok=True)
        train_and_evaluate(
            make_policy(config, data, self.seed),
            data,
            OfflineTrainingConfig(updates=self.updates, seed=self.seed),
            EvaluationConfig(episodes=self.episodes, episodes_on_the_way=0),
            task.env_id,
            task.kwargs,
            self.own,
        )

    def _rewards(self, true: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.arm == TRUTH:
            return true
        if self.arm in (ZERO, CLONING):
            return np.zeros_like(true)
        kept = row_file(self.folder, self.task, self.arm, MAIN_LABELS, self.seed)
        with np.load(kept.with_suffix(".npz")) as rewards:
            return np.asarray(rewards["transfer" if self.transferred else "own"])

    @property
    def success(self) -> float:
        """Share of its episodes."""
        return load_result(self.own / RESULT_FILE).summary["success"]


def policy_runs(
    folder: Path, tasks: Sequence[str], seeds: int, videos: int, updates: int, episodes: int
) -> list[Run]:
    """All of them, by seed; without a reward it is the same how greedily it is followed."""
    return [
        Run(folder, task, arm, seed, transferred, videos, updates, episodes, greed)
        for seed in range(seeds)
        for task in tasks
        for transferred in (False, True)[: 1 + (task in TRANSFER)]
        for arm in (ARMS_OF_ANOTHER_ROBOT if transferred else ARMS_OF_POLICIES)
        for greed in _inverse_temperatures(arm, transferred)
    ]


def _inverse_temperatures(arm: str, transferred: bool) -> tuple[float | None, ...]:
    if arm == CLONING:
        return (None,)
    return INVERSE_TEMPERATURES[: 1 if arm == ZERO or transferred else None]


def make_policies(runs: Sequence[Run], pool: ProcessPoolExecutor) -> None:
    """Those that are not there yet, as many at a time as the pool has processes."""
    for each in [pool.submit(run.make) for run in runs if not run.done]:
        each.result()


def policy_table(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Success by task, robot, arm and inverse temperature."""

    def setting(run: Run) -> tuple[str, bool, str, float | None]:
        return run.task, run.transferred, run.arm, run.inverse_temperature

    rows = []
    for task, transferred, arm, greed in dict.fromkeys(setting(run) for run in runs):
        own = [run for run in runs if setting(run) == (task, transferred, arm, greed)]
        row: dict[str, Any] = {"task": task, "robot": "other" if transferred else "same"}
        row |= {"arm": arm, "learner": arm if arm == CLONING else own[0].learner}
        if greed is not None:
            row["inverse_temperature"] = greed
        rows.append(row | success_of_seeds(np.array([run.success for run in own])))
    return rows

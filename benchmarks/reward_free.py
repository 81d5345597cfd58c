"""Policies straight from labels beside a learned reward with IQL, and beside cloning.

Data of mixed quality (`scarce`: about a fifth of the episodes succeed), oracle labels of whole
episodes: their returns order them as their regrets do, since all start alike. Every arm has the
same data, labels and updates; cloning of the best tenth takes the episodes of the highest sum of
the Bradley-Terry reward. Finished runs are kept, so that a table that was broken off is gone on
with.

    python benchmarks/reward_free.py [--quick] [--updates 3000] [--json results/reward_free.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from results import argument_parser, shipped_mix, success_of_seeds, write_results
from robopref.data.collect import collect
from robopref.data.robomimic import load_dataset
from robopref.data.segments import whole_episodes
from robopref.policies.behavior_cloning import BehaviorCloningConfig
from robopref.policies.cpl import CPLConfig
from robopref.policies.dppo import DPPOConfig
from robopref.policies.ipl import IPLConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.oppo import OPPOConfig
from robopref.preferences.dataset import save_preferences
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.pearl import PearlConfig
from robopref.seeding import numpy_generator
from robopref.training.arms import ArmRun, run_arms
from robopref.training.evaluated import RESULT_FILE, EvaluationConfig, load_result
from robopref.training.offline import OfflineTrainingConfig

EPISODES = 200
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Arm:
    """A way from labels to a policy."""

    policy: Any
    reward: Any = None
    labels: bool = True
    best_episodes: float = 1.0
    batch_size: int = 256


CLONING = BehaviorCloningConfig()
ARMS = {
    "oppo": Arm(OPPOConfig(), batch_size=64),
    "cpl": Arm(CPLConfig()),
    "cpl_bc": Arm(CPLConfig(cloning_weight=1.0)),
    "ipl": Arm(IPLConfig()),
    "dppo": Arm(DPPOConfig()),
    "bradley_terry_iql": Arm(IQLConfig(), BradleyTerryConfig()),
    "pearl_iql": Arm(IQLConfig(), PearlConfig()),
    "cloning": Arm(CLONING, labels=False),
    "cloning_best_tenth": Arm(CLONING, BradleyTerryConfig(), best_episodes=0.1),
}
TASKS = {
    "drawer-open": ("metaworld/drawer-open-v3", 200),
    "door-open": ("metaworld/door-open-v3", 200),
    "window-open": ("metaworld/window-open-v3", 200),
    "lift": ("robosuite/lift", 100),
}
"""Name to environment and horizon."""
LABELS = {"drawer-open": (200, 50), "door-open": (200,), "window-open": (200,), "lift": (200,)}
"""How many pairs are labelled."""


@dataclass(frozen=True)
class Cell:
    """One run of the table."""

    task: str
    arm: str
    labels: int
    seed: int
    run: ArmRun


def cells(folder: Path, tasks: Sequence[str], arms: Sequence[str], updates: int, seeds: int,
          episodes: int) -> Iterator[Cell]:  # fmt: skip
    """All runs, seed by seed, so that a table broken off is complete for some seeds."""
    for seed in range(seeds):
        for task in tasks:
            dataset = recorded(folder, task)
            for count in LABELS[task]:
                for name in arms:
                    arm = ARMS[name]
                    if count != LABELS[task][0] and not arm.labels:
                        continue  # knows nothing of labels
                    yield Cell(task, name, count, seed, ArmRun(
                        arm=name,
                        folder=folder / "runs" / f"{task}-{count}" / f"{name}-{seed}",
                        dataset=dataset,
                        preferences=labelled(folder, dataset, count, seed) if arm.labels else None,
                        reward=arm.reward,
                        policy=arm.policy,
                        training=OfflineTrainingConfig(
                            updates, arm.batch_size, seed, 100, updates
                        ),
                        evaluation=EvaluationConfig(episodes=episodes, episodes_on_the_way=0),
                        env_id=TASKS[task][0],
                        env_kwargs={"horizon": TASKS[task][1]},
                        best_episodes=arm.best_episodes,
                    ))  # fmt: skip


def recorded(folder: Path, task: str) -> Path:
    """The task's dataset, collected when missing."""
    path = folder / f"{task}.hdf5"
    if not path.exists():
        env_id, horizon = TASKS[task]
        collect(env_id, {"horizon": horizon}, shipped_mix("scarce"), EPISODES, 0, path)
    return path


def labelled(folder: Path, dataset: Path, count: int, seed: int) -> Path:
    """Oracle labels of random pairs, written when missing."""
    path = folder / "labels" / f"{dataset.stem}-{count}-{seed}.parquet"
    if not path.exists():
        data, rng = load_dataset(dataset), numpy_generator(seed, "pairs")
        pairs = uniform_pairs(whole_episodes(data), count, rng)
        path.parent.mkdir(exist_ok=True)
        save_preferences(path, scripted_labels(data, pairs, TEACHERS["oracle"], rng, NOW))
    return path


def tabulate(found: Sequence[Cell]) -> tuple[list[dict[str, object]], dict[str, float]]:
    """A row for each task, number of labels and arm; the headline is success over all tasks."""
    rows: list[dict[str, object]] = []
    done = [cell for cell in found if cell.run.done]
    for task, labels, arm in dict.fromkeys((cell.task, cell.labels, cell.arm) for cell in done):
        scores = np.array([
            load_result(cell.run.folder / RESULT_FILE).success_any.mean()
            for cell in done
            if (cell.task, cell.labels, cell.arm) == (task, labels, arm)
        ])  # fmt: skip
        named = {"task": task, "labels": labels, "arm": arm}
        rows.append(named | success_of_seeds(scores))
    headline = {
        f"{arm}_success": round(
            float(
                np.mean(
                    [
                        row["success"]
                        for row in rows
                        if row["arm"] == arm and row["labels"] == LABELS[str(row["task"])][0]
                    ]
                )
            ),
            4,
        )
        for arm in dict.fromkeys(str(row["arm"]) for row in rows)
    }
    return rows, headline


def main() -> None:
    """Makes the runs, as many at a time as there are cores, and writes the table."""
    parser = argument_parser(__doc__.splitlines()[0], "reward_free")
    parser.add_argument("--folder", type=Path, default=Path("runs/reward_free"))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=3_000)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    tasks, arms = options.tasks.split(","), options.arms.split(",")
    seeds, episodes, folder = options.seeds, 50, options.folder
    if options.quick:
        tasks, seeds, episodes, folder = tasks[:1], 1, 10, folder / "quick"
    folder.mkdir(parents=True, exist_ok=True)
    found = list(cells(folder, tasks, arms, options.updates, seeds, episodes))
    print(
        f"{sum(not cell.run.done for cell in found)} of {len(found)} policies to train", flush=True
    )
    run_arms([cell.run for cell in found], options.workers)
    rows, headline = tabulate(found)
    for row in rows:
        print(row)
    write_results(options.json, headline, rows, ["torch", "metaworld", "robosuite", "mujoco"])


if __name__ == "__main__":
    main()

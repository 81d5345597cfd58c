"""Reward models and losses beside plain Bradley-Terry: accuracy on held-out pairs.

Segments of 50 steps of the training episodes are compared by a scripted teacher: one who is always
right, one who errs in a fifth of the pairs, and one who looks at the end of a segment most
(gamma 0.9). The exam is 1,000 uniform pairs of segments of the held-out third of the episodes,
whose answers are right. Every model learns with its default settings. Methods of ranked lists make
as many comparisons as the others have pairs. Differences to Bradley-Terry are paired: same labels,
same exam. Finished cells are kept.

    python benchmarks/reward_models.py [--quick] [--json results/reward_models.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import itertools
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from results import argument_parser, shipped_mix, write_results
from robopref.data.collect import collect
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset
from robopref.data.segments import all_segments
from robopref.evaluation.reward_quality import label_accuracy
from robopref.evaluation.statistics import mean
from robopref.files import write_json
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import split_episodes, uniform_pairs
from robopref.preferences.ranked_lists import ask_for_lists
from robopref.preferences.teachers import TeacherConfig, scripted_labels, teacher_answers
from robopref.processes import one_thread
from robopref.rewards.bradley_terry import (
    BradleyTerryConfig,
    LSTMConfig,
    PreferenceTransformerConfig,
)
from robopref.rewards.doubtful import FLIP, mended, preference_strengths
from robopref.rewards.general import GeneralConfig
from robopref.rewards.pearl import PearlConfig, PearlTransformerConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import relabel
from robopref.seeding import numpy_generator

TASKS = {
    "button-press": ("metaworld/button-press-v3", 200),
    "drawer-open": ("metaworld/drawer-open-v3", 200),
    "door-open": ("metaworld/door-open-v3", 200),
    "lift": ("robosuite/lift", 100),
    "nut-assembly-square": ("robosuite/nut-assembly-square", 200),
}
TEACHERS = {
    "clean": TeacherConfig(),
    "flipped": TeacherConfig(mistake=0.2),
    "myopic": TeacherConfig(gamma=0.9),
}
LABELS, SEEDS = (50, 200, 1_000), 5
EPISODES, LENGTH, EXAM, LIST_SIZE = 200, 50, 1_000, 10
BASELINE = "bradley_terry"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Method:
    """A reward model and what becomes of the labels before."""

    config: Any
    lists: bool = False
    """Whether the teacher is asked for ranked lists, by as many comparisons."""
    doubtful: float = 0.0
    """Share of the labels that is turned round where rewards contradict them."""


METHODS: Mapping[str, Method] = {
    BASELINE: Method(BradleyTerryConfig()),
    "linear": Method(BradleyTerryConfig(preference_model="linear")),
    "rao_kupper": Method(BradleyTerryConfig(preference_model="rao_kupper")),
    "davidson": Method(BradleyTerryConfig(preference_model="davidson")),
    "smoothed": Method(BradleyTerryConfig(label_smoothing=0.1)),
    "flip_doubtful": Method(BradleyTerryConfig(), doubtful=0.2),
    "surf": Method(BradleyTerryConfig(crop=0.25, pseudo_pairs=4)),
    "general": Method(GeneralConfig()),
    "pearl": Method(PearlConfig()),
    "lists_bradley_terry": Method(BradleyTerryConfig(), lists=True),
    "lists_linear": Method(BradleyTerryConfig(preference_model="linear"), lists=True),
    "lists_plackett_luce": Method(BradleyTerryConfig(preference_model="plackett_luce"), lists=True),
    "lists_lambda": Method(BradleyTerryConfig(preference_model="lambda"), lists=True),
    "lstm": Method(LSTMConfig()),
    "preference_transformer": Method(PreferenceTransformerConfig()),
    "pearl_transformer": Method(PearlTransformerConfig()),
}
SLOW = ("lstm", "preference_transformer", "pearl_transformer")


@dataclass(frozen=True)
class Cell:
    """One training."""

    task: str
    teacher: str
    labels: int
    method: str
    seed: int

    def path(self, folder: Path) -> Path:
        """Where its accuracy is kept."""
        return folder / f"{self.task}-{self.teacher}-{self.labels}-{self.method}-{self.seed}.json"


def main() -> None:
    """Makes what is missing, as many at a time as there are cores, and writes the table."""
    parser = argument_parser(__doc__.splitlines()[0], "reward_models")
    parser.add_argument("--folder", type=Path, default=Path("runs/reward_models"))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    tasks, labels, seeds, methods = [*TASKS], LABELS, SEEDS, options.methods.split(",")
    folder = options.folder
    if options.quick:
        tasks, labels, seeds, folder = tasks[:1], LABELS[:2], 1, folder / "quick"
        methods = [name for name in methods if name not in SLOW]
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        recorded(options.folder, task)
    wanted = [
        Cell(task, teacher, count, method, seed)
        for seed in range(seeds)
        for method, task, teacher, count in itertools.product(methods, tasks, TEACHERS, labels)
    ]
    missing = [cell for cell in wanted if not cell.path(folder).exists()]
    context = get_context("spawn")  # OpenMP does not survive a fork
    with ProcessPoolExecutor(options.workers, context, one_thread) as pool:
        jobs = [pool.submit(run, cell, folder, options.folder) for cell in missing]
        for number, job in enumerate(jobs, start=1):
            job.result()
            if number % 50 == 0:
                print(f"{number} of {len(jobs)}", flush=True)
    known = [
        Cell(task, teacher, count, method, seed)
        for method, task, teacher, count in itertools.product(METHODS, tasks, TEACHERS, labels)
        for seed in range(seeds)
    ]
    found = {cell: json.loads(cell.path(folder).read_text())["accuracy"]
             for cell in known if cell.path(folder).exists()}  # fmt: skip
    table = tabulate(found, tasks, labels)
    for row in table:
        print(row)
    write_results(options.json, headline(table), table, ["torch", "metaworld", "robosuite"])


def recorded(folder: Path, task: str) -> Path:
    """The task's dataset of mixed quality, collected when missing."""
    path = folder / f"{task}.hdf5"
    if not path.exists():
        env_id, horizon = TASKS[task]
        collect(env_id, {"horizon": horizon}, shipped_mix("mixed"), EPISODES, 0, path)
    return path


@cache
def dataset_of(path: Path) -> TrajectoryDataset:
    """Read once per process."""
    return load_dataset(path)


def run(cell: Cell, folder: Path, data: Path) -> None:
    """Trains and examines one reward."""
    dataset, method = dataset_of(recorded(data, cell.task)), METHODS[cell.method]
    rng = numpy_generator(cell.seed, f"reward models {cell.task}")
    train, held_out = split_episodes(len(dataset), 1.0 / 3.0, rng)
    pairs = uniform_pairs(all_segments(dataset, LENGTH, held_out), EXAM, rng)
    exam = scripted_labels(dataset, pairs, TeacherConfig(), rng, NOW)
    labels = asked(dataset, train, cell, method.lists)
    if method.doubtful:
        strengths = preference_strengths(labels, dataset, method.config, cell.seed)
        labels = mended(labels, strengths, FLIP, method.doubtful)
    model = make_reward(method.config, dataset, cell.seed)
    model.fit(labels, dataset, cell.seed)
    accuracy = label_accuracy(relabel(dataset, model).mean, exam, dataset)
    write_json(cell.path(folder), {"accuracy": accuracy})


def asked(dataset: TrajectoryDataset, train: Any, cell: Cell, lists: bool) -> Preferences:
    """Labels of segments of the training episodes; the same ones for all methods but of lists."""
    rng = numpy_generator(cell.seed, f"labels {cell.task} {cell.teacher} {cell.labels}")
    segments, teacher = all_segments(dataset, LENGTH, train), TEACHERS[cell.teacher]
    if not lists:
        pairs = uniform_pairs(segments, cell.labels, rng)
        return scripted_labels(dataset, pairs, teacher, rng, NOW)
    pairs, labels, numbers, _ = ask_for_lists(
        segments, LIST_SIZE, cell.labels, lambda pair: teacher_answers(dataset, pair, teacher, rng),
        rng,
    )  # fmt: skip
    found = Preferences.from_labels(
        dataset, *pairs, labels, source="scripted", annotator="teacher", created_at=NOW
    )
    return replace(found, ranking=numbers)


def tabulate(
    found: Mapping[Cell, float], tasks: Sequence[str], labels: Sequence[int]
) -> list[dict[str, Any]]:
    """A row for each method, teacher and number of labels, over tasks and seeds."""
    rows = []
    for method, teacher, count in itertools.product(METHODS, TEACHERS, labels):
        cells = [
            [[Cell(task, teacher, count, name, seed) for task in tasks] for seed in range(SEEDS)]
            for name in (method, BASELINE)
        ]
        seeds = [s for s in range(SEEDS) if {*cells[0][s], *cells[1][s]} <= found.keys()]
        if not seeds:
            continue
        scores, baseline = np.array([
            [[found[cell] for cell in side[seed]] for seed in seeds] for side in cells
        ])  # fmt: skip
        accuracy, over = mean(scores), mean(scores - baseline)
        rows.append({
            "method": method, "teacher": teacher, "labels": count, "seeds": len(seeds),
            "accuracy": round(accuracy.value, 4), "low": round(accuracy.low, 4),
            "high": round(accuracy.high, 4), "over_bradley_terry": round(over.value, 4),
            "over_low": round(over.low, 4), "over_high": round(over.high, 4),
            "per_task": dict(zip(tasks, scores.mean(0).round(4).tolist(), strict=True)),
        })  # fmt: skip
    return rows


def headline(table: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean accuracy of each method over teachers and numbers of labels, and where it is ahead."""
    found: dict[str, float] = {}
    for name in dict.fromkeys(row["method"] for row in table):
        rows = [row for row in table if row["method"] == name]
        found[f"{name}_accuracy"] = round(float(np.mean([row["accuracy"] for row in rows])), 4)
        if name != BASELINE:
            ahead = sum(row["over_low"] > 0.0 for row in rows)
            found[f"{name}_ahead_of_{len(rows)}"] = ahead
    return found


if __name__ == "__main__":
    main()

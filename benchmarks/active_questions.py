"""Active questions: labels that each strategy needs until 90 % of new pairs are ordered rightly.

Segments of 50 steps of the training episodes are compared by a scripted oracle: 20 uniform pairs,
then 20 per session by the strategy, the Bradley-Terry ensemble with its default settings fitted
anew to all labels after each. The exam is 2,000 uniform pairs of segments of the held-out third of
the episodes. A run ends when two sessions in a row reach 90 %, whose first counts, or after 600
labels, which count as 620.

    python benchmarks/active_questions.py [--quick] [--json results/active_questions.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.progress import track

from results import parse_arguments, write_results
from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import all_segments
from robopref.evaluation.reward_quality import label_accuracy
from robopref.evaluation.statistics import mean
from robopref.files import read_json, write_json
from robopref.parallel import parallel
from robopref.preferences.active import STRATEGIES, UNIFORM
from robopref.preferences.queries import split_episodes, uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.processes import one_thread
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.questions import choose_pairs
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import relabel
from robopref.seeding import numpy_generator
from transfer import benchmark_dataset

TASKS = "button-press drawer-open window-open".split()
SEEDS, SESSION, MOST, EXAM, LENGTH, AIM = 5, 20, 600, 2_000, 50, 0.9
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], "active_questions")
    one_thread()
    tasks, seeds = (TASKS[:1], 2) if arguments.quick else (TASKS, SEEDS)
    folder = arguments.json.with_suffix("")  # finished runs are kept there
    for task in tasks:
        benchmark_dataset(task, "mixed")  # recorded by one process
    runs = [(task, seed, name) for seed in range(seeds) for task in tasks for name in STRATEGIES]
    found = parallel(asker, (str(folder),), runs)
    needed = dict(zip(runs, track(found, "asking", len(runs), transient=True), strict=True))
    table: list[dict[str, object]] = []
    headline: dict[str, float] = {}
    for name in STRATEGIES:
        labels, control = (
            np.array([[needed[task, seed, who] for task in tasks] for seed in range(seeds)], float)
            for who in (name, UNIFORM)
        )
        estimate, saved = mean(labels), mean(labels - control)  # paired: same first labels, exam
        headline[f"{name}_labels"] = round(estimate.value, 1)
        table.append(
            {
                "strategy": name,
                "labels": round(estimate.value, 1),
                "low": round(estimate.low, 1),
                "high": round(estimate.high, 1),
                "over_uniform": round(saved.value, 1),
                "over_low": round(saved.low, 1),
                "over_high": round(saved.high, 1),
                "per_task": dict(zip(tasks, labels.mean(0).round(1).tolist(), strict=True)),
                "never_reached": int((labels > MOST).sum()),
                "runs": {task: labels[:, i].tolist() for i, task in enumerate(tasks)},
            }
        )
        print(
            f"{name:20} {estimate.value:5.0f} [{estimate.low:.0f}, {estimate.high:.0f}]   over "
            f"uniform {saved.value:+.0f} [{saved.low:+.0f}, {saved.high:+.0f}]   "
            f"{table[-1]['per_task']}",
            flush=True,
        )
    write_results(arguments.json, headline, table, ["torch", "numpy", "metaworld"])


def asker(folder: str) -> Callable[[tuple[str, int, str]], int]:
    """What gives the labels that a run (task, seed, strategy) needs until the aim is reached, from
    the run's file if it has ended.
    """
    one_thread()

    def labels_needed(run: tuple[str, int, str]) -> int:
        path = Path(folder) / ("-".join(map(str, run)) + ".json")
        if not path.is_file():
            accuracies = ask(benchmark_dataset(run[0], "mixed"), *run[1:])
            write_json(path, {"labels_per_session": SESSION, "accuracy": accuracies})
        accuracies = read_json(path)["accuracy"]
        reached = [min(pair) >= AIM for pair in zip(accuracies, accuracies[1:], strict=False)]
        return SESSION * (reached.index(True) + 1) if True in reached else MOST + SESSION

    return labels_needed


def ask(dataset: TrajectoryDataset, seed: int, strategy: str) -> list[float]:
    """Held-out accuracy after each session."""
    rng = numpy_generator(seed, "active questions")
    train, held_out = split_episodes(len(dataset), 1.0 / 3.0, rng)
    pairs = uniform_pairs(all_segments(dataset, LENGTH, held_out), EXAM, rng)
    exam = scripted_labels(dataset, pairs, TEACHERS["oracle"], rng, NOW)
    segments = all_segments(dataset, LENGTH, train)
    asked = uniform_pairs(segments, SESSION, rng)
    labels = scripted_labels(dataset, asked, TEACHERS["oracle"], rng, NOW)
    accuracies: list[float] = []
    while True:
        model = make_reward(BradleyTerryConfig(), dataset, seed)
        model.fit(labels, dataset, seed)
        accuracies.append(label_accuracy(relabel(dataset, model).mean, exam, dataset))
        if len(labels) >= MOST + SESSION or min(accuracies[-2:]) >= AIM and len(accuracies) > 1:
            return accuracies
        so_far = labels.first, labels.second
        chosen = choose_pairs(strategy, dataset, segments, SESSION, rng, model, so_far)
        labels = labels.join(scripted_labels(dataset, chosen, TEACHERS["oracle"], rng, NOW))


if __name__ == "__main__":
    main()

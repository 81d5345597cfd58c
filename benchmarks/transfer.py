"""Label transfer between Meta-World tasks: accuracy of every method on every ordered pair.

Source labels are 1,000 random pairs of whole episodes (of 200 episodes a task) by a scripted
oracle. Accuracy is over all pairs of target episodes, against the order of their true returns; the
confident half are the pairs whose label is farthest from a tie. The tasks are those held out: the
method was chosen on faucet-open, window-close, handle-press, reach, push, coffee-button, door-lock
and dial-turn. Action noise has the same distribution in good and bad episodes.

Then policies: IQL on rewards from transferred labels beside its controls (policies.py).

    python benchmarks/transfer.py [--quick] [--json results/transfer.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import itertools
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from policies import policy_table
from results import parse_arguments, shipped_mix, write_results
from robopref.benchmark.transfers import (
    Features,
    Matrix,
    Transfer,
    by_neighbours,
    by_transport,
    label_accuracies,
    oracle_labels,
    progress,
)
from robopref.data.collect import collect
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset
from robopref.preferences.transfer import PRESETS

TASKS = (
    "button-press drawer-open window-open door-close faucet-close sweep-into plate-slide door-open"
).split()
QUICK_TASKS = TASKS[:4]
MIXES = (("mixed", "mixed"), ("mixed", "scarce"))
EPISODES, SOURCE_PAIRS = 200, 1_000
DATA = Path("data/benchmark")


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], "transfer")
    tasks = QUICK_TASKS if arguments.quick else TASKS
    labels = label_table(tasks)
    headline = label_headline(labels)
    for name, value in headline.items():
        print(f"{name:24} {value:.3f}")
    folder = arguments.json.with_suffix("")  # finished runs are kept there
    policies, policy_headline = policy_table(DATA, folder, arguments.quick)
    write_results(
        arguments.json,
        headline | policy_headline,
        labels + policies,
        ["torch", "POT", "numpy", "metaworld", "mujoco"],
    )


@cache
def benchmark_dataset(task: str, mix: str) -> TrajectoryDataset:
    """The episodes of a task, collected when missing."""
    path = DATA / mix / f"{task}.hdf5"
    collect(f"metaworld/{task}-v3", {"horizon": 200}, shipped_mix(mix), EPISODES, 0, path)
    return load_dataset(path)


def label_table(tasks: Sequence[str]) -> list[dict[str, object]]:
    """One row per method, mix, source and target."""
    rows: list[dict[str, object]] = []
    for source_mix, target_mix in MIXES:
        sources = {task: benchmark_dataset(task, source_mix) for task in tasks}
        targets = {task: benchmark_dataset(task, target_mix) for task in tasks}
        labels = {task: oracle_labels(dataset, SOURCE_PAIRS) for task, dataset in sources.items()}
        for name, method in METHODS.items():
            scores = []
            for source, target in itertools.permutations(tasks, 2):
                transferred = method(sources[source], labels[source], targets[target])
                scores.append(label_accuracies(transferred, targets[target].returns))
                rows.append(
                    {
                        "method": name,
                        "source": f"{source} {source_mix}",
                        "target": f"{target} {target_mix}",
                        "accuracy": round(scores[-1][0], 4),
                        "confident_half": round(scores[-1][1], 4),
                    }
                )
            every, half = np.array(scores).T
            print(
                f"{source_mix} -> {target_mix:7} {name:32} all {every.mean():.3f} / "
                f"{every.min():.3f}   confident half {half.mean():.3f} / {half.min():.3f}",
                flush=True,
            )
    return rows


def label_headline(rows: Sequence[dict[str, object]]) -> dict[str, float]:
    """Figures over all pairs and both mixes."""

    def column(method: str, name: str) -> Matrix:
        return np.array([row[name] for row in rows if row["method"] == method], dtype=float)

    return {
        "mean_accuracy": float(column("default", "accuracy").mean()),
        "worst_accuracy": float(column("default", "accuracy").min()),
        "confident_half_mean": float(column("default", "confident_half").mean()),
        "confident_half_worst": float(column("default", "confident_half").min()),
        "paper_mean_accuracy": float(column("pearl_paper", "accuracy").mean()),
    }


def standardised(features: Callable[[TrajectoryDataset], Matrix]) -> Features:
    """Features of both tasks, each standardised within its task."""

    def scale(values: Matrix) -> Matrix:
        return (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-8)

    return lambda source, target: (scale(features(source)), scale(features(target)))


def noise_features(dataset: TrajectoryDataset) -> Matrix:
    """(E, 3): how much the actions jitter, which tells nothing on these data."""
    rows = []
    for episode in range(len(dataset)):
        jitter = np.diff(dataset.actions[dataset.step_slice(episode)], axis=0)
        rows.append([np.abs(jitter).mean(), np.abs(np.diff(jitter, axis=0)).mean(), jitter.std()])
    return np.array(rows)


def motion_features(dataset: TrajectoryDataset) -> Matrix:
    """(E, 16): the hand's speed, smoothness and path, whatever it does to objects."""
    rows = []
    for episode in range(len(dataset)):
        hand = dataset.observations["flat"][dataset.row_slice(episode), :3].astype(float)
        actions = dataset.actions[dataset.step_slice(episode)]
        speed = 100.0 * np.linalg.norm(np.diff(hand, axis=0), axis=1)
        jerk = 100.0 * np.linalg.norm(np.diff(hand, n=3, axis=0), axis=1)
        shift = 100.0 * np.linalg.norm(hand[-1] - hand[0])
        rows.append(
            [
                *(part.mean() for part in np.array_split(speed, 8)),
                speed.std(),
                jerk.mean(),
                shift,
                speed.sum() / (1.0 + shift),
                (speed < 0.1).mean(),
                np.linalg.norm(actions, axis=1).mean(),
                np.linalg.norm(np.diff(actions, axis=0), axis=1).mean(),
                hand[:, 2].min(),
            ]
        )
    return np.array(rows)


METHODS: dict[str, Transfer] = {
    **{name: partial(by_transport, name) for name in PRESETS},
    "control: noise features": partial(by_neighbours, standardised(noise_features)),
    "control: motion neighbours": partial(by_neighbours, standardised(motion_features)),
    "control: progress, no transport": partial(by_neighbours, progress),
}


if __name__ == "__main__":
    main()

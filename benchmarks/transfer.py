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
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policies import policy_table
from results import parse_arguments, shipped_mix, write_results
from robopref.data.collect import collect
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset
from robopref.data.segments import whole_episodes
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.preferences.trajectory_features import align_features, progress_features
from robopref.preferences.transfer import PRESETS, align, complete_labels
from robopref.seeding import numpy_generator

TASKS = (
    "button-press drawer-open window-open door-close faucet-close sweep-into plate-slide door-open"
).split()
QUICK_TASKS = TASKS[:4]
MIXES = (("mixed", "mixed"), ("mixed", "scarce"))
EPISODES, SOURCE_PAIRS = 200, 1_000
DATA = Path("data/benchmark")
NEIGHBOURS = 5

Matrix = NDArray[np.float64]
Method = Callable[[TrajectoryDataset, Preferences, TrajectoryDataset], Matrix]


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


def benchmark_dataset(task: str, mix: str) -> TrajectoryDataset:
    """The episodes of a task, collected when missing."""
    path = DATA / mix / f"{task}.hdf5"
    collect(f"metaworld/{task}-v3", {"horizon": 200}, shipped_mix(mix), EPISODES, 0, path)
    return load_dataset(path)


def oracle_labels(dataset: TrajectoryDataset, seed: int = 0) -> Preferences:
    """`SOURCE_PAIRS` pairs of whole episodes, ordered by their true return."""
    pairs = uniform_pairs(whole_episodes(dataset), SOURCE_PAIRS, numpy_generator(seed, "pairs"))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return scripted_labels(dataset, pairs, TEACHERS["oracle"], numpy_generator(seed, "oracle"), now)


def label_table(tasks: Sequence[str]) -> list[dict[str, object]]:
    """One row per method, mix, source and target."""
    rows: list[dict[str, object]] = []
    for source_mix, target_mix in MIXES:
        sources = {task: benchmark_dataset(task, source_mix) for task in tasks}
        targets = {task: benchmark_dataset(task, target_mix) for task in tasks}
        labels = {task: oracle_labels(dataset) for task, dataset in sources.items()}
        for name, method in METHODS.items():
            scores = []
            for source, target in itertools.permutations(tasks, 2):
                transferred = method(sources[source], labels[source], targets[target])
                scores.append(accuracies(transferred, targets[target].returns))
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


def accuracies(labels: Matrix, returns: Matrix) -> tuple[float, float]:
    """Share of right labels over all pairs, and over the half farthest from a tie."""
    first, second = np.triu_indices(len(returns), k=1)
    label, better = labels[first, second], returns[second] > returns[first]
    right = np.where(label == 0.5, 0.5, (label > 0.5) == better)
    sure = np.argsort(-np.abs(label - 0.5), kind="stable")[: len(label) // 2]
    return float(right.mean()), float(right[sure].mean())


def cpa(preset: str) -> Method:
    """The method under test, by the name of its preset."""

    def method(source: TrajectoryDataset, labels: Preferences, target: TrajectoryDataset) -> Matrix:
        plan = align(source, labels, target, whole_episodes(target), PRESETS[preset])
        return plan.label_matrix()

    return method


def neighbours(
    features: Callable[[TrajectoryDataset, TrajectoryDataset], tuple[Matrix, Matrix]],
) -> Method:
    """Control without transport: mean label of the nearest source episodes in some features."""

    def method(source: TrajectoryDataset, labels: Preferences, target: TrajectoryDataset) -> Matrix:
        left, right = features(source, target)
        distances = np.linalg.norm(left[:, None] - right[None], axis=2)
        nearest = np.argsort(distances, axis=0)[:NEIGHBOURS]
        weights = np.zeros_like(distances)
        np.put_along_axis(weights, nearest, 1.0 / NEIGHBOURS, axis=0)
        given = complete_labels(len(source), labels.first.episodes, labels.second.episodes, labels)
        return weights.T @ given @ weights

    return method


def standardised(
    features: Callable[[TrajectoryDataset], Matrix],
) -> Callable[[TrajectoryDataset, TrajectoryDataset], tuple[Matrix, Matrix]]:
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


def progress(source: TrajectoryDataset, target: TrajectoryDataset) -> tuple[Matrix, Matrix]:
    """The features that CPA uses."""
    return align_features(
        progress_features(source, whole_episodes(source)),
        progress_features(target, whole_episodes(target)),
    )


METHODS: dict[str, Method] = {
    "default": cpa("default"),
    "pearl_paper": cpa("pearl_paper"),
    "proximal": cpa("proximal"),
    "control: noise features": neighbours(standardised(noise_features)),
    "control: motion neighbours": neighbours(standardised(motion_features)),
    "control: progress, no transport": neighbours(progress),
}


if __name__ == "__main__":
    main()

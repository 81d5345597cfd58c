"""People who want different things: one reward for all, one for each group, one told by a latent.

Some people like it fast (the segment in which the hand moves more decides), some gentle (the one
with the smaller actions): two and two, or three and one, where every other seed the one is for the
other wish. Each labels 100 pairs of segments of 50 steps of the training episodes; the exam is 500
pairs of the held-out third for each wish. Nobody tells the rewards who is of one mind. Rewards look
at actions too, since one of the wishes is about them.

    python benchmarks/annotators.py [--quick] [--json results/annotators.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from results import parse_arguments, write_results
from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import all_segments
from robopref.evaluation.reward_quality import label_accuracy
from robopref.evaluation.statistics import mean
from robopref.parallel import parallel
from robopref.preferences.dataset import Preferences
from robopref.preferences.hierarchy import HierarchyConfig, hierarchy_labels
from robopref.preferences.queries import split_episodes, uniform_pairs
from robopref.processes import one_thread
from robopref.rewards.base import RewardModel
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.groups import GroupsConfig
from robopref.rewards.personal import PersonalReward
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import relabel
from robopref.rewards.vpl import VPLConfig
from robopref.seeding import numpy_generator
from transfer import benchmark_dataset

TASKS = "button-press drawer-open door-close".split()
CROWDS = {"two and two": (2, 2), "three and one": (3, 1)}
"""How many people have each wish."""
NAMES = ("ana", "ben", "cem", "dora")
WISHES: Mapping[str, HierarchyConfig] = {
    # The hand's place now and one step ago.
    "fast": HierarchyConfig(
        ["speed"], functions={"speed": {"key": "flat", "at": [0, 1, 2], "to": [18, 19, 20]}}
    ),
    "gentle": HierarchyConfig(["energy"]),
}
MODELS = {
    "one for all": BradleyTerryConfig(actions=True),
    "groups": GroupsConfig(actions=True),
    "vpl": VPLConfig(actions=True),
}
SEEDS, LABELS, EXAM, LENGTH = 5, 100, 500, 50
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    """Trains, examines and writes."""
    arguments = parse_arguments(__doc__.splitlines()[0], "annotators")
    one_thread()
    tasks, seeds = (TASKS[:1], 2) if arguments.quick else (TASKS, SEEDS)
    for task in tasks:
        benchmark_dataset(task, "mixed")  # recorded by one process
    runs = list(itertools.product(range(seeds), tasks, CROWDS))
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    examined = parallel(examiner, (), runs)
    for (seed, task, crowd), scores_of in zip(
        runs, track(examined, "learning", len(runs), transient=True), strict=True
    ):
        for name, scores in scores_of.items():
            rows = found.setdefault(f"{crowd}: {name}", {})
            for wish, score in scores.items():
                row = rows.setdefault(wish, np.zeros((seeds, len(tasks))))
                row[seed, tasks.index(task)] = score
    table, headline = [], {}
    for name, scores in found.items():
        estimates = {wish: mean(values) for wish, values in scores.items()}
        table.append({"reward": name} | {
            f"{wish}_{end}": round(getattr(estimate, end), 4)
            for wish, estimate in estimates.items() for end in ("value", "low", "high")
        })  # fmt: skip
        headline[f"{name.replace(': ', '_').replace(' ', '_')}_worse"] = round(
            estimates["worse"].value, 4
        )
        print(f"{name:46}", {wish: round(each.value, 3) for wish, each in estimates.items()})
    write_results(arguments.json, headline, table, ["torch", "metaworld"])


def examiner() -> Callable[[tuple[int, str, str]], dict[str, dict[str, float]]]:
    """What examines the rewards of one seed, task and crowd."""
    one_thread()

    def run(item: tuple[int, str, str]) -> dict[str, dict[str, float]]:
        seed, task, crowd = item
        return examine(benchmark_dataset(task, "mixed"), seed, people_of(CROWDS[crowd], seed))

    return run


def people_of(counts: tuple[int, int], seed: int) -> dict[str, str]:
    """Person to wish."""
    wishes = list(WISHES)[:: -1 if seed % 2 else 1]
    return dict(zip(NAMES, [wishes[0]] * counts[0] + [wishes[1]] * counts[1], strict=True))


def examine(
    dataset: TrajectoryDataset, seed: int, people: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Reward and wish to accuracy, `worse` that of the wish that is served worse."""
    rng = numpy_generator(seed, "annotators")
    train, held_out = split_episodes(len(dataset), 1.0 / 3.0, rng)
    exams = {
        wish: labelled(dataset, held_out, EXAM, config, wish, rng)
        for wish, config in WISHES.items()
    }
    given = [
        labelled(dataset, train, LABELS, WISHES[wish], person, rng)
        for person, wish in people.items()
    ]
    labels = reduce(Preferences.join, given)
    found: dict[str, dict[str, float]] = {
        "answers of one about the other": agreement(dataset, exams)
    }
    for name, config in MODELS.items():
        model = make_reward(config, dataset, seed)
        model.fit(labels, dataset, seed)
        found[name] = accuracies(dataset, exams, dict.fromkeys(WISHES, model))
        if isinstance(model, PersonalReward):
            own = {wish: model.of(person) for person, wish in people.items()}
            found[f"{name}, of the person"] = accuracies(dataset, exams, own)
    return found


def labelled(
    dataset: TrajectoryDataset, episodes: NDArray[np.int64], count: int, wish: HierarchyConfig,
    name: str, rng: np.random.Generator,
) -> Preferences:  # fmt: skip
    """Labels of random pairs of segments of some episodes."""
    pairs = uniform_pairs(all_segments(dataset, LENGTH, episodes), count, rng)
    return hierarchy_labels(dataset, pairs, wish, NOW, annotator=name)[0]


def accuracies(
    dataset: TrajectoryDataset,
    exams: Mapping[str, Preferences],
    models: Mapping[str, RewardModel],
) -> dict[str, float]:
    """By wish, and the lower of the two."""
    scores = {
        wish: label_accuracy(relabel(dataset, models[wish]).mean, exam, dataset)
        for wish, exam in exams.items()
    }
    return {**scores, "worse": min(scores.values())}


def agreement(dataset: TrajectoryDataset, exams: Mapping[str, Preferences]) -> dict[str, float]:
    """How often the other wish would have given the same answer."""
    others = dict(zip(WISHES, reversed(WISHES), strict=True))
    scores = {}
    for wish, exam in exams.items():
        pairs = exam.first, exam.second
        other = hierarchy_labels(dataset, pairs, WISHES[others[wish]], NOW)[0]
        scores[wish] = float(np.mean(other.labels == exam.labels))
    return {**scores, "worse": min(scores.values())}


if __name__ == "__main__":
    main()

"""Which source to transfer from: predicted against real quality, over all pairs of an archive.

An archive of eight Meta-World tasks, each recorded twice (behaviours of all sorts, and such that a
fifth of the episodes succeed), with 30, 100 or 1,000 labels. Half of the recordings are taken to be
labelled, the others not, in forty ways. From the pairs of labelled ones a Gaussian process predicts
how many labels are right that are carried over to the others; so do the plain criteria (confidence
of the carried labels, transport distance) and chance. Transfers between two recordings of one task
are left out.

    python benchmarks/source_choice.py [--quick] [--json results/source_choice.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from results import parse_arguments, shipped_mix, write_results
from robopref.benchmark.transfers import label_accuracies, oracle_labels
from robopref.data.collect import collect
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset
from robopref.data.segments import whole_episodes
from robopref.evaluation.statistics import Scores, mean
from robopref.files import read_json, write_json
from robopref.parallel import parallel
from robopref.preferences.dataset import Preferences
from robopref.preferences.source_choice import LabelledPair, TransferQuality, observe
from robopref.preferences.transfer import TransferConfig, align

TASKS = (
    "button-press drawer-open window-open door-close faucet-close sweep-into plate-slide door-open"
).split()
MIXES, LABELS, EPISODES = ("mixed", "scarce"), (30, 100, 1_000), 200
DATA, SPLITS = Path("data/benchmark"), 40
MEASURES = ("rank_correlation", "rank_correlation_within_target", "accuracy_of_choice")

Recording = tuple[str, str]
"""Task and mix of behaviours."""


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], "source_choice")
    archive = [(task, mix) for mix in MIXES for task in TASKS[: 4 if arguments.quick else None]]
    for task, mix in archive:
        path = DATA / mix / f"{task}.hdf5"
        collect(f"metaworld/{task}-v3", {"horizon": 200}, shipped_mix(mix), EPISODES, 0, path)
    ordered = [pair for pair in permutations(archive, 2) if pair[0][0] != pair[1][0]]
    folder = arguments.json.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    list(parallel(_measurer, (str(folder),), ordered))
    found = {pair: read_json(_path(folder, pair)) for pair in ordered}
    splits = [_split(number, archive, found) for number in range(SPLITS)]
    table, headline = [], {}
    for name in splits[0]:
        scores = np.array([split[name] for split in splits])
        row: dict[str, Any] = {"criterion": name}
        for measure, column in zip(MEASURES, scores.T, strict=True):
            estimate = mean(column[:, None])
            row |= {measure: round(estimate.value, 4), f"{measure}_low": round(estimate.low, 4),
                    f"{measure}_high": round(estimate.high, 4)}  # fmt: skip
            headline[f"{name}_{measure}"] = round(estimate.value, 4)
        table.append(row)
        print(row)
    table += [
        {"source": " ".join(s), "target": " ".join(t), **seen} for (s, t), seen in found.items()
    ]
    write_results(arguments.json, headline, table, ["POT", "numpy", "scipy", "metaworld"])


def _path(folder: Path, pair: tuple[Recording, Recording]) -> Path:
    return folder / f"{'-'.join((*pair[0], *pair[1]))}.json"


@cache
def _recorded(recording: Recording) -> tuple[TrajectoryDataset, Preferences]:
    """A dataset of the archive, and its labels."""
    task, mix = recording
    dataset = load_dataset(DATA / mix / f"{task}.hdf5")
    count = LABELS[(TASKS.index(task) + MIXES.index(mix)) % len(LABELS)]
    return dataset, oracle_labels(dataset, count)


def _measurer(folder: str) -> Any:
    """What measures a pair of recordings, unless that has been done."""

    def measure(pair: tuple[Recording, Recording]) -> None:
        path = _path(Path(folder), pair)
        if path.exists():
            return
        source, target = map(_recorded, pair)
        seen = observe(source, target, TransferConfig())
        plan = align(*source, target[0], whole_episodes(target[0]), TransferConfig())
        real, _ = label_accuracies(plan.label_matrix(), target[0].returns)
        write_json(path, {**vars(seen), "real": real})

    return measure


def _split(number: int, archive: list[Recording], found: Any) -> dict[str, list[float]]:
    """Criterion to its measures, where a random half of the archive has labels."""
    rng = np.random.default_rng(number)
    order = rng.permutation(len(archive))
    labelled = [archive[i] for i in order[: len(archive) // 2]]
    others = [archive[i] for i in order[len(archive) // 2 :]]
    known = [_seen(found[s, t]) for s in labelled for t in labelled if (s, t) in found]
    asked = [(s, t) for t in others for s in labelled if (s, t) in found]

    def column(name: str) -> Scores:
        return np.array([found[pair][name] for pair in asked])

    predicted, _ = TransferQuality(known).predict([_seen(found[pair]) for pair in asked])
    criteria = {
        "gaussian_process": predicted, "confidence": column("confidence"),
        "distance": -column("distance"), "labels": column("labels"),
        "random": rng.random(len(asked)), "best": column("real"),
    }  # fmt: skip
    targets = np.array([others.index(target) for _, target in asked])
    return {name: _measures(values, column("real"), targets) for name, values in criteria.items()}


def _seen(pair: dict[str, Any]) -> LabelledPair:
    return LabelledPair(**{name: value for name, value in pair.items() if name != "real"})


def _measures(values: Scores, real: Scores, targets: NDArray[np.int64]) -> list[float]:
    """Rank correlation over all pairs, the mean of those over the sources of one target, and the
    quality of each target's first choice.
    """
    groups = [targets == target for target in np.unique(targets)]
    within = [spearmanr(values[g], real[g])[0] for g in groups if np.ptp(values[g]) > 0.0]
    picked = [real[g][values[g].argmax()] for g in groups]
    return [float(spearmanr(values, real)[0]), float(np.mean(within)), float(np.mean(picked))]


if __name__ == "__main__":
    main()

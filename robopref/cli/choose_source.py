r"""Says which labelled task to transfer from, and which task to label next.

From the pairs of tasks that both have labels a Gaussian process learns how well labels carry over,
given the transport distance between two tasks; needs three labelled tasks. No label of a task that
has none is needed.

Examples:
  robopref choose-source datasets=[a.hdf5,b.hdf5,c.hdf5,new.hdf5] \
      preferences=[a.parquet,b.parquet,c.parquet]
  robopref choose-source datasets=[a.hdf5,b.hdf5,c.hdf5,d.hdf5,e.hdf5] \
      preferences=[a.parquet,b.parquet,c.parquet] cluster=ray
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

import numpy as np

from robopref.cli.config import register, run
from robopref.cli.runs import run_folder
from robopref.data.robomimic import load_dataset
from robopref.errors import InputError
from robopref.files import write_json
from robopref.parallel import parallel
from robopref.preferences.dataset import load_preferences
from robopref.preferences.source_choice import LabelledPair, TransferQuality, next_task, observe
from robopref.preferences.transfer import PRESETS, TransferConfig


@dataclass
class ChooseSourceConfig:
    """Options of `robopref choose-source`."""

    datasets: list[str] = field(default_factory=list)
    """The tasks, those with labels first."""
    preferences: list[str] = field(default_factory=list)
    """Preferences file of each labelled task, in the same order."""
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """How labels are carried over: default, pearl_paper or proximal, and its options."""
    workers: int = 0
    """Processes, one for each core when 0."""
    cluster: str = ""
    """Where pairs are measured: on this machine when empty, or ray, or a Ray cluster's address."""
    name: str = ""
    """Name of the run's folder under runs/choose-source, the time of day when empty."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise InputError(f"workers={self.workers}: must be at least 0")
        if len(self.preferences) >= len(self.datasets):
            raise InputError(
                f"{len(self.datasets)} datasets and {len(self.preferences)} preferences files; "
                "give those with labels first, and at least one that has none"
            )
        if len(self.preferences) < 3:
            raise InputError(
                f"preferences=: {len(self.preferences)} labelled tasks; a prediction needs three. "
                "robopref transfer source=[…] takes the source that fits best"
            )


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    for name, preset in PRESETS.items():
        register(f"transfer/{name}", preset)
    run("choose-source", ChooseSourceConfig, arguments, choose_source)


def choose_source(config: ChooseSourceConfig) -> None:
    """Measures all pairs of tasks and says what they promise."""
    tasks, labelled = range(len(config.datasets)), len(config.preferences)
    ordered = list(permutations(tasks, 2))
    with run_folder("choose-source", config.name, config) as folder:
        found = list(parallel(_observer, (config,), ordered, config.workers, config.cluster))
        pairs = dict(zip(ordered, found, strict=True))
        quality = TransferQuality(found)
        choices = [_ranked(quality, pairs, labelled, target) for target in tasks[labelled:]]
        following = _next(quality, pairs, labelled, len(tasks))
        write_json(folder / "metrics.json", {
            "pairs": [
                vars(pair) for pair in pairs.values()
            ],
            "sources": {
                config.datasets[target]: [
                    {"source": config.datasets[source], "quality": mean, "std": std}
                    for source, mean, std in ranked
                ]
                for target, ranked in zip(tasks[labelled:], choices, strict=True)
            },
            "label_next": config.datasets[following],
        })  # fmt: skip
    for target, ranked in zip(tasks[labelled:], choices, strict=True):
        print(f"{config.datasets[target]}: transfer from {config.datasets[ranked[0][0]]}")
        for source, mean, std in ranked:
            print(f"  {config.datasets[source]}: {100 * mean:.0f} ± {100 * std:.0f} % right labels")
    print(f"label next: {config.datasets[following]}")


def _observer(config: ChooseSourceConfig) -> Callable[[tuple[int, int]], LabelledPair]:
    """What measures an ordered pair of tasks."""
    datasets = [load_dataset(path, images=False) for path in config.datasets]
    labels = [load_preferences(path) for path in config.preferences]
    tasks = list(zip(datasets, [*labels, *[None] * (len(datasets) - len(labels))], strict=True))
    return lambda pair: observe(tasks[pair[0]], tasks[pair[1]], config.transfer)


Pairs = dict[tuple[int, int], LabelledPair]


def _ranked(
    quality: TransferQuality, pairs: Pairs, labelled: int, target: int
) -> list[tuple[int, float, float]]:
    """Sources of a target with mean and standard deviation of the quality, the best first."""
    mean, std = quality.predict([pairs[source, target] for source in range(labelled)])
    order = np.argsort(-mean, kind="stable")
    return [(int(source), float(mean[source]), float(std[source])) for source in order]


def _next(quality: TransferQuality, pairs: Pairs, labelled: int, tasks: int) -> int:
    """The task to label next, with as many labels as the others have in the median."""
    count = int(np.median([pairs[source, labelled].labels for source in range(labelled)]))
    targets = range(labelled, tasks)

    def predicted(source: int, target: int) -> tuple[float, float]:
        if source == target:  # its own labels are right
            return 1.0, 0.0
        seen = pairs[source, target]
        mean, std = quality.predict([replace(seen, labels=seen.labels or count)])
        return float(mean[0]), float(std[0])

    best = np.array([max(predicted(s, t)[0] for s in range(labelled)) for t in targets])
    grid = np.array([[predicted(source, target) for target in targets] for source in targets])
    return labelled + next_task(best, grid[..., 0], grid[..., 1])

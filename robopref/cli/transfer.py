"""Labels a task that has no labels from the preferences of one that has (PEARL's CPA).

With several candidate sources, the one that fits the target best is used; no label of the target
is read for that. `transfer=pearl_paper` follows the paper, `transfer=default` is better.

Examples:
  robopref transfer source=button.hdf5 preferences=button.parquet target=drawer.hdf5
  robopref transfer source=[a.hdf5,b.hdf5] preferences=[a.parquet,b.parquet] target=c.hdf5
  robopref transfer source=a.hdf5 preferences=a.parquet target=c.hdf5 transfer=pearl_paper
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from robopref.cli.config import register, run
from robopref.cli.runs import run_folder
from robopref.data.robomimic import load_dataset
from robopref.data.segments import sample_segments, whole_episodes
from robopref.errors import InputError
from robopref.files import write_json
from robopref.parallel import parallel
from robopref.preferences.dataset import Preferences, load_preferences, save_preferences
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.transfer import PRESETS, TransferConfig, transfer_preferences
from robopref.seeding import numpy_generator


@dataclass
class TransferCommandConfig:
    """Options of `robopref transfer`."""

    source: Any = MISSING
    """Labelled dataset, or a list of candidates."""
    preferences: Any = MISSING
    """Preferences file of each source, in the same order."""
    target: str = MISSING
    """Dataset without labels."""
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """The method: default, pearl_paper or proximal, and its options."""
    pairs: int = 1000
    """Pairs of target segments to label, drawn uniformly; all there are when fewer."""
    segment_length: int = 0
    """Steps of a target segment; that of the source labels when 0."""
    seed: int = 0
    """Seed of the pairs."""
    output: str = ""
    """The Parquet file; preferences.parquet in the run's folder when empty."""
    workers: int = 0
    """Processes that sources are tried in, one for each core when 0."""
    cluster: str = ""
    """Where they are tried: on this machine when empty, or ray, or a Ray cluster's address."""
    name: str = ""
    """Name of the run's folder under runs/transfer, the time of day when empty."""

    def __post_init__(self) -> None:
        for name, least in (("pairs", 2), ("segment_length", 0), ("seed", 0), ("workers", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)}: must be at least {least}")
        for name in ("source", "preferences"):
            value = getattr(self, name)
            if value != MISSING:
                setattr(self, name, [str(v) for v in value] if isinstance(value, list) else [value])
        if MISSING not in (self.source, self.preferences):
            if len(self.source) != len(self.preferences):
                raise InputError(
                    f"{len(self.source)} sources but {len(self.preferences)} preferences files; "
                    "give one for each source"
                )


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    for name, preset in PRESETS.items():
        register(f"transfer/{name}", preset)
    run("transfer", TransferCommandConfig, arguments, transfer)


def transfer(config: TransferCommandConfig) -> None:
    """Writes the transferred preferences and says how well the sources fit."""
    for name in ("source", "preferences", "target"):
        if getattr(config, name) == MISSING:
            raise InputError(f"{name}=: must be given; robopref transfer --help shows examples")
    with run_folder("transfer", config.name, config) as folder:
        sources = list(zip(config.source, config.preferences, strict=True))
        found = parallel(
            _from_source, (config, datetime.now(UTC)), sources, config.workers, config.cluster
        )
        candidates = [
            (confidence, path, transferred)
            for path, (confidence, transferred) in zip(config.source, found, strict=True)
        ]
        candidates.sort(key=lambda candidate: -candidate[0])
        confidence, chosen, transferred = candidates[0]
        output = Path(config.output) if config.output else folder / "preferences.parquet"
        save_preferences(output, transferred)
        write_json(
            folder / "metrics.json",
            {
                "pairs": len(transferred),
                "mean_confidence": confidence,
                "source": chosen,
                "candidates": [
                    {"source": path, "mean_confidence": value} for value, path, _ in candidates
                ],
            },
        )
    for value, path, _ in candidates if len(candidates) > 1 else []:
        print(f"{path}: mean confidence {value:.3f}")
    print(f"{output}: {len(transferred)} pairs labelled from {chosen}")


def _from_source(
    config: TransferCommandConfig, now: datetime
) -> Callable[[tuple[str, str]], tuple[float, Preferences]]:
    """What labels the target from one source and its preferences, and says how well it fits."""
    target = load_dataset(config.target)
    first = load_preferences(config.preferences[0])
    # The same target pairs for all sources.
    rng = numpy_generator(config.seed, "transfer pairs")
    length = config.segment_length or int(first.first.lengths.max(initial=0))
    if (target.lengths <= length).all() and not config.segment_length:
        segments = whole_episodes(target)
    else:
        segments = sample_segments(target, min(2 * config.pairs, 600), length, rng)
    most = len(segments) * (len(segments) - 1) // 2
    pairs = uniform_pairs(segments, min(config.pairs, most), rng)

    def label(source: tuple[str, str]) -> tuple[float, Preferences]:
        dataset, labels = load_dataset(source[0]), load_preferences(source[1])
        transferred, plan = transfer_preferences(
            dataset, labels, target, pairs, config.transfer, now
        )
        return plan.confidence, transferred

    return label

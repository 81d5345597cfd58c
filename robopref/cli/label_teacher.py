"""Labels pairs of segments of a dataset: people, a scripted teacher, a ranking, or a reward.

`robopref label FILE` serves a page on which people compare videos; `robopref label FILE --help` has
its options. With `dataset=FILE` a scripted teacher answers, who reads the true reward; with
`labeler=heron`, a ranking of factors by importance, which needs no label by hand; with
`labeler=reward`, a reward that was learned before, by its sums.

Teachers are those of B-Pref: oracle, mistake, noisy, skip, myopic, equal; every irrationality is
an option of its own. A teacher that skips pairs leaves fewer labels than pairs, and so do
pairs that no factor decides.

Examples:
  robopref label button.hdf5
  robopref label dataset=button.hdf5 output=button.parquet
  robopref label dataset=button.hdf5 labeler=mistake labeler.mistake=0.2 pairs=300
  robopref label dataset=button.hdf5 labeler=myopic segment_length=50
  robopref label dataset=button.hdf5 ranking_size=10 pairs=200
  robopref label dataset=button.hdf5 labeler=heron labeler.ranking=[success,place,reach,energy]
  robopref label dataset=more.hdf5 labeler=reward labeler.folder=runs/train-reward/b/reward
  robopref label dataset=button.hdf5 strategy=disagreement rewards=runs/train-reward/b/reward \
    preferences=button.parquet pairs=50 output=more.parquet
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import MISSING

from robopref.cli.config import register, run
from robopref.cli.device import chosen_device
from robopref.cli.runs import run_folder
from robopref.data.dataset import TrajectoryDataset
from robopref.data.lazy import load_dataset_lazily
from robopref.data.segments import segments_of_length
from robopref.errors import InputError
from robopref.files import write_json
from robopref.preferences.active import UNIFORM, check_strategy
from robopref.preferences.dataset import (
    Preferences,
    check_dataset,
    load_preferences,
    save_preferences,
)
from robopref.preferences.hierarchy import (
    HierarchyConfig,
    hierarchy_answers,
    hierarchy_labels,
    in_words,
)
from robopref.preferences.queries import Pairs
from robopref.preferences.ranked_lists import ask_for_lists
from robopref.preferences.teachers import (
    TEACHERS,
    TeacherConfig,
    scripted_labels,
    teacher_answers,
)
from robopref.report.hierarchy import hierarchy_picture
from robopref.rewards.labeler import RewardLabelerConfig, paid_by
from robopref.rewards.questions import choose_pairs
from robopref.rewards.registry import load_reward
from robopref.seeding import numpy_generator

HERON, REWARD, SCRIPTED = "heron", "reward", "scripted"
TREE_FILE = "hierarchy.png"


@dataclass
class LabelConfig:
    """Options of `robopref label`."""

    dataset: str = MISSING
    """robomimic HDF5 file; with true rewards for a teacher."""
    labeler: Any = MISSING
    """The teacher: oracle, mistake, noisy, skip, myopic or equal, and its irrationalities; or
    heron, with labeler.ranking, labeler.margins, labeler.absolute and labeler.functions; or reward,
    with labeler.folder, that of a saved one."""
    pairs: int = 300
    """Different pairs to ask about: the budget."""
    strategy: str = "uniform"
    """Which pairs: uniform, k_center, or, by a reward so far, disagreement, entropy,
    mutual_information, thompson or volume_removal."""
    rewards: str = ""
    """Folder of the reward so far."""
    preferences: str = ""
    """Parquet file of the labels so far: their pairs are not asked again, and stand first in the
    output."""
    ranking_size: int = 0
    """Segments of a ranked list, which the teacher is asked for in place of pairs; `pairs` is then
    the number of comparisons by which it puts new segments into their places. 0 asks pairs."""
    segment_length: int = 0
    """Steps of a segment; whole episodes when 0."""
    seed: int = 0
    """Seed of the pairs and of the teacher."""
    annotator: str = MISSING
    """Name written into every row, the labeler's when not given."""
    output: str = ""
    """The Parquet file; preferences.parquet in the run's folder when empty."""
    name: str = ""
    """Name of the run's folder under runs/label, the time of day when empty."""

    def __post_init__(self) -> None:
        least = {"pairs": 1, "ranking_size": 0, "segment_length": 0, "seed": 0}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise InputError(f"{name}={getattr(self, name)}: must be at least {minimum}")
        check_strategy(self.strategy)
        if self.ranking_size and (self.strategy != UNIFORM or self.preferences):
            raise InputError(
                f"ranking_size={self.ranking_size}: lists are of segments at random, so leave "
                "strategy= and preferences= out"
            )


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    for name, preset in TEACHERS.items():
        register(f"labeler/{name}", preset)
    register(f"labeler/{HERON}", HierarchyConfig)
    register(f"labeler/{REWARD}", RewardLabelerConfig)
    run("label", LabelConfig, arguments, label)


def label(config: LabelConfig) -> None:
    """Writes the preferences and says how many there are."""
    dataset = load_dataset_lazily(config.dataset)
    earlier = load_preferences(config.preferences) if config.preferences else None
    if earlier is not None:
        check_dataset(earlier, dataset)
    if isinstance(config.labeler, RewardLabelerConfig):
        dataset = paid_by(dataset, config.labeler, chosen_device("auto"))
    if config.ranking_size:
        preferences, asked, decided = *_ranked(config, dataset), dict[str, int]()
    else:
        preferences, decided = _paired(config, dataset, earlier)
        asked = config.pairs
    with run_folder("label", config.name, config) as folder:
        output = Path(config.output) if config.output else folder / "preferences.parquet"
        save_preferences(output, earlier.join(preferences) if earlier is not None else preferences)
        metrics = {
            "asked": asked,
            "labelled": len(preferences),
            "ties": int((preferences.labels == 0.5).sum()),
            "second_preferred": int((preferences.labels > 0.5).sum()),
        }
        if decided:
            metrics |= {f"decided_by/{name}": count for name, count in decided.items()}
            hierarchy_picture(decided, config.pairs, folder / TREE_FILE)
            print("\n".join([*in_words(decided, config.pairs), f"{folder / TREE_FILE}: the tree"]))
        write_json(folder / "metrics.json", metrics)
    said = f"{len(preferences)} of {asked} pairs labelled by {config.annotator}"
    if config.ranking_size:
        said = (
            f"{len(preferences)} pairs of lists of {config.ranking_size}, from {asked} comparisons "
            f"by {config.annotator}"
        )
    beside = f", beside {len(earlier)} earlier ones" if earlier is not None else ""
    print(f"{output}: {said}{beside}")


def _paired(
    config: LabelConfig, dataset: TrajectoryDataset, earlier: Preferences | None
) -> tuple[Preferences, dict[str, int]]:
    """Labelled pairs, and for a ranking of factors how many pairs each one decided."""
    pairs = choose_pairs(
        config.strategy,
        dataset,
        segments_of_length(dataset, config.segment_length),
        config.pairs,
        numpy_generator(config.seed, "pairs"),
        load_reward(config.rewards) if config.rewards else None,
        (earlier.first, earlier.second) if earlier is not None else None,
    )
    now = datetime.now(UTC)
    if not isinstance(config.labeler, HierarchyConfig):
        rng, teacher = numpy_generator(config.seed, "teacher"), _teacher(config.labeler)
        preferences = scripted_labels(
            dataset, pairs, teacher, rng, now, annotator=config.annotator, source=_source(config)
        )
        return preferences, {}
    preferences, decided = hierarchy_labels(
        dataset, pairs, config.labeler, now, annotator=config.annotator
    )
    if not len(preferences):
        raise InputError(
            f"labeler.ranking={list(decided)}: none of {config.pairs} pairs of {config.dataset} "
            "differs by more than the margins; lower labeler.margins or add a factor"
        )
    return preferences, decided


def _teacher(labeler: TeacherConfig | RewardLabelerConfig) -> TeacherConfig:
    """Who answers: a reward does as an oracle whose true reward it is."""
    return TEACHERS["oracle"] if isinstance(labeler, RewardLabelerConfig) else labeler


def _source(config: LabelConfig) -> str:
    """Where the labels come from, one of `robopref.preferences.dataset.SOURCES`."""
    kinds = {HierarchyConfig: HERON, RewardLabelerConfig: REWARD}
    return kinds.get(type(config.labeler), SCRIPTED)


def _ranked(config: LabelConfig, dataset: TrajectoryDataset) -> tuple[Preferences, int]:
    """The pairs of ranked lists, and how many comparisons they took."""
    rng = numpy_generator(config.seed, "teacher")
    heron = isinstance(config.labeler, HierarchyConfig)

    def compare(pairs: Pairs) -> NDArray[np.float64]:
        if heron:
            return hierarchy_answers(dataset, pairs, config.labeler)[0]
        return teacher_answers(dataset, pairs, _teacher(config.labeler), rng)

    pairs, labels, numbers, asked = ask_for_lists(
        segments_of_length(dataset, config.segment_length),
        config.ranking_size,
        config.pairs,
        compare,
        numpy_generator(config.seed, "pairs"),
    )
    preferences = Preferences.from_labels(
        dataset,
        *pairs,
        labels,
        source=_source(config),
        annotator=config.annotator,
        created_at=datetime.now(UTC),
    )
    return replace(preferences, ranking=numbers), asked

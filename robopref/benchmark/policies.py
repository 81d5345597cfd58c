"""Policies from labels, beside cloning and the true reward: success.

Data of which about a fifth of the episodes succeed, so that cloning them fails. An oracle labels
pairs of whole episodes: their returns order them as their regrets do, since all start alike. Every
method has the same data, labels and updates; `…best_tenth` takes the episodes of the highest
sum of a learned reward. Transferred labels were given on another task, on pieces of 50
steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopref.benchmark import rewards
from robopref.benchmark.cell import (
    MIXED,
    NOW,
    SCARCE,
    Cell,
    DataConfig,
    dataset_path,
    env_kwargs,
    recorded,
    short_name,
)
from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import sample_segments, whole_episodes
from robopref.policies.behavior_cloning import BehaviorCloningConfig
from robopref.policies.cpl import CPLConfig
from robopref.policies.dppo import DPPOConfig
from robopref.policies.ipl import IPLConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.oppo import OPPOConfig
from robopref.preferences.dataset import Preferences, save_preferences
from robopref.preferences.queries import Pairs, uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.preferences.transfer import PRESETS, transfer_preferences
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.pearl import PearlConfig
from robopref.seeding import numpy_generator
from robopref.training.arms import ArmRun, make_run
from robopref.training.evaluated import RESULT_FILE, EvaluationConfig, load_result
from robopref.training.offline import OfflineTrainingConfig

TABLE, MIX, SOURCE_MIX = "policies", SCARCE, MIXED
BASELINE = "cloning"
SEGMENTS, SEGMENT_LENGTH, TARGET_PAIRS = 400, 50, 1_000
"""Of transferred labels."""


@dataclass(frozen=True)
class Method:
    """A way from labels to a policy."""

    policy: Any
    reward: Any = None
    labels: bool = True
    """Whether it needs any."""
    transfer: str = ""
    """Preset by which labels of another task are carried over."""
    true_reward: bool = False
    best_episodes: float = 1.0
    batch_size: int = 256
    asked: rewards.Method | None = None
    """Whose labels they are, where not plain pairs."""


CLONING, IQL = BehaviorCloningConfig(), IQLConfig()
WAYS: Mapping[str, Method] = {
    "oppo": Method(OPPOConfig(), batch_size=64),
    "cpl": Method(CPLConfig()),
    "cpl_bc": Method(CPLConfig(cloning_weight=1.0)),
    "ipl": Method(IPLConfig()),
    "dppo": Method(DPPOConfig()),
    "bradley_terry_iql": Method(IQL, BradleyTerryConfig()),
    "pearl_iql": Method(IQL, PearlConfig()),
    "transferred_pearl_iql": Method(IQL, PearlConfig(), transfer="default"),
    "transferred_plain_gw_iql": Method(IQL, BradleyTerryConfig(), transfer="pearl_paper"),
    "transferred_cloning_best_tenth": Method(
        CLONING, PearlConfig(), transfer="default", best_episodes=0.1
    ),
    "true_reward_iql": Method(IQL, labels=False, true_reward=True),
    "zero_reward_iql": Method(IQL, labels=False),
    BASELINE: Method(CLONING, labels=False),
    "cloning_best_tenth": Method(CLONING, BradleyTerryConfig(), best_episodes=0.1),
}
METHODS: Mapping[str, Method] = {
    **WAYS,
    **{
        f"{name}_iql": Method(IQL, method.config, asked=method)
        for name, method in rewards.METHODS.items()
        if f"{name}_iql" not in WAYS
    },
}
"""Also IQL on every reward model."""


def success(cell: Cell, data: DataConfig, updates: int, episodes: int, folder: Path) -> float:
    """Trains a policy, going on where it was, and plays it."""
    method = METHODS[cell.method]
    path = dataset_path(cell.task, MIX, folder)
    run = ArmRun(
        arm=cell.method,
        folder=folder / "policies" / cell.key,
        dataset=path,
        preferences=_labelled(cell, method.transfer, path, folder) if method.labels else None,
        reward=method.reward,
        policy=method.policy,
        training=OfflineTrainingConfig(updates, method.batch_size, cell.seed, 100, 1_000),
        evaluation=EvaluationConfig(episodes=episodes, episodes_on_the_way=0),
        env_id=cell.task,
        env_kwargs=env_kwargs(cell.task, data),
        true_reward=method.true_reward,
        best_episodes=method.best_episodes,
    )
    if not run.done:
        make_run(run)
    return load_result(run.folder / RESULT_FILE).summary["success"]


def _labelled(cell: Cell, transfer: str, dataset: Path, folder: Path) -> Path:
    """Writes the labels of a cell, unless they are there."""
    origin = f"-{short_name(cell.source)}-{transfer}" if transfer else ""
    asked = METHODS[cell.method].asked
    if asked and (asked.lists or asked.doubtful):
        origin = f"-{cell.method}"
    path = folder / "labels" / f"{dataset.stem}{origin}-{cell.labels}-{cell.seed}.parquet"
    if not path.exists():
        target = recorded(dataset)
        rng = numpy_generator(cell.seed, "pairs")
        if transfer:
            found = _transferred(cell, transfer, target, folder)
        else:
            found = rewards.ask(
                asked or rewards.METHODS[rewards.BASELINE], target, whole_episodes(target),
                cell.labels, TEACHERS["oracle"], rng, cell.seed,
            )  # fmt: skip
        path.parent.mkdir(exist_ok=True)
        save_preferences(path, found)
    return path


def _transferred(cell: Cell, preset: str, target: TrajectoryDataset, folder: Path) -> Preferences:
    source = recorded(dataset_path(cell.source, SOURCE_MIX, folder))

    def pieces(dataset: TrajectoryDataset, count: int, side: str) -> Pairs:
        rng = numpy_generator(cell.seed, f"{side} pairs")
        return uniform_pairs(sample_segments(dataset, SEGMENTS, SEGMENT_LENGTH, rng), count, rng)

    rng = numpy_generator(cell.seed, "oracle")
    asked = pieces(source, cell.labels, "source")
    given = scripted_labels(source, asked, TEACHERS["oracle"], rng, NOW)
    wanted = pieces(target, TARGET_PAIRS, "target")
    return transfer_preferences(source, given, target, wanted, PRESETS[preset], NOW)[0]

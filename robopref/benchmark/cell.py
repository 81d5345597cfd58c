"""One figure of a table, and the data that all tables share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from robopref.data.collect import collect
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset

MIXED, SCARCE = "mixed", "scarce"
"""Behaviours in the data: of all sorts, or such that a fifth of the episodes succeed."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""Time stamp of scripted labels, the same in every run."""


@dataclass
class DataConfig:
    """The episodes of every task."""

    episodes: int = 200
    """Of each task."""
    horizon: int = 200
    """Steps of an episode."""
    horizons: dict[str, int] = field(default_factory=dict)
    """Task (name without its package) to another number."""
    mixes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name of a mix of behaviours to its shares and noise."""


@dataclass(frozen=True)
class Cell:
    """One figure."""

    table: str
    task: str
    """Gymnasium id."""
    method: str
    labels: int
    """Pairs that are labelled; 0 for a method that needs none."""
    seed: int = 0
    teacher: str = "oracle"
    """Who labels them."""
    source: str = ""
    """Gymnasium id of the task that was labelled, where it is another one."""

    @property
    def key(self) -> str:
        """Name of its file."""
        parts = asdict(self) | {"task": short_name(self.task), "source": short_name(self.source)}
        return "-".join(str(part) for part in parts.values() if part != "")


def short_name(env_id: str) -> str:
    """`drawer-open` of `metaworld/drawer-open-v3`."""
    return env_id.split("/")[-1].removesuffix("-v3")


def env_kwargs(env_id: str, data: DataConfig) -> dict[str, Any]:
    """Arguments of a task's environment."""
    return {"horizon": data.horizons.get(short_name(env_id), data.horizon)}


def dataset_path(env_id: str, mix: str, folder: Path) -> Path:
    """Where a task's episodes are."""
    return folder / "data" / f"{short_name(env_id)}-{mix}.hdf5"


def record(
    env_id: str, mix: str, data: DataConfig, folder: Path, workers: int = 0, cluster: str = ""
) -> Path:
    """Collects a task's episodes, or those that are missing."""
    path = dataset_path(env_id, mix, folder)
    shares: Mapping[str, Any] = data.mixes[mix]
    collect(
        env_id, env_kwargs(env_id, data), shares, data.episodes, 0, path, workers, cluster=cluster
    )
    return path


@cache
def recorded(path: Path) -> TrajectoryDataset:
    """Read once per process."""
    return load_dataset(path)

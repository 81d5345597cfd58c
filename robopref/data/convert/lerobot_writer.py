"""Writing LeRobot datasets, layout v3.0.

Pictures are stored as PNG in the Parquet files, a form of LeRobot's own (`dtype: image`): videos
would be smaller, but change every pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from robopref.data.convert.episodes import FLAT, Recordings, Say, say_lost
from robopref.data.convert.images import encode_png
from robopref.files import atomic_folder, write_json
from robopref.structures import Array, Trajectory

VERSION = "v3.0"
PLACE = "chunk-{:03d}/file-{:03d}"
FLAGS = {
    "next.reward": "rewards",
    "next.terminated": "terminated",
    "next.truncated": "truncated",
    "next.success": "success",
}
FACTORS, INTERVENTIONS = "factors.", "complementary_info.is_intervention"
OWN = "meta/robopref.json"
FILE_SIZE = 100e6
"""Bytes after which the next data file begins, as in LeRobot."""
FILES_IN_CHUNK = 1000
DEFAULT_FPS = 10


def write(path: Path, recordings: Recordings, say: Say) -> None:
    """Writes a dataset; it appears whole."""
    say_lost(say, recordings, "filter_keys")
    with atomic_folder(path) as folder:
        writer = _Writer(folder, _fps(recordings.env_args, say))
        for episode in recordings.episodes:
            attributes = dict(episode.attributes)
            task = attributes.pop("task", recordings.env_args.get("env_name", "unknown"))
            if attributes:
                say_lost(say, episode, "attributes")
            say_lost(say, episode, "states", "extras", "behaviour", "seed")
            say("lost: the observation after each last action")
            writer.add(_columns(episode, say), str(task))
            names = {"observation.state": FLAT} if _flat_is_state(episode) else {}
        writer.close(str(recordings.env_args.get("env_name", "unknown")))
        write_json(folder / OWN, {"env_args": dict(recordings.env_args), "names": names})


def _fps(env_args: Mapping[str, Any], say: Say) -> float:
    settings = env_args.get("env_kwargs")
    control = settings.get("control_freq") if isinstance(settings, Mapping) else None
    fps = env_args.get("fps", control)
    if isinstance(fps, int | float) and fps > 0:
        return fps
    say(f"steps per second are not known; {DEFAULT_FPS} is written (name fps in env_args)")
    return DEFAULT_FPS


def _flat_is_state(episode: Trajectory) -> bool:
    """Whether `flat` takes the name that LeRobot's policies look for."""
    return FLAT in episode.observations and "state" not in episode.observations


def _columns(episode: Trajectory, say: Say) -> dict[str, Array]:
    """LeRobot's columns of an episode, each with a row per step."""
    columns: dict[str, Array] = {}
    for name, values in episode.observations.items():
        if values.dtype == np.uint8 and values.ndim > 2:
            if values.ndim == 4 and values.shape[3] == 3:
                columns[f"observation.images.{name}"] = values[:-1]
            else:
                say(f"lost: images of {name}, which have not three channels")
        elif name == FLAT and _flat_is_state(episode):
            columns["observation.state"] = values[:-1]
        else:
            columns[f"observation.{name}"] = values[:-1]
    columns["action"] = episode.actions
    columns |= {name: getattr(episode, ours) for name, ours in FLAGS.items()}
    columns["next.done"] = np.logical_or(episode.terminated, episode.truncated)
    columns |= {f"{FACTORS}{name}": values for name, values in episode.factors.items()}
    if episode.interventions is not None:
        columns[INTERVENTIONS] = episode.interventions
    return columns


@dataclass
class _Writer:
    """Files under way. Data goes to disk episode by episode."""

    root: Path
    fps: float
    features: dict[str, dict[str, Any]] = field(default_factory=dict)
    stats: dict[str, _Stats] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)
    episodes: list[dict[str, Any]] = field(default_factory=list)
    frames: int = 0
    file: int = 0
    """Number of the data file."""
    data: pq.ParquetWriter | None = None

    def add(self, columns: dict[str, Array], task: str) -> None:
        """Writes an episode."""
        number, steps = len(self.episodes), len(columns["action"])
        frame = np.arange(steps)
        columns = {
            **columns,
            "timestamp": (frame / self.fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(steps, number),
            "index": self.frames + frame,
            "task_index": np.full(steps, self.tasks.setdefault(task, len(self.tasks))),
        }
        self.features = self.features or {name: _feature(v) for name, v in columns.items()}
        for name, values in columns.items():
            self.stats.setdefault(name, _Stats()).add(values)
        chunk, file = divmod(self.file, FILES_IN_CHUNK)
        table = pa.table({name: _arrow(values) for name, values in columns.items()})
        path = self._folder(f"data/{PLACE.format(chunk, file)}.parquet")
        if self.data is None:
            self.data = pq.ParquetWriter(path, table.schema)
        self.data.write_table(table)  # one row group per episode
        self.episodes.append(
            {
                "episode_index": number,
                "tasks": [task],
                "length": steps,
                "data/chunk_index": chunk,
                "data/file_index": file,
                "dataset_from_index": self.frames,
                "dataset_to_index": self.frames + steps,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
        )
        self.frames += steps
        if path.stat().st_size > FILE_SIZE:
            self.data.close()
            self.data, self.file = None, self.file + 1

    def close(self, robot: str) -> None:
        """Writes what describes the data."""
        if self.data is not None:
            self.data.close()
        place = self._folder(f"meta/episodes/{PLACE.format(0, 0)}.parquet")
        pq.write_table(pa.Table.from_pylist(self.episodes), place)
        tasks = pd.Index(list(self.tasks), name="task")
        numbered = pd.DataFrame({"task_index": list(self.tasks.values())}, index=tasks)
        numbered.to_parquet(self.root / "meta" / "tasks.parquet")
        stats = {name: found.summary() for name, found in self.stats.items()}
        write_json(self.root / "meta" / "stats.json", stats)
        write_json(self.root / "meta" / "info.json", self._info(robot))

    def _info(self, robot: str) -> dict[str, Any]:
        place = "chunk-{chunk_index:03d}/file-{file_index:03d}"
        return {
            "codebase_version": VERSION,
            "robot_type": robot,
            "total_episodes": len(self.episodes),
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "chunks_size": FILES_IN_CHUNK,
            "data_files_size_in_mb": int(FILE_SIZE / 1e6),
            "video_files_size_in_mb": 200,
            "fps": self.fps,
            "splits": {"train": f"0:{len(self.episodes)}"},
            "data_path": f"data/{place}.parquet",
            "video_path": None,
            "features": self.features,
        }

    def _folder(self, path: str) -> Path:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        return self.root / path


class _Stats:
    """What LeRobot normalises with: extremes, mean and deviation of a column, of pictures by
    channel in [0, 1].
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, values: Array) -> None:
        """Takes in the rows of an episode."""
        rows = _rows(values)
        pixels = rows.reshape(-1, 3) if _is_image(values) else rows
        found = pixels.min(axis=0), pixels.max(axis=0)
        sums = np.stack([pixels.sum(axis=0), np.square(pixels).sum(axis=0)])
        if self.count == 0:
            self.shape = (3, 1, 1) if _is_image(values) else rows.shape[1:]
            self.rows, self.sums = 0, np.zeros_like(sums)
            self.low, self.high = found
        self.low, self.high = np.minimum(self.low, found[0]), np.maximum(self.high, found[1])
        self.sums += sums
        self.rows += len(pixels)
        self.count += len(values)

    def summary(self) -> dict[str, Any]:
        """The statistics as lists."""
        mean, square = self.sums / self.rows
        std = np.sqrt(np.maximum(square - mean**2, 0))
        found = {"min": self.low, "max": self.high, "mean": mean, "std": std}
        shaped = {name: values.reshape(self.shape).tolist() for name, values in found.items()}
        return {**shaped, "count": [self.count]}


def _is_image(values: Array) -> bool:
    return values.dtype == np.uint8 and values.ndim == 4


def _rows(values: Array) -> Any:
    rows = values.astype(np.float64)
    return rows / 255 if _is_image(values) else rows.reshape(len(rows), -1)


def _feature(values: Array) -> dict[str, Any]:
    """The entry of info.json that describes a column."""
    if _is_image(values):
        names = ["height", "width", "channels"]
        return {"dtype": "image", "shape": list(values.shape[1:]), "names": names}
    return {"dtype": str(values.dtype), "shape": list(values.shape[1:] or (1,)), "names": None}


def _arrow(values: Array) -> pa.Array:
    """A column of scalars, of lists of fixed size, of nested lists, or of pictures."""
    if _is_image(values):
        pictures = [{"bytes": encode_png(picture), "path": None} for picture in values]
        return pa.array(pictures, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    if values.ndim == 1 or values.shape[1:] == (1,):
        return pa.array(values.reshape(-1))
    kind = pa.from_numpy_dtype(values.dtype)
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    for _ in values.shape[1:]:
        kind = pa.list_(kind)
    return pa.array(values.tolist(), kind)

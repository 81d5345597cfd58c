"""LeRobot datasets, layout v3.0: Parquet for numbers, Parquet or MP4 for pictures.

    meta/info.json   meta/stats.json   meta/tasks.parquet
    meta/episodes/chunk-000/file-000.parquet    a row per episode: where its data is
    data/chunk-000/file-000.parquet             a row per step, many episodes in a file
    videos/<key>/chunk-000/file-000.mp4         many episodes in a file

robopref adds `meta/robopref.json` (`env_args`, names), which LeRobot passes over. The layout's
paths are fixed here; templates in info.json are not followed, since they could lead anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from robopref.data.convert import lerobot_writer
from robopref.data.convert.episodes import Recordings, Say, check_finite, make_episode
from robopref.data.convert.images import decode_all
from robopref.data.convert.lerobot_writer import FACTORS, FLAGS, INTERVENTIONS, OWN, PLACE, VERSION
from robopref.data.convert.parquet import column, is_number, read_table
from robopref.data.convert.video import read_frames
from robopref.errors import InputError
from robopref.files import read_json
from robopref.structures import Array, Trajectory

write = lerobot_writer.write

DERIVED = {"timestamp", "frame_index", "episode_index", "index", "task_index", "next.done"}
"""Columns that follow from the others."""


def recognises(path: Path) -> bool:
    """Whether a path is such a folder."""
    return (path / "meta" / "info.json").is_file()


def read(path: Path, say: Say) -> Recordings:
    """Reads a dataset, videos included.

    Raises:
        InputError: if it is of another version, or a file is missing or damaged.
    """
    info = read_json(path / "meta" / "info.json")
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if version != VERSION:
        raise InputError(
            f"{path}: is a LeRobot dataset of version {str(version)[:20]}, and robopref reads "
            f"{VERSION}; convert it with LeRobot's own convert_dataset_v21_to_v30"
        )
    features, fps = info.get("features"), info.get("fps")
    if not isinstance(features, dict) or not isinstance(fps, int | float) or not fps > 0:
        raise InputError(f"{path}: meta/info.json lacks features or fps; get the file again")
    videos = [
        name
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("dtype") == "video"
    ]
    if any("/" in name for name in videos):
        raise InputError(f"{path}: meta/info.json names a feature with a slash; rename it")
    own = read_json(path / OWN) if (path / OWN).exists() else {}
    if not isinstance(own, dict) or not all(isinstance(value, dict) for value in own.values()):
        raise InputError(f"{path / OWN}: must hold objects; remove the file")
    robot = str(info.get("robot_type") or path.name)
    default = {"env_name": robot, "type": 2, "env_kwargs": {}, "fps": fps}
    source = _Source(path, fps, videos, own.get("names", {}), say)
    return Recordings(source.episodes(), own.get("env_args", default))


@dataclass(frozen=True)
class _Source:
    root: Path
    fps: float
    videos: list[str]
    """Features that are in MP4 files."""
    names: Mapping[str, str]
    """robopref's names of columns, where they are not those of the columns."""
    say: Say

    def episodes(self) -> Iterator[Trajectory]:
        tasks = self._tasks()
        files = sorted((self.root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
        if not files:
            raise InputError(f"{self.root}: has no meta/episodes/chunk-*/file-*.parquet")
        opened: tuple[Path, pa.Table] | None = None
        for file in files:
            table = read_table(file)
            places = {
                name: column(table, name, str(file))
                for name in table.column_names
                if not name.startswith(("stats/", "meta/")) and is_number(table.field(name).type)
            }
            for row in range(len(table)):
                place = {name: values[row] for name, values in places.items()}
                path = self._path(place, "data", "data", "parquet")
                if opened is None or opened[0] != path:
                    opened = path, read_table(path)
                yield self._episode(place, opened[1], tasks)

    def _tasks(self) -> dict[int, str]:
        table = read_table(self.root / "meta" / "tasks.parquet")
        numbers = column(table, "task_index", f"{self.root}: meta/tasks.parquet")
        texts = [name for name in table.column_names if pa.types.is_string(table.field(name).type)]
        if not texts:
            raise InputError(f"{self.root}: meta/tasks.parquet holds no text; get it again")
        return dict(zip(numbers.tolist(), table.column(texts[0]).to_pylist(), strict=True))

    def _path(self, place: Mapping[str, Any], kind: str, folder: str, suffix: str) -> Path:
        """The file that an episode is in."""
        indices = [int(self._number(place, f"{kind}/{part}_index")) for part in ("chunk", "file")]
        return self.root / folder / f"{PLACE.format(*indices)}.{suffix}"

    def _number(self, place: Mapping[str, Any], name: str) -> Any:
        if name not in place or np.ndim(place[name]) or not np.isfinite(place[name]):
            raise InputError(f"{self.root}: meta/episodes has no {name!r}; it is not v3.0")
        return place[name]

    def _episode(
        self, place: Mapping[str, Any], data: pa.Table, tasks: Mapping[int, str]
    ) -> Trajectory:
        number = int(self._number(place, "episode_index"))
        where = f"{self.root}: episode {number}"
        rows = np.flatnonzero(column(data, "episode_index", where) == number)
        if len(rows) != self._number(place, "length") or len(rows) == 0:
            raise InputError(
                f"{where}: has {len(rows)} steps in data, but {place['length']} by meta/episodes; "
                "get the dataset again"
            )
        steps = data.take(pa.array(rows))
        arrays = {
            name: values
            for name in steps.column_names
            if name not in DERIVED and (values := self._array(steps, name, where)) is not None
        }
        for name in self.videos:
            start = float(self._number(place, f"videos/{name}/from_timestamp"))
            path = self._path(place, f"videos/{name}", f"videos/{name}", "mp4")
            arrays[name] = read_frames(path, start, len(rows), self.fps)
        return self._trajectory(arrays, where, number, tasks.get(_first(steps, "task_index")))

    def _array(self, steps: pa.Table, name: str, where: str) -> Array | None:
        """One column; None where it holds no numbers or pictures."""
        kind = steps.field(name).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            contents = pc.struct_field(steps.column(name).combine_chunks(), "bytes").to_pylist()
            if not all(isinstance(content, bytes) for content in contents):
                raise InputError(f"{where}: {name} names picture files; embed them in the Parquet")
            return decode_all(contents, f"{where}: {name}")
        if not is_number(kind):
            self.say(f"lost: {name}, which is text or of another kind than numbers")
            return None
        values = column(steps, name, where)
        check_finite(values, f"{where}: {name}")
        return values

    def _trajectory(
        self, arrays: dict[str, Array], where: str, number: int, task: str | None
    ) -> Trajectory:
        seen = {name: arrays.pop(name) for name in list(arrays) if name.startswith("observation.")}
        if "action" not in arrays or not seen:
            lacking = "action" if seen else "observation.<key>"
            raise InputError(f"{where}: has no column {lacking!r}")
        observations = {
            self.names.get(name, name.removeprefix("observation.").removeprefix("images.")): (
                values[:, None] if values.ndim == 1 else values
            )
            for name, values in seen.items()
        }
        interventions = arrays.pop(INTERVENTIONS, None)
        factors = [name for name in arrays if name.startswith(FACTORS)]
        return make_episode(
            where,
            self.say,
            observations,
            arrays.pop("action"),
            {ours: arrays.pop(name) for name, ours in FLAGS.items() if name in arrays},
            factors={name.removeprefix(FACTORS): arrays.pop(name) for name in factors},
            interventions=None if interventions is None else interventions.astype(bool),
            name=f"episode_{number}",
            attributes={} if task is None else {"task": task},
            extras=arrays,
        )


def _first(table: pa.Table, name: str) -> int:
    return int(table.column(name)[0].as_py()) if name in table.column_names else -1

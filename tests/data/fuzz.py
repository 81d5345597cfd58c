"""Makes damaged files and reads each with everything that reads files of that kind.

    python -m tests.data.fuzz FOLDER

prints one line of JSON for each file: its name and size, what became of each reader, and how far
the peak of the process's memory rose. The same files are made every time.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from robopref.data.batches import Sequences
from robopref.data.dataset import TrajectoryDataset
from robopref.data.lazy import load_dataset_lazily
from robopref.data.robomimic import find_problems, load_dataset, read_env_args, read_trajectories
from robopref.errors import InputError
from robopref.preferences.dataset import load_preferences
from robopref.preferences.importers.cpl import import_cpl
from robopref.preferences.importers.imitation import import_imitation
from robopref.preferences.importers.lire import import_lire
from robopref.preferences.importers.preference_transformer import import_preference_transformer
from robopref.preferences.importers.uni_rlhf import import_uni_rlhf
from robopref.preferences.importers.uni_rlhf_export import import_uni_rlhf_export
from robopref.structures import Trajectory
from tests.data import fuzz_cases, fuzz_convert

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def episode(steps: int, rng: np.random.Generator) -> Trajectory:
    return Trajectory(
        observations={
            "flat": rng.normal(size=(steps + 1, 3)).astype(np.float32),
            "image": rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8),
        },
        actions=rng.normal(size=(steps, 2)).astype(np.float32),
        rewards=rng.normal(size=steps).astype(np.float32),
        terminated=np.zeros(steps, dtype=bool),
        truncated=np.arange(steps) == steps - 1,
        success=np.zeros(steps, dtype=bool),
        factors={"distance": rng.random(steps).astype(np.float32)},
        states=rng.normal(size=(steps + 1, 4)),
        seed=3,
    )


def labelled() -> TrajectoryDataset:
    """What the damaged label files may index."""
    rng = np.random.default_rng(0)
    return TrajectoryDataset.from_trajectories([episode(300, rng) for _ in range(3)])


def read_lazily(path: Path) -> None:
    sequences = Sequences(load_dataset_lazily(path), 2)
    for _ in sequences.epoch(8, np.random.default_rng(0)):
        pass


def readers(data: TrajectoryDataset) -> dict[str, list[Callable[[Path], Any]]]:
    """What reads each kind of file, by the suffix; folders have none."""
    return {
        ".hdf5": [
            lambda path: load_dataset(path, states=True),
            lambda path: list(read_trajectories(path)),
            read_lazily,
            find_problems,
            read_env_args,
        ],
        ".parquet": [load_preferences],
        ".npz": [lambda path: import_cpl(path, NOW, "score")],
        ".zip": [lambda path: import_uni_rlhf_export(path, data, NOW, {"0": 0, "1": 1})],
        ".txt": [lambda path: import_lire(path, data, NOW)],
        ".pkl": [lambda path: import_imitation(path, NOW)],
        ".pt": [lambda path: import_preference_transformer(path, data, NOW, length=10)],
        ".uni": [lambda path: import_uni_rlhf(path, data, NOW)],
        **{f".{name}": [fuzz_convert.read] for name in fuzz_convert.COUNTS},
    }


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """`fine`, the one line that refuses the file, or `DEFECT` with what went wrong."""
    try:
        read(path)
    except InputError as error:
        line = str(error)
        return line if "\n" not in line and len(line) < 600 else f"DEFECT long message {line[:300]}"
    except BaseException as error:
        return f"DEFECT {type(error).__name__}: {str(error)[:200]}"
    return "fine"


def reset_peak() -> int:
    """Sets the peak to what is in use now; returns that, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def corpus(folder: Path, data: TrajectoryDataset) -> Iterator[Path]:
    """All damaged files, one after the other; each is removed when the next is asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    small = TrajectoryDataset.from_trajectories([episode(steps, rng) for steps in (5, 3, 6)])
    cases = fuzz_cases.all_files(folder, small, data)
    for path in chain(cases, fuzz_convert.converter_files(folder, small)):
        yield path
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def main(folder: Path) -> None:
    data = labelled()
    by_suffix = readers(data)
    for path in corpus(folder, data):
        before, start = reset_peak(), time.monotonic()
        outcomes = [outcome(read, path) for read in by_suffix[path.suffix]]
        print(
            json.dumps(
                {
                    "name": path.name,
                    "size": size_of(path),
                    "outcomes": outcomes,
                    "memory": peak() - before,
                    "seconds": round(time.monotonic() - start, 3),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What all formats' tests share: a robomimic file with everything in it, and comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robopref.data.convert.registry import Conversion, convert
from robopref.data.robomimic import append_trajectories, read_trajectories
from robopref.structures import Trajectory

ENV_ARGS = {"env_name": "toy/point-mass-v0", "type": 2, "env_kwargs": {"horizon": 5}}


def robomimic_file(path: Path, episodes: list[Trajectory], **filter_keys: tuple[int, ...]) -> Path:
    append_trajectories(path, episodes, ENV_ARGS, filter_keys)
    return path


def there_and_back(source: Path, name: str) -> tuple[Path, Conversion, Conversion]:
    """Converts a robomimic file to a format and that again to a robomimic file."""
    middle = source.with_name(f"as_{name}" + (".hdf5" if name == "d4rl" else ""))
    back = source.with_name(f"back_from_{name}.hdf5")
    there = convert(source, middle, target_format=name)
    again = convert(middle, back)
    assert (there.target_format, again.source_format) == (name, name)
    return back, there, again


def assert_equal_files(one: Path, other: Path, *but: str) -> None:
    """Compares all episodes of two robomimic files, array by array."""
    pairs = zip(read_trajectories(one), read_trajectories(other), strict=True)
    for first, second in pairs:
        assert_equal(first, second, *but)


def assert_equal(first: Trajectory, second: Trajectory, *but: str) -> None:
    for name in set(Trajectory.__dataclass_fields__) - {"name", *but}:
        ours, theirs = getattr(first, name), getattr(second, name)
        if isinstance(ours, dict):
            assert set(ours) == set(theirs), name
            for key in ours:
                same(ours[key], theirs[key], f"{name} {key}")
        else:
            same(ours, theirs, name)


def same(ours: object, theirs: object, name: str) -> None:
    if isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype, name
        assert np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"), name
    else:
        assert ours == theirs, name

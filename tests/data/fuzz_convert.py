"""Damaged datasets of other projects' formats, for the fuzz test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from robopref.data.convert.registry import FORMATS, NATIVE, convert
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import save_dataset
from tests.data.fuzz_hdf5 import mangled

COUNTS = {"d4rl": 10, "numpy": 2, "minari": 5, "lerobot": 3}
"""How often each file of a dataset is damaged in each of three ways."""


def read(path: Path) -> None:
    """Converts a dataset, whose format is its suffix."""
    target = path.with_suffix(".hdf5")
    try:
        convert(path, target, source_format=path.suffix[1:])
    finally:
        target.unlink(missing_ok=True)


def converter_files(folder: Path, small: TrajectoryDataset) -> Iterator[Path]:
    """Datasets of every format with one file each that is damaged or missing."""
    source = folder / "source.hdf5"
    save_dataset(source, small)
    for name in FORMATS:
        if name == NATIVE:
            continue
        sound = folder / f"sound.{name}"
        convert(source, sound, target_format=name)
        if sound.is_file():
            yield from mangled(folder, sound.read_bytes(), f".{name}", COUNTS[name])
        for file in sorted(path for path in sound.rglob("*") if path.is_file()):
            yield from _with_damage(sound, file, COUNTS[name])
        yield sound
    source.unlink()


def _with_damage(sound: Path, file: Path, count: int) -> Iterator[Path]:
    for damaged in mangled(sound.parent, file.read_bytes(), ".part", count):
        copy = sound.with_name(f"{file.stem}-{damaged.stem}{sound.suffix}")
        shutil.copytree(sound, copy)
        damaged.replace(copy / file.relative_to(sound))
        yield copy
    copy = sound.with_name(f"no-{file.stem}{sound.suffix}")
    shutil.copytree(sound, copy)
    (copy / file.relative_to(sound)).unlink()
    yield copy

"""The formats by name, which of them a path holds, and the way from one to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from robopref.data.convert import d4rl, lerobot, minari, numpy_folder, robomimic_file
from robopref.data.convert.episodes import Recordings, Say, check_alike
from robopref.errors import InputError
from robopref.structures import Trajectory

NATIVE = "robomimic"
SUFFIXES = (".hdf5", ".h5")


class Format(Protocol):
    """A module that reads and writes one format."""

    def recognises(self, path: Path) -> bool:
        """Whether a path holds the format."""

    def read(self, path: Path, say: Say) -> Recordings:
        """Opens it; damage may show only when an episode is taken."""

    def write(self, path: Path, recordings: Recordings, say: Say) -> None:
        """Writes it so that it appears whole, and says what has no place in it."""


FORMATS: dict[str, Format] = {
    NATIVE: robomimic_file,
    "numpy": numpy_folder,
    "d4rl": d4rl,
    "minari": minari,
    "lerobot": lerobot,
}


@dataclass(frozen=True)
class Conversion:
    """What was done."""

    source_format: str
    target_format: str
    episodes: int
    notes: tuple[str, ...]
    """What got lost or was assumed, a line each."""


def convert(
    source: Path, target: Path, source_format: str = "", target_format: str = ""
) -> Conversion:
    """Writes a dataset again in another format.

    Args:
        source: file or folder.
        target: file or folder to make.
        source_format: name of the source's format; seen from its content when empty.
        target_format: name of the target's format; robomimic for HDF5 names when empty.

    Raises:
        InputError: if the target exists, a format is unknown or the source is damaged.
    """
    for name in (source_format, target_format):
        if name and name not in FORMATS:
            raise InputError(f"{name}: no such format; choose from {', '.join(FORMATS)}")
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; check the path")
    if target.exists():
        raise InputError(f"{target}: already exists; choose another name or remove it")
    source_format = source_format or detect(source)
    target_format = target_format or _format_of(target, source_format)
    notes: dict[str, None] = {}  # a set that keeps the order

    def say(line: str) -> None:
        notes[line] = None

    recordings = FORMATS[source_format].read(source, say)
    passed = _Counted(recordings.episodes, str(source))
    FORMATS[target_format].write(target, replace(recordings, episodes=passed), say)
    return Conversion(source_format, target_format, passed.count, tuple(notes))


def detect(path: Path) -> str:
    """Name of the format that a file or folder is in, by its content.

    Raises:
        InputError: if it is none of them.
    """
    for name, form in FORMATS.items():
        if form.recognises(path):
            return name
    raise InputError(
        f"{path}: holds none of the formats {', '.join(FORMATS)}; name its format with --from to "
        "see what is missing"
    )


def _format_of(target: Path, source_format: str) -> str:
    if target.suffix in SUFFIXES and source_format != NATIVE:
        return NATIVE
    others = [name for name in FORMATS if name != NATIVE]
    raise InputError(
        f"{target}: name its format with --to ({', '.join(others)}); names that end in "
        f"{' or '.join(SUFFIXES)} need none when the source is not robomimic's"
    )


class _Counted:
    """Episodes on their way, counted and checked to be alike."""

    def __init__(self, episodes: Iterable[Trajectory], source: str) -> None:
        self.episodes, self.source, self.count = episodes, source, 0

    def __iter__(self) -> Iterator[Trajectory]:
        first: Trajectory | None = None
        for episode in self.episodes:
            first = first or episode
            try:
                check_alike(episode, first, self.count)
            except InputError as error:
                raise InputError(f"{self.source}: {error}") from error
            self.count += 1
            yield episode
        if first is None:
            raise InputError(f"{self.source}: holds no episode")

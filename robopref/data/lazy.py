"""Image datasets larger than memory: images stay in their HDF5 file until a batch needs them.

Images that are stored as they are, as robomimic's scripts and robopref write them, are gathered
straight from the file's pages. Compressed ones are decompressed chunk by chunk.
"""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.hdf5 import open_hdf5, stored_array
from robopref.data.robomimic import load_dataset
from robopref.errors import InputError
from robopref.structures import Array

Images = NDArray[np.uint8]


def load_dataset_lazily(
    path: Path | str,
    *,
    states: bool = False,
    episodes: Sequence[int] | None = None,
    filter_key: str | None = None,
) -> TrajectoryDataset:
    """Reads a robomimic HDF5 file but for its images, which are `Frames` in `observations`.

    Args:
        path: the file. It must stay as it is while the dataset is in use.
        states: as in `load_dataset`.
        episodes: as in `load_dataset`.
        filter_key: as in `load_dataset`.

    Raises:
        InputError: as `load_dataset`.
    """
    dataset = load_dataset(
        path, states=states, episodes=episodes, filter_key=filter_key, images=False
    )
    with open_hdf5(path) as file:
        frames = {
            name: cast(Array, _frames(file, dataset, name))
            for name, values in dataset.observations.items()
            if values.dtype == np.uint8
        }
    observations: Mapping[str, Array] = {**dataset.observations, **frames}
    return replace(dataset, observations=observations)


class Frames(ABC):
    """Rows of one image key, (R, ...) uint8; indexing reads what is asked for, as an array."""

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, count: int, frame_shape: tuple[int, ...]) -> None:
        self.path = path
        """The HDF5 file."""
        self.shape = (count, *frame_shape)
        """As an array's."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """As an array's."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """As an array's: what it would take in memory."""
        return prod(self.shape)

    def __getitem__(self, index: slice | NDArray[np.int64]) -> Images:
        rows = np.arange(len(self))[index] if isinstance(index, slice) else np.asarray(index)
        frames = self._read(rows.reshape(-1))
        return frames.reshape(*rows.shape, *self.shape[1:])

    @abstractmethod
    def _read(self, rows: NDArray[np.int64]) -> Images:
        """(B, ...) images of (B,) rows."""


class MappedFrames(Frames):
    """Images stored as they are: each row is a run of bytes of the file."""

    def __init__(
        self, path: Path, offsets: NDArray[np.int64], frame_shape: tuple[int, ...]
    ) -> None:
        super().__init__(path, len(offsets), frame_shape)
        self.offsets = offsets
        """(R,): first byte of each row."""
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        content = np.frombuffer(self._map, dtype=np.uint8)
        # Row n of this view is the image that starts at byte n, so one indexing gathers a batch.
        self._windows = np.lib.stride_tricks.sliding_window_view(content, prod(frame_shape))

    def _read(self, rows: NDArray[np.int64]) -> Images:
        frames: Images = self._windows[self.offsets[rows]]
        # Pages that were touched count as memory of this process until they are handed back;
        # they stay in the system's cache.
        self._map.madvise(mmap.MADV_DONTNEED)
        return frames


class PackedFrames(Frames):
    """Compressed or chunked images: each row is read through HDF5."""

    def __init__(self, path: Path, pieces: Sequence[_Piece], frame_shape: tuple[int, ...]) -> None:
        super().__init__(path, sum(piece.count for piece in pieces), frame_shape)
        self.pieces = pieces
        """Arrays of the file, in the order of the rows."""
        self._ends = np.cumsum([piece.count for piece in pieces])

    def _read(self, rows: NDArray[np.int64]) -> Images:
        wanted, places = np.unique(rows, return_inverse=True)
        frames = np.empty((len(wanted), *self.shape[1:]), dtype=np.uint8)
        owners = np.searchsorted(self._ends, wanted, side="right")
        # A run is rows that follow each other in one array: one read each.
        cuts = np.flatnonzero((np.diff(wanted) != 1) | (np.diff(owners) != 0)) + 1
        with open_hdf5(self.path) as file:
            for run in np.split(np.arange(len(wanted)), cuts):
                if len(run):
                    piece = self.pieces[owners[run[0]]]
                    first = wanted[run[0]] - self._ends[owners[run[0]]] + piece.count + piece.first
                    frames[run] = file[piece.path][first : first + len(run)]
        return frames[places]


@dataclass(frozen=True)
class _Piece:
    """Rows `first` to `first + count` of one array of the file."""

    path: str
    first: int
    count: int
    offset: int | None
    """First byte of the array in the file; None if its bytes are not the images themselves."""


def _frames(file: h5py.File, dataset: TrajectoryDataset, key: str) -> Frames:
    path = Path(file.filename)
    shapes: set[tuple[int, ...]] = set()
    pieces: list[_Piece] = []
    for name, steps in zip(dataset.names, dataset.lengths.tolist(), strict=True):
        demo, where = file["data"][name], f"{path}: data/{name}"
        shown = stored_array(demo, f"obs/{key}", where)
        final = stored_array(demo, f"next_obs/{key}", where) if "next_obs" in demo else shown
        for node in (shown, final):
            if node.dtype != np.uint8 or node.ndim < 2 or len(node) != steps:
                raise InputError(
                    f"{where}: images {key!r} are {node.shape} {node.dtype}, but {steps} actions "
                    f"need ({steps}, ...) uint8; write the file again"
                )
        shapes |= {shown.shape[1:], final.shape[1:]}
        pieces.append(_Piece(shown.name, 0, steps, _offset(shown)))
        pieces.append(_Piece(final.name, steps - 1, 1, _offset(final)))
    if len(shapes) > 1:
        raise InputError(f"{path}: images {key!r} differ in shape: {sorted(shapes)[:2]}; mend it")
    shape = shapes.pop()
    size = prod(shape)
    if size == 0:
        raise InputError(f"{path}: images {key!r} have no pixels {shape}; write the file again")
    if any(piece.offset is None for piece in pieces):
        return PackedFrames(path, pieces, shape)
    offsets = np.concatenate(
        [cast(Any, p.offset) + size * np.arange(p.first, p.first + p.count) for p in pieces]
    )
    if int(offsets.max()) + size > path.stat().st_size:
        raise InputError(f"{path}: ends before its images {key!r} do; download or copy it again")
    return MappedFrames(path, offsets, shape)


def _offset(node: h5py.Dataset) -> int | None:
    if node.chunks is not None or node.file.userblock_size:
        return None
    offset: int | None = node.id.get_offset()
    return offset

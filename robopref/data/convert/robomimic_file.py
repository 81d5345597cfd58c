"""robomimic HDF5, robopref's own format; see `robopref.data.robomimic`."""

from __future__ import annotations

from pathlib import Path

import h5py

from robopref.data.convert.episodes import Recordings, Say
from robopref.data.hdf5 import open_hdf5
from robopref.data.robomimic import (
    append_trajectories,
    demo_names,
    read_env_args,
    read_filter_keys,
    read_trajectories,
)


def recognises(path: Path) -> bool:
    """Whether a path is such a file."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return "data" in file


def read(path: Path, say: Say) -> Recordings:
    """Reads a file, with all that robopref keeps but does not read.

    Raises:
        InputError: if it is damaged or holds no episode.
    """
    with open_hdf5(path) as file:
        demo_names(file)
    return Recordings(read_trajectories(path), read_env_args(path), read_filter_keys(path))


def write(path: Path, recordings: Recordings, say: Say) -> None:
    """Writes a file; it appears whole."""
    append_trajectories(path, recordings.episodes, recordings.env_args, recordings.filter_keys)

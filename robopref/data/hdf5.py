"""Opening HDF5 files of unknown origin and reading arrays from them, whatever they hold."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robopref.errors import InputError
from robopref.files import existing_file
from robopref.structures import Array

DAMAGE = (
    OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError, OverflowError,
    MemoryError,
)  # fmt: skip
"""What h5py raises on damaged files, found by flipping random bytes."""
COMPRESSION = 1100
"""Deflate makes a byte of at most 1032; more than this is a claim, not data."""
SLACK = 2**16
"""Bytes that an array may claim without any: it never got written, so it is all zeros."""


@contextmanager
def open_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Opens an HDF5 file to read; HDF5's own errors become one clear line.

    Raises:
        InputError: if the file is missing or damaged.
    """
    path = existing_file(path)
    try:
        with h5py.File(path, "r") as file:
            _check_names(file)
            yield file
    except InputError:
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: damaged or not an HDF5 file ({reason}); collect, download or convert it again"
        ) from error


def _check_names(file: h5py.File) -> None:
    """Refuses names that lead elsewhere before one is followed: even to ask whether a name is in a
    group opens the file that an external link names. And refuses what has several names: names are
    free, but each reads the array again, so that a small file could fill the memory.
    """
    known = {h5py.h5o.get_info(file.id).addr}

    def is_wrong(name: bytes, link: Any) -> tuple[bytes, str] | None:
        if link.type != h5py.h5l.TYPE_HARD:
            return name, "is a link that leads elsewhere; copy the data itself into the file"
        if link.u in known:
            return name, "is another name of what has one already; copy it for each"
        known.add(link.u)
        return None

    found = file.id.links.visit(is_wrong, info=True)
    if found is not None:
        name, problem = found
        raise InputError(f"{file.filename}: {name.decode(errors='replace')[:100]} {problem}")


def check_stored(node: h5py.h5d.DatasetID, where: str) -> None:
    """Checks that an array is in the file itself, as large as it claims to be.

    Args:
        node: the array, not read yet.
        where: what messages call it.

    Raises:
        InputError: if it is not.
    """
    created = node.get_create_plist()
    if created.get_layout() == h5py.h5d.VIRTUAL or created.get_external_count():
        raise InputError(f"{where}: keeps its data in another file; copy the data itself")
    claimed = math.prod(node.shape) * node.dtype.itemsize
    if claimed > SLACK and claimed > COMPRESSION * node.get_storage_size() + SLACK:
        raise InputError(
            f"{where}: claims {claimed} bytes, but the file holds {node.get_storage_size()} of "
            "them; write the file again"
        )


def stored_array(group: h5py.Group, path: str, where: str) -> h5py.Dataset:
    """Finds an array without reading it, and refuses what is none or is not in the file itself.

    Args:
        group: where the path starts.
        path: path of the dataset.
        where: what messages call the group.

    Raises:
        InputError: naming the array.
    """
    return h5py.Dataset(_stored(group, path, where))


def _stored(group: h5py.Group, path: str, where: str) -> h5py.h5d.DatasetID:
    # Files have thousands of small arrays: with h5py's own objects reading takes twice as long.
    node = h5py.h5o.open(group.id, path.encode())
    if (
        not isinstance(node, h5py.h5d.DatasetID)
        or node.get_space().get_simple_extent_type() == h5py.h5s.NULL
        or node.dtype.kind not in "biuf"
    ):
        raise InputError(f"{where}/{path}: is no array of numbers; write the file again")
    check_stored(node, f"{where}/{path}")
    return node


def read_array(group: h5py.Group, path: str, where: str) -> Array:
    """Reads one array and refuses what holds no numbers or values that are not finite.

    Args:
        group: where the path starts.
        path: path of the dataset.
        where: what messages call the group.

    Raises:
        InputError: naming the array and, for NaN, the step.
    """
    node = _stored(group, path, where)
    values: Array = np.empty(node.shape, node.dtype)
    if values.size:
        node.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise InputError(
            f"{where}/{path}: holds NaN or infinity, first at step {row}; "
            "drop the episode or repair the recording"
        )
    return values


def all_arrays(
    group: h5py.Group, where: str, known: Collection[str], prefix: str = ""
) -> dict[str, Array]:
    """Reads the arrays of numbers below a group, by path, but for those at known paths.

    Args:
        group: where the paths start, after `prefix`.
        where: what messages call the group.
        known: paths to pass over, with all that is below them.
        prefix: path of the group itself, ending in a slash.

    Raises:
        InputError: as `read_array`.
    """
    found: dict[str, Array] = {}
    for name in group:
        path = f"{prefix}{name}"
        if path in known:
            continue
        node = group[name]
        if isinstance(node, h5py.Group):
            found |= all_arrays(node, where, known, f"{path}/")
        elif node.dtype.kind in "biuf":
            found[path] = read_array(group, name, where)
    return found

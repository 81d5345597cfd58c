"""Opening HDF5 files of unknown origin and reading arrays from them, whatever they hold."""

from __future__ import annotations

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
            _check_links(file)
            yield file
    except InputError:
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: damaged or not an HDF5 file ({reason}); collect, download or convert it again"
        ) from error


def _check_links(file: h5py.File) -> None:
    """Refuses links that lead elsewhere before one is followed: even to ask whether a name is in
    a group opens the file that an external link names.
    """

    def leads_elsewhere(name: bytes, link: Any) -> bytes | None:
        return name if link.type != h5py.h5l.TYPE_HARD else None

    found = file.id.links.visit(leads_elsewhere, info=True)
    if found is not None:
        raise InputError(
            f"{file.filename}: {found.decode(errors='replace')[:100]} is a link that leads "
            "elsewhere; copy the data itself into the file"
        )


def member(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """The group or dataset at a path below a group.

    Raises:
        InputError: if something on the way has several names.
    """
    node = group
    for part in path.split("/"):
        node = node[part]
        # Names are free, but each reads the array again: a small file could fill the memory.
        if h5py.h5o.get_info(node.id).rc > 1:
            raise InputError(
                f"{group.file.filename}: {group.name.removeprefix('/')}/{path} has several names "
                "in the file; copy it for each"
            )
    return node


def check_stored(node: h5py.Dataset, where: str) -> None:
    """Checks that an array is in the file itself, as large as it claims to be.

    Args:
        node: the array, not read yet.
        where: what messages call it.

    Raises:
        InputError: if it is not.
    """
    if node.is_virtual or node.external:
        raise InputError(f"{where}: keeps its data in another file; copy the data itself")
    if node.nbytes > COMPRESSION * node.id.get_storage_size() + SLACK:
        raise InputError(
            f"{where}: claims {node.nbytes} bytes, but the file holds "
            f"{node.id.get_storage_size()} of them; write the file again"
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
    node = member(group, path)
    if not isinstance(node, h5py.Dataset) or node.shape is None or node.dtype.kind not in "biuf":
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
    values: Array = stored_array(group, path, where)[()]
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
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
        node = member(group, name)
        if isinstance(node, h5py.Group):
            found |= all_arrays(node, where, known, f"{path}/")
        elif node.dtype.kind in "biuf":
            found[path] = read_array(group, name, where)
    return found

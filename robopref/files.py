"""Writing files so that a kill at any instant leaves either the old file or the new one."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robopref.errors import InputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success flushes it to disk and renames it.

    Args:
        path: final location. Its folder is made when missing.

    Yields:
        A temporary path with the same suffix, removed if the body raises.

    Raises:
        InputError: if no file can be made there.
    """
    temporary = _temporary_beside(path)
    try:
        yield temporary
        _flush(temporary)
        # mkstemp makes files private to the user; give them the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; on success flushes it to disk and renames it.

    Args:
        path: final location; what is there is replaced.

    Yields:
        The temporary folder, removed if the body raises.

    Raises:
        InputError: if no folder can be made there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from error
    try:
        yield temporary
        for file in [*temporary.rglob("*"), temporary]:
            _flush(file)
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
        _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _flush(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(path: Path) -> None:
    """Finds out before long work whether its result can be written.

    Raises:
        InputError: if no file can be made at `path`.
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder, not a file; name a file in it")
    _temporary_beside(path).unlink()


def _temporary_beside(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from error
    os.close(handle)
    return Path(name)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        InputError: if the file is missing or is not JSON.
    """
    try:
        return json.loads(existing_file(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not a JSON file ({error}); write it again") from error


def existing_file(path: Path | str) -> Path:
    """Returns `path` as a `Path` if it is a file.

    Raises:
        InputError: if there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        kind = "a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {kind}; check the path")
    return path


def check_expansion(path: Path, claimed: int) -> None:
    """Checks that a compressed file does not claim far more content than its size warrants.

    Args:
        path: the file.
        claimed: bytes of content by its own account.

    Raises:
        InputError: if that is over 200 times the size of the file and over a megabyte.
    """
    size = path.stat().st_size
    if claimed > max(200 * size, 1_000_000):
        raise InputError(
            f"{path}: claims {claimed} bytes of content in a file of {size}; it is damaged or made "
            "to fill the memory, get it again"
        )

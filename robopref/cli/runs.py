"""Run folders: `runs/<command>/<name>/`, with the resolved config inside."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from robopref.errors import InputError
from robopref.files import atomic_path

CONFIG_FILE = "config.yaml"


@contextmanager
def run_folder(command: str, name: str, config: Any) -> Iterator[Path]:
    """Makes the folder of a run and writes its config there.

    If the input turns out to be wrong before anything else is written, the folder goes again.

    Args:
        command: the command.
        name: name of the run; the time of day when empty.
        config: the command's dataclass; if its option `resume` names a folder, the run goes on
            there.

    Raises:
        InputError: if the run exists or the folder cannot be made.
    """
    resumed = getattr(config, "resume", "")
    settings = OmegaConf.to_yaml(OmegaConf.structured(config))
    before = b""
    if resumed:
        folder = Path(resumed)
        path = folder / CONFIG_FILE
        before = path.read_bytes() if path.exists() else b""
        with atomic_path(path) as temporary:
            temporary.write_text(settings, encoding="utf-8")
    else:
        folder = _new_folder(Path("runs") / command, name, settings)
        path = folder / CONFIG_FILE
    try:
        yield folder
    except InputError:
        if before:
            path.write_bytes(before)
        elif [entry.name for entry in folder.iterdir()] == [CONFIG_FILE]:
            path.unlink()
            folder.rmdir()
        raise


def _new_folder(parent: Path, name: str, settings: str) -> Path:
    """Makes a folder that has its config from the first moment on, so that a kill leaves no run
    behind that can neither go on nor begin again. An empty folder is taken.
    """
    for candidate in (name,) if name else _names_of_now():
        folder = parent / candidate
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            temporary.mkdir(parents=True, exist_ok=True)
            (temporary / CONFIG_FILE).write_text(settings, encoding="utf-8")
            temporary.rename(folder)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) and folder.exists():
                continue
            raise InputError(
                f"{folder}: cannot be made ({error.strerror}); start robopref in a folder of yours"
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder
    raise InputError(f"{folder}: this run exists already; choose another name=")


def _names_of_now() -> Iterator[str]:
    """The time of day, then numbered, for runs that start in the same second."""
    now = f"{datetime.now():%Y%m%d-%H%M%S}"
    yield now
    yield from (f"{now}-{number}" for number in count(2))

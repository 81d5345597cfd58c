"""Reading npz files of unknown origin."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from robopref.errors import InputError
from robopref.files import check_expansion, existing_file
from robopref.structures import Array


def read_npz(path: Path, kinds: str = "biuf") -> dict[str, Array]:
    """Reads all arrays of an npz file, without unpickling.

    Args:
        path: the file.
        kinds: NumPy's letters of the types that are allowed, numbers if not given.

    Raises:
        InputError: if the file is missing, damaged, or holds arrays of another type.
    """
    path = existing_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
        check_expansion(path, claimed)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except InputError:
        raise
    except (
        OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, MemoryError,
        SyntaxError, TypeError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:100]
        raise InputError(
            f"{path}: no npz file of arrays ({reason}); get or write it again"
        ) from error
    for name, values in arrays.items():
        if not isinstance(values, np.ndarray) or values.dtype.kind not in kinds:
            raise InputError(f"{path}: {name[:100]} is no array of numbers; check the file")
    return arrays

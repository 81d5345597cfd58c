"""Parquet files of unknown origin, as NumPy arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from robopref.errors import InputError
from robopref.files import check_expansion, existing_file
from robopref.structures import Array


def read_table(path: Path) -> pa.Table:
    """Reads a whole file.

    Raises:
        InputError: if it is missing, damaged, or claims far more than its size warrants.
    """
    path = existing_file(path)
    try:
        metadata = pq.read_metadata(path)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        check_expansion(path, sum(group.total_byte_size for group in groups))
        check_expansion(path, metadata.num_rows)
        return pq.ParquetFile(path).read()
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"{path}: damaged or not a Parquet file ({reason})") from error


def column(table: pa.Table, name: str, where: str) -> Array:
    """One column of numbers, or of lists of equally many numbers.

    Returns:
        (rows, ...)

    Raises:
        InputError: if it is missing, holds something else, or has gaps.
    """
    if name not in table.column_names:
        raise InputError(f"{where}: has no column {name!r}; it is no LeRobot v3.0 data")
    values: Any = table.column(name).combine_chunks()
    shape = [len(values)]
    while True:
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        if values.null_count:
            raise InputError(f"{where}: {name} has gaps; fill them")
        if not _is_list(values.type):
            break
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) > 1:
            raise InputError(
                f"{where}: {name} holds lists of lengths {lengths[:3]}; use one length"
            )
        shape.append(lengths[0] if lengths else 0)
        values = values.flatten()
    if not is_number(values.type):
        raise InputError(f"{where}: {name} holds {values.type}, no numbers")
    array: Array = values.to_numpy(zero_copy_only=False).reshape(shape)
    return array


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type are numbers or flags, or lists of them."""
    while _is_list(kind) or isinstance(kind, pa.BaseExtensionType):
        kind = kind.value_type if _is_list(kind) else kind.storage_type
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return bool(numbers)


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )

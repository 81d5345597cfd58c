"""Reads arrays and lists from pickles of published labels without unpickling.

Python's own unpickler runs whatever a file names. This one is an interpreter of the few
instructions that NumPy arrays, lists and numbers need. It calls nothing that the file names, so
no file can run code, and it takes no more memory than the file's own bytes.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Collection
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from robopref.errors import InputError
from robopref.files import existing_file
from robopref.structures import Array

NUMBERS = re.compile(r"[biuf][1248]")
"""Codes of the element types that are admitted."""
PYTHON_2 = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
"""Instructions for byte strings that Python 3 never writes."""
OLD_MODULES = ("__builtin__.", "copy_reg.", "numpy.core.multiarray.array")
"""Names that only Python 2 wrote."""
ARRAYS = {
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.core.numeric._frombuffer",
}
"""What a pickled array names. NumPy 2 writes `numpy._core`; it means the same."""
LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _RefusedError(Exception):
    """The pickle holds something else than numbers."""


class Record:
    """What stands in a pickle: an array once it is built, or an object's attributes, inert."""

    def __init__(self, name: str) -> None:
        self.name = name
        """The class that the file names."""
        self.value: Any = None
        """An array, a `numpy.dtype`, or a dict of attributes; None for arrays of objects."""


class _Name(str):
    """A name that stands for a class or a function; it is never looked up."""


_MARK = object()


def read_data(path: Path | str, records: Collection[str] = ()) -> Any:
    """Reads one value: an array, a number, a list of such, or a record.

    Args:
        path: the file.
        records: dotted names of further classes, whose attributes are read as a `Record`.

    Returns:
        The value. Lists may hold records; `array_of` turns what stands for an array into one.

    Raises:
        InputError: if the file is missing or damaged, was written by Python 2, or holds anything
            but numbers, text, lists, dicts, arrays and the records.
    """
    path = existing_file(path)
    try:
        return _Reader({*ARRAYS, *records}).read(path.read_bytes())
    except _RefusedError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: damaged or not a pickle ({_short(error)}); download it again"
        ) from error


def array_of(value: Any, path: Path, what: str) -> Array:
    """Returns a pickled array of at least one axis, or a list of numbers, as an array.

    Raises:
        InputError: if it is neither.
    """
    if isinstance(value, Record) and isinstance(value.value, np.ndarray) and value.value.ndim:
        return value.value
    if (
        isinstance(value, list)
        and value
        and all(isinstance(item, int | float | np.number) for item in value)
    ):
        return np.asarray(value, dtype=np.float64)
    raise InputError(f"{path}: {what} is no array of numbers; check that this is the right file")


class _Reader:
    """A stack machine with the instructions of pickle protocols 2 to 5 that data needs."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, content: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise ValueError("it ends early")

    def step(self, name: str, argument: Any) -> None:
        if name in LITERALS:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in TUPLES:
            self.stack.append(tuple(self.pop(TUPLES[name])))
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "GLOBAL":
            self.stack.append(self.admitted(argument.replace(" ", ".", 1)))
        elif name in PYTHON_2:
            raise _RefusedError(
                "written by Python 2; load it there, or with encoding='latin1' where you trust "
                "it, and save it with protocol 4"
            )
        elif name in INSTRUCTIONS:
            INSTRUCTIONS[name](self)
        elif name not in ("PROTO", "FRAME"):
            raise _RefusedError(
                f"holds more than numbers and arrays (instruction {name}); not read"
            )

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("it takes more values than it holds")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def admitted(self, name: str) -> _Name:
        name = name.replace("numpy._core.", "numpy.core.")
        if name.startswith(OLD_MODULES):
            raise _RefusedError(
                f"written by Python 2 (names {_short(name)}); save it with protocol 4"
            )
        if name not in self.names:
            raise _RefusedError(f"names {_short(name)}, which is no data, so it is not read")
        return _Name(name)

    def name_from_stack(self) -> None:
        parts = self.pop(2)
        if not all(isinstance(part, str) for part in parts):
            raise ValueError("it names something by what is no text")
        self.stack.append(self.admitted(".".join(parts)))

    def remember(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def append(self) -> None:
        (value,) = self.pop(1)
        self.extend_list([value])

    def extend_list(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("it appends to what is no list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise ValueError("it sets items of what is no dict")
        pairs = zip(values[::2], values[1::2], strict=True)
        self.stack[-1].update({key: item for key, item in pairs if isinstance(key, str)})

    def new_object(self) -> None:
        name, arguments = self.pop(2)
        if not isinstance(name, _Name) or name in ARRAYS or arguments != ():
            raise _RefusedError("makes an object that is no data, so it is not read")
        self.stack.append(Record(name))

    def reduce(self) -> None:
        name, arguments = self.pop(2)
        record = Record("numpy.ndarray")
        if not isinstance(name, _Name):
            raise ValueError("it calls what is no name")
        match name.rpartition(".")[2]:
            case "_reconstruct":
                pass  # BUILD fills it in
            case "dtype":
                record.name, record.value = "numpy.dtype", _element_type(arguments[0])
            case "_frombuffer":
                content, kind, shape, order = arguments
                record.value = _filled(shape, kind, content, order)
            case "scalar":
                record.value = _filled((), arguments[0], arguments[1], "C")
            case _:
                raise _RefusedError(f"calls {_short(name)}, so it is not read")
        self.stack.append(record)

    def build(self) -> None:
        record, state = self.pop(2)
        if not isinstance(record, Record):
            raise ValueError("it builds what is no object")
        if record.name == "numpy.dtype":
            if state[2:5] != (None, None, None):
                raise _RefusedError("holds a structured array; save plain arrays")
            if record.value is not None and state[1] in "<>":
                record.value = record.value.newbyteorder(state[1])
        elif record.name == "numpy.ndarray":
            _, shape, kind, by_columns, content = state
            # Arrays of objects come as a list. They stay unread: nothing here needs them.
            if not isinstance(content, list):
                record.value = _filled(shape, kind, content, "F" if by_columns else "C")
        else:
            record.value = state
        self.stack.append(record)


INSTRUCTIONS: dict[str, Callable[[_Reader], None]] = {
    "MARK": lambda reader: reader.stack.append(_MARK),
    "EMPTY_LIST": lambda reader: reader.stack.append([]),
    "EMPTY_DICT": lambda reader: reader.stack.append({}),
    "TUPLE": lambda reader: reader.stack.append(tuple(reader.pop_to_mark())),
    "APPEND": _Reader.append,
    "APPENDS": lambda reader: reader.extend_list(reader.pop_to_mark()),
    "SETITEM": lambda reader: reader.set_items(reader.pop(2)),
    "SETITEMS": lambda reader: reader.set_items(reader.pop_to_mark()),
    "MEMOIZE": _Reader.remember,
    "STACK_GLOBAL": _Reader.name_from_stack,
    "REDUCE": _Reader.reduce,
    "NEWOBJ": _Reader.new_object,
    "BUILD": _Reader.build,
}
"""What the machine does on an instruction without an argument."""


def _element_type(code: Any) -> np.dtype[Any] | None:
    """Type of an array's elements; None for objects, which stay unread."""
    if isinstance(code, str) and NUMBERS.fullmatch(code):
        return np.dtype(code)
    if code in ("O8", "O"):
        return None
    raise _RefusedError(f"holds an array of type {_short(code)}; only numbers are read")


def _filled(shape: Any, kind: Any, content: Any, order: str) -> Array:
    """An array of `shape` over the file's own bytes; they must be exactly as many as it needs."""
    if not isinstance(kind, Record) or not isinstance(kind.value, np.dtype):
        raise _RefusedError("holds an array of objects where numbers belong; save plain arrays")
    sizes = shape if isinstance(shape, tuple) and len(shape) <= 32 else (-1,)
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("an array has no proper shape")
    if not isinstance(content, bytes | bytearray):
        raise ValueError("an array has no content")
    if prod(sizes) * kind.value.itemsize != len(content):
        raise _RefusedError(
            f"an array of shape ({_short(', '.join(map(str, sizes)))}) holds "
            f"{len(content)} bytes; download it again"
        )
    values: Array = np.frombuffer(content, dtype=kind.value).reshape(shape, order=order)  # type: ignore[call-overload]
    return values


def _short(value: object) -> str:
    """At most 60 characters on one line: a file must not choose how long a message is."""
    text = str(value) if isinstance(value, str | Exception) else type(value).__name__
    text = " ".join(text[:61].split())
    return text if len(text) <= 60 else f"{text[:57]}..."

"""Long-running commands that end in order when they are told to."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stopped_gently() -> Iterator[list[int]]:
    """A list that is filled when the process is told to stop; a second time stops it at once."""
    told: list[int] = []

    def stop(number: int, frame: Any) -> None:
        told.append(number)
        signal.signal(number, signal.default_int_handler)

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)

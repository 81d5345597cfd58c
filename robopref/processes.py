"""Worker processes."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.pool import Pool
from typing import Any


def worker_pool(workers: int, initializer: Callable[..., None], arguments: tuple[Any, ...]) -> Pool:
    """Starts worker processes that leave Ctrl-C to the process that started them.

    Args:
        workers: number of processes.
        initializer: called once in each, with `arguments`.
        arguments: must be picklable.
    """
    # Not fork: OpenMP and OpenGL do not survive it.
    context = multiprocessing.get_context("spawn")
    if threading.current_thread() is not threading.main_thread():  # only it may touch signals
        return context.Pool(workers, initializer, arguments)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # children inherit this
    try:
        return context.Pool(workers, initializer, arguments)
    finally:
        signal.signal(signal.SIGINT, before)

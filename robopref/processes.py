"""Worker processes, and what memory they take."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import platform
import signal
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

import numpy as np
import psutil

TIME_SLICE_NS = 100_000_000
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, which C libraries before glibc 2.41 have no function for."""


def one_thread() -> None:
    """Sets torch up for this process, as every command and worker does.

    One thread, since two processes with two threads each on two cores wait for one another.
    And numbers too small for full precision count as zero: Adam's averages of the gradients of a
    unit that went silent get there within a thousand updates, stay there for ever, and slow the
    optimizer tenfold.
    """
    import torch  # workers that need none of it start a second sooner

    torch.set_num_threads(1)
    np.finfo(np.float32), np.finfo(np.float64)  # NumPy warns when it first asks afterwards
    torch.set_flush_denormal(True)


def long_time_slices() -> None:
    """Lets this process compute for 100 ms before another one of its kind gets its turn.

    Five trainings on two cores make 17 % more updates than with Linux's 3 ms, whose changes of turn
    empty the caches. What waits for something (a page, a control loop) is not held up: a process
    with ordinary slices goes first when it wakes. Kernels before 6.12 have no such setting.
    """
    number = SCHED_SETATTR.get(platform.machine())
    if number is None or sys.platform != "linux":
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    # struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period, 2 x util.
    settings = struct.pack("=IIQiIQQQII", 56, os.SCHED_OTHER, 0, nice, 0, TIME_SLICE_NS, 0, 0, 0, 0)
    # A kernel that refuses leaves things as they are.
    ctypes.CDLL(None).syscall(number, 0, ctypes.create_string_buffer(settings, 56), 0)


def ahead_of_others() -> None:
    """Lets what moves a robot go before other work of the machine, where the system permits it.

    That is so for the administrator, and for users whom `/etc/security/limits.conf` gives a `nice`
    of -10. For this thread and those that it starts.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def end_with_parent() -> None:
    """Lets this worker process end when its parent is killed; otherwise it would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Processes started inside leave Ctrl-C to their parent."""
    if threading.current_thread() is not threading.main_thread():  # only it may touch signals
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # children inherit this
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class PeakMemory:
    """Watches the resident memory of this process and all its descendants, as a context.

    Pages that processes share count once for each, so the figure is an upper bound.
    """

    def __init__(self, interval_s: float = 0.5) -> None:
        """
        Args:
            interval_s: seconds between two looks.
        """
        self.bytes = 0
        """Largest sum seen so far."""
        self._interval_s = interval_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while True:
            self.bytes = max(self.bytes, _tree_bytes(own))
            if self._done.wait(self._interval_s):
                return


def _tree_bytes(process: psutil.Process) -> int:
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return total

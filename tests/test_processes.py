"""Worker processes leave no orphans; memory of a process tree is counted."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil

from robopref.processes import PeakMemory, ahead_of_others, long_time_slices

PARENT = """
import functools
import time
from robopref.parallel import parallel

if __name__ == "__main__":
    results = parallel(functools.partial, (abs,), range(100), workers=2)
    next(results)
    print("ready", flush=True)
    time.sleep(60)
"""
HUNGRY = "x = bytearray(150_000_000); print('ready', flush=True); import time; time.sleep(60)"


def started(*command: str) -> subprocess.Popen[str]:
    """A process that has said that it is ready."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            return process
    raise AssertionError("the process ended")


def test_workers_end_when_their_parent_is_killed(tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    parent = started(str(program))
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_peak_memory_counts_children():
    with PeakMemory(interval_s=0.05) as memory:
        alone = memory.bytes
        child = started("-c", HUNGRY)
        time.sleep(0.3)
        child.kill()
        child.wait()
    assert memory.bytes - alone > 150_000_000


def test_time_slices_leave_everything_else_as_it_was():
    before = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    long_time_slices()
    after = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    assert after == before


def test_what_moves_a_robot_goes_first_where_that_is_permitted(monkeypatch):
    program = "import os; from robopref.processes import ahead_of_others; ahead_of_others(); "
    program += "print(os.getpriority(os.PRIO_PROCESS, 0))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert int(found.stdout) in (-10, os.getpriority(os.PRIO_PROCESS, 0))

    def refused(*arguments):
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refused)
    ahead_of_others()

"""The same work for many items: in this process, in processes of this machine, or on a Ray cluster.

A worker is set up once and then does one item after another. Results are the same wherever they
come about, as long as an item's result depends on the item alone.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from robopref.errors import InputError
from robopref.processes import end_with_parent, interrupts_ignored

Item = TypeVar("Item")
Result = TypeVar("Result")
Setup = Callable[..., Callable[[Item], Result]]
"""Makes what a worker does with an item; importable by its name, since workers import it."""

RAY = "ray"
"""The cluster that `RAY_ADDRESS` names, or one that is started on this machine."""
RETRIES = 10
"""How often an item is begun again whose worker or machine was lost."""
ANSWER_S = 10.0
"""Seconds to wait for a cluster."""
AHEAD = 2
"""Items given out per worker, so that none waits for the next one."""


def parallel(
    setup: Setup[Item, Result],
    arguments: Sequence[Any],
    items: Sequence[Item],
    workers: int = 0,
    cluster: str = "",
) -> Iterator[Result]:
    """Does all items.

    Args:
        setup: called once in each worker, with `arguments`.
        arguments: plain data, sent to each worker.
        items: plain data.
        workers: processes, all cores when 0; one works in this process. On a cluster, items at
            once, as many as it has cores when 0.
        cluster: none when empty; `ray`, or the address of a Ray cluster. Its machines see the same
            folders as this one.

    Yields:
        Results in the order of the items, as soon as they are there.

    Raises:
        InputError: as the first item that fails, or if Ray is missing or does not answer.
    """
    if cluster:
        yield from _on_ray(setup, arguments, items, workers, cluster)
        return
    workers = min(workers or os.cpu_count() or 1, max(len(items), 1))
    if workers == 1:
        yield from map(setup(*arguments), items)
    else:
        yield from _in_processes(setup, arguments, items, workers)


def _in_processes(
    setup: Setup[Item, Result], arguments: Sequence[Any], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    # Each worker has a pipe of its own, which one that is stopped in the midst of a large result
    # takes with it. `Pool` and `ProcessPoolExecutor` share one pipe and can wait for ever then.
    with interrupts_ignored():
        processes = [_Process(setup, arguments) for _ in range(workers)]
    idle: SimpleQueue[_Process] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def do(item: Item) -> Result:
        process = idle.get()  # there are as many threads as processes
        try:
            result: Result = process.do(item)
        finally:
            idle.put(process)
        return result

    threads = ThreadPoolExecutor(workers)
    waiting = iter(items)
    try:
        pending = deque(threads.submit(do, item) for item in islice(waiting, AHEAD * workers))
        while pending:
            result = pending.popleft().result()
            pending.extend(threads.submit(do, item) for item in islice(waiting, 1))
            yield result
    except BaseException:
        for process in processes:
            process.stop()
        raise
    finally:
        threads.shutdown(cancel_futures=True)
        for process in processes:
            process.end()


class _Process:
    """A worker, and the pipe to it."""

    def __init__(self, setup: Setup[Any, Any], arguments: Sequence[Any]) -> None:
        # Not fork: OpenMP and OpenGL do not survive it.
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, setup, tuple(arguments)))
        self._process.start()
        other.close()  # the worker alone holds it, so that its end is seen here

    def do(self, item: Any) -> Any:
        try:
            self._pipe.send(item)
            result, error = self._pipe.recv()
        except (EOFError, OSError):
            raise InputError(
                "a worker process ended by itself, perhaps for want of memory; give fewer workers="
            ) from None
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """Whatever it is doing."""
        self._process.terminate()

    def end(self) -> None:
        """Waits until it has; it ends by itself when there is nothing more to do."""
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, setup: Setup[Any, Any], arguments: Sequence[Any]) -> None:
    end_with_parent()
    _set_up(setup, arguments)
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            answer: tuple[Any, Exception | None] = (_do(item), None)
        except Exception as error:
            error.add_note(traceback.format_exc())  # says where in the worker it came from
            answer = (None, error)
        pipe.send(answer)


_work: dict[str, Callable[[Any], Any]] = {}
"""What this worker does, by the key of the call of `parallel` that it belongs to."""


def _set_up(setup: Setup[Any, Any], arguments: Sequence[Any], key: str = "") -> None:
    _work.clear()
    try:
        _work[key] = setup(*arguments)
    except Exception as error:  # told with the first item
        _work[key] = partial(_refuse, error)


def _refuse(error: Exception, item: Any) -> Any:
    raise error


def _do(item: Any, key: str = "") -> Any:
    return _work[key](item)


def connect(cluster: str) -> Any:
    """The module `ray`, connected.

    Args:
        cluster: `ray`, or an address such as 10.0.0.1:6379 or ray://10.0.0.1:10001.

    Raises:
        InputError: if Ray is missing or the cluster does not answer.
    """
    try:
        import ray
    except ImportError:
        raise InputError(
            f"cluster={cluster}: needs Ray; pip install 'robopref[ray]' brings it"
        ) from None
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS") if cluster == RAY else cluster
        if address:
            _check_answers(address)
        ray.init(address, include_dashboard=False, logging_level=logging.ERROR)
    return ray


def _check_answers(address: str) -> None:
    """Ray itself asks for minutes, and then ends the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"cluster={address}: no Ray cluster answers there ({error}); `ray start --head` starts "
            "one and says its address, and cluster=ray makes do with this machine"
        ) from None


def _on_ray(
    setup: Setup[Item, Result],
    arguments: Sequence[Any],
    items: Sequence[Item],
    workers: int,
    cluster: str,
) -> Iterator[Result]:
    ray = connect(cluster)
    # Begun again elsewhere when a worker or a whole machine is lost; an error of its own is final.
    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_remote_item)
    key, shared = uuid.uuid4().hex, ray.put((setup, tuple(arguments), os.getcwd()))
    at_once = workers or AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
    waiting = iter(items)
    pending = deque(remote.remote(key, [shared], item) for item in islice(waiting, at_once))
    while pending:
        try:
            result: Result = ray.get(pending.popleft())
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        pending.extend(remote.remote(key, [shared], item) for item in islice(waiting, 1))
        yield result


def _remote_item(key: str, shared: list[Any], item: Any) -> Any:
    """One item in a worker of Ray's, which may have served another call before."""
    if key not in _work:
        import ray

        setup, arguments, folder = ray.get(shared[0])
        os.chdir(folder)
        _set_up(setup, arguments, key)
    return _do(item, key)

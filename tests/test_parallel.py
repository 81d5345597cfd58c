"""The same results from one process, several, and a Ray cluster that loses a machine."""

from __future__ import annotations

import functools
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from robopref.data.collect import collect
from robopref.data.robomimic import load_dataset
from robopref.errors import InputError
from robopref.evaluation.rollout import evaluate
from robopref.parallel import parallel
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import new_policy

ENV, KWARGS = "toy/point-mass-v0", {"horizon": 20}
MIX = {"shares": {"expert": 0.5, "random": 0.5}, "noise": 0.1}


def times(factor: int) -> functools.partial[int]:
    """A setup whose work is a product."""
    return functools.partial(int.__mul__, factor)


def slowly(folder: str) -> functools.partial[str]:
    """A setup whose work takes a while, and tells that it has begun."""
    return functools.partial(_slow, Path(folder))


def _slow(folder: Path, item: int) -> int:
    (folder / f"{item}-{os.getpid()}").touch()
    time.sleep(0.5)
    return 2 * item


def fatal() -> functools.partial[int]:
    """A setup whose work ends its process."""
    return functools.partial(_end)


def _end(item: int) -> int:
    os._exit(1)


def large() -> functools.partial[bytes]:
    """A setup whose results do not fit into a pipe."""
    return functools.partial(_zeros, 1_000_000)


def _zeros(size: int, item: int) -> bytes:
    return bytes(size)


def unable() -> functools.partial[int]:
    """A setup that does not work."""
    raise InputError("no work today")


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two machines."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    import ray

    made = cluster_utils.Cluster()
    made.head = made.add_node(num_cpus=1)
    made.other = made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(parallel(times, (3,), range(5), workers)) == [0, 3, 6, 9, 12]
    assert list(parallel(times, (3,), [], workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_setup_that_fails_ends_all_with_its_own_message(workers):
    with pytest.raises(InputError, match="no work today"):
        list(parallel(unable, (), range(3), workers))


def test_a_worker_that_ends_is_told_and_not_waited_for():
    with pytest.raises(InputError, match="a worker process ended by itself"):
        list(parallel(fatal, (), range(4), 2))


def test_what_is_left_early_ends_with_large_results_on_their_way():
    others = set(multiprocessing.active_children())  # another test's
    results = parallel(large, (), range(1_000), 2)
    assert len(next(results)) == 1_000_000
    assert len(set(multiprocessing.active_children()) - others) == 2
    results.close()
    assert set(multiprocessing.active_children()) <= others


@pytest.mark.slow
def test_a_cluster_gives_what_one_machine_gives(cluster, tmp_path):
    paths = [tmp_path / name for name in ("here.hdf5", "there.hdf5")]
    for path, address in zip(paths, ("", cluster.address), strict=True):
        collect(ENV, KWARGS, MIX, 6, 0, path, workers=1, cluster=address)
    here, there = map(load_dataset, paths)
    np.testing.assert_array_equal(here.actions, there.actions)
    np.testing.assert_array_equal(here.states, there.states)
    policy = new_policy(IQLConfig([16]), here.flat_observations.shape[1], here.actions.shape[1], 0)
    results = [
        evaluate(policy, ENV, KWARGS, 4, 0, workers=1, cluster=address)
        for address in ("", cluster.address)
    ]
    np.testing.assert_array_equal(results[0].returns, results[1].returns)


@pytest.mark.slow
def test_errors_on_a_cluster_are_told_as_here(cluster):
    with pytest.raises(InputError, match="no work today"):
        list(parallel(unable, (), range(3), cluster=cluster.address))


@pytest.mark.slow
def test_items_of_a_lost_machine_are_done_elsewhere(cluster, tmp_path):
    results = parallel(slowly, (str(tmp_path),), range(12), cluster=cluster.address)
    found = [next(results)]
    while len({path.name.split("-")[1] for path in tmp_path.iterdir()}) < 2:
        found.append(next(results))  # until the other machine is at work
    cluster.remove_node(cluster.other, allow_graceful=False)
    assert found + list(results) == [2 * item for item in range(12)]


def test_a_cluster_that_is_not_there_is_told(monkeypatch):
    ray = pytest.importorskip("ray")
    ray.shutdown()
    with pytest.raises(InputError, match=r"cluster=127\.0\.0\.1:1: no Ray cluster answers"):
        list(parallel(times, (3,), range(2), cluster="127.0.0.1:1"))

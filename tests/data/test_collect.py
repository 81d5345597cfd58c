from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from robopref.data.collect import collect
from robopref.data.robomimic import count_episodes, find_problems, load_dataset
from robopref.errors import InputError

TOY = "toy/point-mass-v0"
MIX = {"shares": {"expert": 1.0, "random": 1.0, "stop": 0.5}, "noise": 0.2}


def collect_toy(path, episodes, workers=1, seed=0, mix=MIX, **more):
    collect(TOY, {"horizon": 15}, mix, episodes, seed, path, workers, **more)
    return load_dataset(path, states=True)


def same(first, second) -> bool:
    return first.fingerprint == second.fingerprint and all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("rewards", "success", "states", "behaviours", "seeds")
    )


def test_workers_do_not_change_the_data(tmp_path):
    alone = collect_toy(tmp_path / "one.hdf5", 8, workers=1)
    assert same(alone, collect_toy(tmp_path / "two.hdf5", 8, workers=2))
    assert len(set(alone.seeds)) == 8


def test_seeds_change_the_data(tmp_path):
    first, second = (collect_toy(tmp_path / f"{seed}.hdf5", 3, seed=seed) for seed in (0, 1))
    assert not set(first.seeds) & set(second.seeds)
    assert not same(first, second)


def test_going_on_equals_never_having_stopped(tmp_path):
    saved = []
    collect_toy(tmp_path / "halted.hdf5", 3, on_saved=saved.append)
    gone_on = collect_toy(tmp_path / "halted.hdf5", 7, on_saved=saved.append)
    assert same(gone_on, collect_toy(tmp_path / "whole.hdf5", 7))
    assert (saved[0], saved[-1]) == (0, 7)
    assert saved == sorted(saved)


def test_a_full_file_stays_as_it_is(tmp_path):
    collect_toy(tmp_path / "x.hdf5", 3)
    before = (tmp_path / "x.hdf5").stat().st_mtime_ns
    assert len(collect_toy(tmp_path / "x.hdf5", 3)) == 3
    assert (tmp_path / "x.hdf5").stat().st_mtime_ns == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"mix": {**MIX, "noise": 0.3}}])
def test_other_settings_do_not_mix_into_a_file(tmp_path, change):
    collect_toy(tmp_path / "x.hdf5", 2)
    with pytest.raises(InputError, match="collected with other settings"):
        collect_toy(tmp_path / "x.hdf5", 4, **change)
    assert count_episodes(tmp_path / "x.hdf5") == 2


def test_shares_are_kept(tmp_path):
    dataset = collect_toy(tmp_path / "x.hdf5", 200, mix={"shares": {"expert": 3, "stop": 1}})
    share = dataset.behaviours.count("expert") / 200
    assert 0.65 < share < 0.85
    experts = np.array([name == "expert" for name in dataset.behaviours])
    assert dataset.returns[experts].mean() > dataset.returns[~experts].mean()


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"shares": {"nap": 1.0}}, "mix.shares.nap: no such behaviour; choose from expert"),
        ({"shares": {"expert": 1.0}, "loudness": 1}, "mix.loudness: no such setting"),
        ({"shares": {"expert": -1.0}}, "mix.shares.expert=-1.0: must be a number"),
        ({"shares": {"expert": 0.0}}, "at least one behaviour needs a share above 0"),
        ({"shares": {"expert": 1.0}, "noise": "loud"}, "mix.noise=loud: must be a number"),
        ({"shares": 1.0}, "mix.shares=1.0: must name behaviours"),
        ({}, "mix.shares=None: must name behaviours"),
    ],
)
def test_wrong_mixes_are_refused_before_anything_is_written(tmp_path, mix, message):
    with pytest.raises(InputError, match=message):
        collect_toy(tmp_path / "new" / "x.hdf5", 2, mix=mix)
    assert not (tmp_path / "new").exists()


def test_environments_that_cannot_be_collected_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"unknown environment; did you mean toy/point-mass-v0"):
        collect("toy/point-mas-v0", {}, MIX, 1, 0, tmp_path / "x.hdf5")
    with pytest.raises(InputError, match="has no scripted demonstrator"):
        collect("CartPole-v1", {}, MIX, 1, 0, tmp_path / "x.hdf5")
    with pytest.raises(InputError, match="needs the package 'nowhere'"):
        collect("nowhere:x/y-v0", {}, MIX, 1, 0, tmp_path / "x.hdf5")


def _collect_forever(path) -> None:
    os.setpgrp()
    collect_toy(path, 100_000, workers=2)


@pytest.mark.parametrize("wait", [0.0, 0.7])
def test_a_kill_leaves_a_readable_file_that_can_be_gone_on_with(tmp_path, wait):
    path = tmp_path / "x.hdf5"
    process = multiprocessing.get_context("spawn").Process(target=_collect_forever, args=(path,))
    process.start()
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(wait)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert find_problems(path) == []
    done = count_episodes(path)
    assert done >= 1
    gone_on = collect_toy(path, done + 3)
    assert same(gone_on, collect_toy(tmp_path / "whole.hdf5", done + 3))


def test_an_interrupt_keeps_what_is_saved(tmp_path):
    path = tmp_path / "x.hdf5"
    program = (
        # A shell that starts the tests in the background has SIGINT ignored.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import sys; from robopref.cli.main import main; "
        f"sys.exit(main(['collect', 'env={TOY}', 'mix=expert', 'episodes=100000', "
        f"'horizon=15', 'workers=2', 'output={path}']))"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        start_new_session=True, text=True,
    ) as process:  # fmt: skip
        while not path.exists():
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal sends on Ctrl-C
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert errors == "robopref: interrupted\n"
    assert find_problems(path) == []

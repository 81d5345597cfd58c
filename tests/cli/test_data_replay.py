"""`robopref data validate FILE --replay N`."""

from __future__ import annotations

import re

import pytest

from robopref.cli import main as cli


@pytest.fixture(autouse=True)
def toy_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ("mix=expert", "episodes=2", "horizon=10", "workers=1", "output=toy.hdf5")
    assert cli.main(["collect", "env=toy/point-mass-v0", *options]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("order", [("toy.hdf5", "--replay", "2"), ("--replay", "2", "toy.hdf5")])
def test_each_episode_has_a_line(order, capsys):
    assert cli.main(["data", "validate", *order]) == 0
    sound, *lines = capsys.readouterr().out.splitlines()
    assert sound == "toy.hdf5: sound, 2 episodes"
    for index, line in enumerate(lines):
        assert re.fullmatch(
            rf"episode {index}: 10 steps, off by at most [0-9.]+e[+-]\d+ in flat "
            r"\([0-9.]+e[+-]\d+ at the start\), (no )?success as recorded",
            line,
        )
    assert len(lines) == 2


@pytest.mark.parametrize(
    "words", [("toy.hdf5", "--replay"), ("toy.hdf5", "--replay", "none"), ("--replay", "0", "a")]
)
def test_wrong_words_are_refused(words, capsys):
    assert cli.main(["data", "validate", *words]) == 2
    assert "takes one FILE and --replay N, N at least 1" in capsys.readouterr().err

from __future__ import annotations

import numpy as np
import pytest

from robopref.cli.main import main
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset, save_dataset
from robopref.preferences.dataset import check_dataset, load_preferences


@pytest.fixture
def dataset(tmp_path, make_trajectory, monkeypatch):
    monkeypatch.chdir(tmp_path)
    episodes = [make_trajectory(30) for _ in range(3)]
    save_dataset(tmp_path / "data.hdf5", TrajectoryDataset.from_trajectories(episodes))
    (tmp_path / "pairs.txt").write_text("0 60 3\n70 31 1\n")
    return tmp_path / "data.hdf5"


def test_labels_are_imported_and_described(dataset, capsys):
    arguments = ["data", "import-labels", "lire", "pairs.txt", "data.hdf5", "out.parquet"]
    assert main([*arguments, "--length", "10"]) == 0
    said = capsys.readouterr().out
    assert "2 labels: 1 prefer the first, 1 the second, 0 ties" in said
    assert "agree with the true return" in said
    check_dataset(load_preferences("out.parquet"), load_dataset(dataset))
    assert main([*arguments[:-1], "x.parquet", "--length", "10", "--compare", "out.parquet"]) == 0
    assert "2 pairs are decided in both, and they agree on 100.0 %" in capsys.readouterr().out


def test_files_with_segments_write_both(dataset, capsys, rng):
    np.savez("s.npz", obs=rng.normal(size=(4, 6, 3)), action=rng.normal(size=(4, 6, 2)), x=range(4))
    arguments = ["data", "import-labels", "cpl", "s.npz", "new.hdf5", "out.parquet"]
    assert main([*arguments, "--score", "x"]) == 0
    assert "new.hdf5: 4 segments" in capsys.readouterr().out
    check_dataset(load_preferences("out.parquet"), load_dataset("new.hdf5"))
    assert main(arguments) == 2
    assert "new.hdf5: already exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lire", "pairs.txt", "data.hdf5"], "required: output"),
        (["csv", "pairs.txt", "data.hdf5", "x.parquet"], "invalid choice: 'csv'"),
        (["lire", "pairs.txt", "data.hdf5", "x.parquet"], "lies outside the|steps"),
        (["lire", "pairs.txt", "data.hdf5", "x.parquet", "--layout", "rows"], "choose from d4rl"),
        (["lire", "pairs.txt", "data.hdf5", "x.parquet", "--score", "x"], "has no such option"),
        (["uni-rlhf-export", "a.zip", "data.hdf5", "x.parquet"], "say what each answer means"),
        (
            ["uni-rlhf-export", "a.zip", "data.hdf5", "x.parquet", "--options", "0=left"],
            "write it like 0=first",
        ),
        (["cpl", "missing.npz", "new.hdf5", "x.parquet"], "no such file"),
    ],
)
def test_wrong_input_is_one_line(dataset, capsys, arguments, message):
    assert main(["data", "import-labels", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert any(part in said for part in message.split("|"))


def test_help_names_every_format(capsys):
    assert main(["data", "import-labels", "--help"]) == 0
    said = capsys.readouterr().out
    for name in ("preference-transformer", "uni-rlhf-export", "lire", "cpl", "imitation"):
        assert name in said

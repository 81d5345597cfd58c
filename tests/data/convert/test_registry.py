from __future__ import annotations

import pytest

from robopref.cli.main import main
from robopref.data.convert.registry import FORMATS, convert
from robopref.errors import InputError
from tests.data.convert.round_trip import robomimic_file


@pytest.fixture
def source(tmp_path, make_trajectory):
    return robomimic_file(tmp_path / "a.hdf5", [make_trajectory(3)])


def test_wrong_use_is_refused(source, tmp_path):
    with pytest.raises(InputError, match=r"name its format with --to"):
        convert(source, tmp_path / "b.hdf5")
    with pytest.raises(InputError, match=r"name its format with --to"):
        convert(source, tmp_path / "folder")
    with pytest.raises(InputError, match="already exists"):
        convert(source, source, target_format="numpy")
    with pytest.raises(InputError, match="zarr: no such format"):
        convert(source, tmp_path / "b", target_format="zarr")
    with pytest.raises(InputError, match="no such file or folder"):
        convert(tmp_path / "none", tmp_path / "b.hdf5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds none of the formats"):
        convert(tmp_path / "empty", tmp_path / "b.hdf5")


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_refuses_what_it_is_not(name, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"nothing")
    for path in (tmp_path / "folder", tmp_path / "file"):
        with pytest.raises(InputError):
            convert(path, tmp_path / "x.hdf5", source_format=name)


def test_command_line(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "convert", "a.hdf5", "folder", "--to", "numpy"]) == 0
    assert "folder: 1 episodes, robomimic to numpy" in capsys.readouterr().out
    assert main(["data", "convert", "folder", "b.hdf5", "--from", "numpy"]) == 0
    assert main(["data", "validate", "b.hdf5"]) == 0
    assert main(["data", "convert", "folder"]) == 2
    assert "data convert: the following arguments are required" in capsys.readouterr().err
    assert main(["data", "convert", "--help"]) == 0

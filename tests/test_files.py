from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from robopref.errors import InputError
from robopref.files import atomic_path, check_writable, existing_file, read_json, write_json


def test_json_round_trip_in_a_new_folder(tmp_path):
    path = tmp_path / "new" / "value.json"
    write_json(path, {"a": [1, 2.5, None], "b": "ü"})
    assert read_json(path) == {"a": [1, 2.5, None], "b": "ü"}


def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_kill_while_writing_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    program = f"""
        import os, pathlib, signal
        from robopref.files import atomic_path
        with atomic_path(pathlib.Path({str(path)!r})) as temporary:
            temporary.write_text("half of the n")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_permissions_are_those_of_other_new_files(tmp_path):
    (tmp_path / "plain").write_text("")
    write_json(tmp_path / "atomic", 1)
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_wrong_paths_and_contents_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        existing_file(tmp_path / "missing")
    with pytest.raises(InputError, match="a folder, not a file"):
        existing_file(tmp_path)
    for content in (b"{", b"\xff\xfe"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(InputError, match="not a JSON file"):
            read_json(tmp_path / "bad.json")


def test_places_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for check in (check_writable, lambda path: write_json(path, 1)):
        with pytest.raises(InputError, match="cannot be written"):
            check(tmp_path / "file" / "below.json")
    with pytest.raises(InputError, match="a folder, not a file"):
        check_writable(tmp_path)
    check_writable(tmp_path / "new" / "fine.json")
    assert list((tmp_path / "new").iterdir()) == []

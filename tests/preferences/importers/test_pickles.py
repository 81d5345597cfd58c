from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from robopref.errors import InputError
from robopref.preferences.importers.pickles import array_of, read_data

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "assets" / "labels"


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "values",
    [
        np.arange(6, dtype=np.int32),
        np.arange(6, dtype=">i8").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([True, False]),
        np.zeros((0, 2), dtype=np.float32),
    ],
)
def test_arrays_are_read_as_pickle_reads_them(tmp_path, values, protocol):
    path = written(tmp_path, pickle.dumps(values, protocol))
    read = array_of(read_data(path), path, "it")
    assert np.array_equal(read, values)
    assert read.dtype == values.dtype


def test_lists_of_numbers_become_arrays(tmp_path):
    for given in ([0, 1, -1, 300, 70000], [0.5, 1.0], [np.int64(3), np.float32(0.5)]):
        path = written(tmp_path, pickle.dumps(given))
        value = read_data(path)
        numbers = [item.value if hasattr(item, "value") else item for item in value]
        assert np.array_equal(np.array(numbers, dtype=float), np.array(given, dtype=float))


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_names_of_both_numpy_generations_are_known(tmp_path, core):
    content = pickle.dumps(np.arange(3), 4)
    name = b"numpy.core.multiarray" if b"numpy.core." in content else b"numpy._core.multiarray"
    other = f"{core}.multiarray".encode()
    # A short string is preceded by its length, in one byte.
    content = content.replace(bytes([len(name)]) + name, bytes([len(other)]) + other)
    frame = content.index(b"\x95") + 1
    length = (
        int.from_bytes(content[frame : frame + 8], "little") + len(other) - len(name)
    ).to_bytes(8, "little")
    path = written(tmp_path, content[:frame] + length + content[frame + 8 :])
    assert array_of(read_data(path), path, "it").tolist() == [0, 1, 2]


class Malicious:
    """Unpickled, it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_refused_and_not_run(tmp_path, protocol):
    proof = tmp_path / "ran"
    for value in (Malicious(proof), [1, Malicious(proof)], {"a": Malicious(proof)}):
        path = written(tmp_path, pickle.dumps(value, protocol))
        with pytest.raises(InputError, match="not read"):
            read_data(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "names builtins.eval"),
        (b"\x80\x02c__builtin__\neval\nq\x00.", "written by Python 2"),
        (b"\x80\x02]q\x00(U\x03abcq\x01K\x01e.", "written by Python 2"),
        (pickle.dumps(np.array([{}, None], dtype=object)), "no array of numbers"),
        (pickle.dumps(np.zeros(2, dtype=[("a", "i4")])), "type V4; only numbers"),
        (pickle.dumps(np.array(["a"])), "only numbers"),
        (pickle.dumps("text"), "no array of numbers"),
        (pickle.dumps([1, "text"]), "no array of numbers"),
        (pickle.dumps([]), "no array of numbers"),
        (b"", "damaged or not a pickle"),
        (b"no pickle at all", "damaged or not a pickle|more than numbers"),
        (pickle.dumps(np.arange(50))[:100], "damaged or not a pickle"),
        (pickle.dumps(np.arange(9, dtype="i4")).replace(b"K\x09\x85", b"K\xff\x85"), r"\(255\)"),
        (b"\x80\x04\x8c" + bytes([200]) + b"x" * 200 + b"\x8c\x01yq\x00\x93.", "names x{50,}"),
    ],
)
def test_what_holds_no_numbers_is_refused(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=message) as caught:
        array_of(read_data(path), path, "it")
    assert len(str(caught.value)) < 300 + len(str(path))
    assert "\n" not in str(caught.value)


def test_huge_claims_take_no_memory(tmp_path):
    # A memo index, a string length and a list that holds itself many times over.
    for content in (
        b"\x80\x04]r\xff\xff\xff\x7f.",
        b"\x80\x04B\xff\xff\xff\x7fabc.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"\x80\x04]\x94" + b"]\x94(h\x00h\x00e\x94h\x00h\x00\x86" * 20 + b".",
    ):
        path = written(tmp_path, content)
        with pytest.raises(InputError):
            array_of(read_data(path), path, "it")


def test_published_files_are_read_as_pickle_reads_them():
    found = [path for path in SAMPLES.rglob("*") if path.is_file() and path.suffix != ".md"]
    assert len(found) == 7
    for path in found:
        expected = pickle.load(io.BytesIO(path.read_bytes()))  # ours, and known to be harmless
        assert np.array_equal(array_of(read_data(path), path, "it"), expected), path

"""The damaged files of the fuzz test, by kind; those of HDF5 are in `fuzz_hdf5.py`."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import all_segments
from robopref.preferences.dataset import SCHEMA, Preferences, save_preferences
from tests.data.fuzz_hdf5 import hdf5_files, mangled
from tests.preferences.importers.imitation_pickle import imitation_pickle

PROOF = "a-file-ran-code"
"""Name of the file that malicious pickles try to make, beside the damaged files."""


class Runs:
    """Unpickled, it runs a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def all_files(folder: Path, small: TrajectoryDataset, data: TrajectoryDataset) -> Iterator[Path]:
    yield from hdf5_files(folder, small)
    yield from parquet_files(folder, data)
    yield from npz_files(folder)
    yield from text_files(folder)
    yield from pickle_files(folder)


def parquet_files(folder: Path, data: TrajectoryDataset) -> Iterator[Path]:
    segments = all_segments(data, 10)
    index = np.arange(60)
    labels = np.linspace(0.0, 1.0, 60)
    sound = folder / "sound.parquet"
    save_preferences(
        sound,
        Preferences.from_labels(
            data, segments[index], segments[index + 60], labels,
            source="human", annotator="Ada", created_at=datetime(2025, 1, 1, tzinfo=UTC),
        ),
    )  # fmt: skip
    yield from mangled(folder, sound.read_bytes(), ".parquet", 25)
    content = sound.read_bytes()
    for number, text in enumerate((b"Ada", b"human", b"annotator", data.fingerprint[:6].encode())):
        path = folder / f"no-utf8-{number}.parquet"
        path.write_bytes(content.replace(text, b"\xe9\x99" + text[2:]))
        yield path
    table = pq.read_table(sound)

    def column(name: str, values: Any) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, values)

    tables = {f"no-{name}": table.drop_columns([name]) for name in SCHEMA.names}
    for name in SCHEMA.names:
        tables[f"text-{name}"] = column(name, pa.array(["x"] * 60))
        tables[f"null-{name}"] = column(name, pa.nulls(60))
        tables[f"list-{name}"] = column(name, pa.array([[1]] * 60))
    for number, value in enumerate((-0.1, 1.1, np.nan, np.inf)):
        tables[f"label-{number}"] = column("label", pa.array([value] * 60))
    tables["long-text"] = column("annotator", pa.array(["a" * 100_000] * 60))
    tables["source"] = column("source", pa.array(["rumour" * 100] * 60))
    tables["no-rows"] = table.slice(0, 0)
    tables["many-rows"] = table.take(pa.array(np.zeros(1_000_000, dtype=np.int64)))
    for name, content in tables.items():
        path = folder / f"{name}.parquet"
        pq.write_table(content, path, compression="gzip")
        yield path
    yield sound


def npz_files(folder: Path) -> Iterator[Path]:
    rng = np.random.default_rng(0)
    arrays = {"obs": rng.normal(size=(4, 6, 3)), "action": rng.normal(size=(4, 6, 2))}
    sound = folder / "sound.npz"
    np.savez(sound, **arrays, score=np.arange(4.0))
    yield from mangled(folder, sound.read_bytes(), ".npz", 15)
    cases: dict[str, dict[str, Any]] = {
        "objects": {**arrays, "score": np.array([{}, 1, Runs(os.system, "true"), None])},
        "text": {**arrays, "score": np.array(["a"] * 4)},
        "nan": {**arrays, "score": np.full(4, np.nan)},
        "no-score": arrays,
        "one": {"obs": np.zeros((1, 6, 3)), "action": np.zeros((1, 6, 2)), "score": np.zeros(1)},
        "flat": {"obs": np.zeros(4), "action": np.zeros(4), "score": np.zeros(4)},
        "bomb": {**arrays, "score": np.zeros((4, 2**22))},
        "scalars": {"obs": np.array(1), "action": np.array(1), "score": np.array(1)},
        "scalar": {**arrays, "score": np.array(1)},
        "sides": {"obs_1": arrays["obs"], "obs_2": arrays["obs"][:, 1:], "label": np.zeros(4)},
        "labels": {
            **{f"{name}_{side}": values for name, values in arrays.items() for side in (1, 2)},
            "label": np.full(4, 3.0),
        },
    }
    for name, content in cases.items():
        path = folder / f"{name}.npz"
        np.savez_compressed(path, **content)
        yield path
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }"
    path = folder / "claim.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("score.npy", (header % 2**40).ljust(127) + b"\n" + b"\0" * 64)
    yield path
    yield sound


def text_files(folder: Path) -> Iterator[Path]:
    texts = ("", "1 2", "1 2 9", "a b c", "1 2 3 4", "0 [1", "0 [[1]]", "0 " + "[" * 9999,
             "\0" * 99, "0 [" + "9" * 6000 + "]", "0 [" + "1, " * 5000 + "1]",
             "-1 2 1", "1 99999 1", "9" * 30 + " 2 1", "0 __import__('os')")  # fmt: skip
    for number, text in enumerate(texts):
        path = folder / f"lines-{number}.txt"
        path.write_text(text)
        yield path
    head = "start_indices_1,end_indices_1,start_indices_2,end_indices_2,label\n"
    rows = ("", "0,9,20,29,{1: {'0': 0}}", "0,9,20,29," + "{" * 9999, "9,0,29,20,{1: {'0': 0}}",
            "0,9,20,29,__import__('os').system('true')", "0,9,20,29,{1: 'x'}", "x,,,,",
            "9" * 30 + ",9,20,29,{1: {'0': 0}}", "0,9,20,29,{[1]: 2}",
            '"' + "," * 300_000)  # fmt: skip
    for number, row in enumerate(rows):
        path = folder / f"export-{number}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("label.csv", head + row)
        sound = path.read_bytes()
        yield path
    yield from mangled(folder, sound, ".zip", 6)
    path = folder / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("label.csv", head + "0" * 200_000_000)
    yield path


def pickles(proof: Path) -> dict[str, bytes]:
    """Pickles that run code, hold no numbers, or claim too much."""
    command = f"touch {proof}"
    values: dict[str, Any] = {
        "system": Runs(os.system, command),
        "eval": Runs(eval, f"open({str(proof)!r}, 'w')"),
        "exec": [1, Runs(exec, f"open({str(proof)!r}, 'w')")],
        "open": {"a": Runs(open, str(proof), "w")},
        "objects": np.array([Runs(os.system, command), 1]),
        "getattr": Runs(getattr, "text", "upper"),
        "huge-text": "x" * 200_000,
        "huge-name": Runs(os.system, "y" * 100_000),
        "texts": ["a", "b"],
        "nested": [[0, 1], [1, 0]],
        "none": None,
        "record": np.zeros(3, dtype=[("a", "f4")]),
        "set": {1, 2},
        "big": [2**9000],
        "scalar": np.array(3),
        "number": np.float64(3.0),
        "columns": np.zeros((9, 2), dtype=np.int64),
        "deep": np.zeros((9, 1, 2)),
        "infinite": np.full(9, np.inf),
        "large": np.full(9, 2**62),
        "unsigned": np.full(9, 2**64 - 1, dtype=np.uint64),
    }
    cases = {
        f"{name}-{protocol}": pickle.dumps(value, protocol)
        for name, value in values.items()
        for protocol in (0, 2, 4)
    }
    array = pickle.dumps(np.arange(9, dtype="i8"), 4)
    cases["claims-more"] = array.replace(b"K\x09\x85", b"J\xff\xff\xff\x7f\x85")
    cases["memo"] = b"\x80\x04]r\xff\xff\xff\x7f."
    cases["length"] = b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc."
    cases["doubling"] = (
        b"\x80\x04)\x94" + b"".join(b"h%c\x86\x94" % i * 2 for i in range(120)) + b"."
    )
    cases["python-2"] = b"\x80\x02]q\x00(U\x03abcq\x01K\x01e."
    return cases


def pickle_files(folder: Path) -> Iterator[Path]:
    proof = folder / PROOF
    positions = pickle.dumps(np.arange(0, 90, 10))
    labels = pickle.dumps([0, 1, -1] * 3)
    sound = {"indices_num9": positions, "indices_2_num9": positions, "label_human": labels}
    rng = np.random.default_rng(0)
    fragments = [
        (rng.normal(size=(5, 3)), rng.normal(size=(4, 2)), np.array([{}] * 4), False, np.ones(4))
        for _ in range(2)
    ]
    imitation = imitation_pickle(fragments[:1], fragments[1:], np.array([0.5]))
    yield from mangled(folder, imitation, ".pkl", 20)
    bad = pickles(proof)
    for number, odd in enumerate((np.array(0.5), np.array([[0.5]]), np.array([2.0]), [], None)):
        bad[f"preferences-{number}"] = imitation_pickle(fragments[:1], fragments[1:], odd)
    for number, part in enumerate((np.array(1), np.zeros(0), np.zeros((5, 3, 2)), None, "x")):
        for place in (0, 1, 4):
            fragment = tuple(part if i == place else v for i, v in enumerate(fragments[0]))
            bad[f"fragment-{number}-{place}"] = imitation_pickle(
                [fragment], fragments[1:], np.array([0.5])
            )
    for name, content in bad.items():
        path = folder / f"{name}.pkl"
        path.write_bytes(content)
        yield path
    for which in sound:
        contents = {} if which == "indices_2_num9" else dict(bad)
        for path in mangled(folder, sound[which], ".bytes", 8):
            contents[f"{which}-{path.stem}"] = path.read_bytes()
            path.unlink()
        for name, content in contents.items():
            path = folder / f"{name}.pt"
            path.mkdir()
            for file, good in sound.items():
                (path / file).write_bytes(content if file == which else good)
            yield path
    for name, content in bad.items():
        path = folder / f"{name}.uni"
        path.mkdir()
        for file in ("human_label", "indices_1", "indices_2"):
            # Every second is bad in its positions, the others in their labels.
            hit = file == ("indices_1" if len(name) % 2 else "human_label")
            (path / f"{file}_num_9_len_10_x.pkl").write_bytes(content if hit else positions)
        yield path

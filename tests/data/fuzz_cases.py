"""The damaged files of the fuzz test, by kind."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import save_dataset
from robopref.data.segments import all_segments
from robopref.preferences.dataset import SCHEMA, Preferences, save_preferences
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


def mangled(folder: Path, sound: bytes, suffix: str, count: int) -> Iterator[Path]:
    """`count` files each that are cut short, have bits flipped, and have a block overwritten."""
    rng = np.random.default_rng(len(sound))
    for number in range(count):
        cut = folder / f"cut-{number}{suffix}"
        cut.write_bytes(sound[: int(len(sound) * number / count)])
        yield cut
        flipped = np.frombuffer(sound, dtype=np.uint8).copy()
        # Half of them near the beginning, where headers are.
        reach = len(flipped) if number % 2 else min(len(flipped), 4096)
        where = rng.integers(0, reach, 1 + number % 12)
        flipped[where] ^= (1 << rng.integers(0, 8, len(where))).astype(np.uint8)
        path = folder / f"flip-{number}{suffix}"
        path.write_bytes(flipped.tobytes())
        yield path
        block = bytearray(sound)
        start = int(rng.integers(0, len(sound)))
        length = int(rng.integers(1, 64))
        block[start : start + length] = bytes([0 if number % 2 else 255]) * length
        path = folder / f"block-{number}{suffix}"
        path.write_bytes(bytes(block))
        yield path


def hdf5_files(folder: Path, small: TrajectoryDataset) -> Iterator[Path]:
    sound = folder / "sound.hdf5"
    save_dataset(sound, small)
    content = sound.read_bytes()
    yield from mangled(folder, content, ".hdf5", 35)
    for name, edit in {**missing_parts(), **wrong_kinds(), **claims(), **links(sound)}.items():
        path = folder / f"{name}.hdf5"
        path.write_bytes(content)
        with h5py.File(path, "a") as file:
            edit(file)
        yield path
    yield sound


ARRAYS = (
    "actions", "rewards", "dones", "obs/flat", "next_obs/flat", "obs/image", "next_obs/image",
    "states", "final_state", "terminated", "truncated", "success", "factors/distance",
)  # fmt: skip
Edit = Callable[[h5py.File], Any]


def put(name: str, **arguments: Any) -> Edit:
    """Replaces one array of the second episode."""

    def edit(file: h5py.File) -> None:
        del file[f"data/demo_1/{name}"]
        file.create_dataset(f"data/demo_1/{name}", **arguments)

    return edit


def missing_parts() -> dict[str, Edit]:
    def drop(name: str) -> Edit:
        return lambda file: file.__delitem__(name)

    paths = ["data", *(f"data/demo_1/{name}" for name in (*ARRAYS, "obs", "next_obs", "factors"))]
    return {
        **{f"no-{path.replace('/', '-')}": drop(path) for path in paths},
        "no-env-args": lambda file: file["data"].attrs.__delitem__("env_args"),
        "no-episode": lambda file: [file["data"].__delitem__(f"demo_{i}") for i in range(3)],
    }


def wrong_kinds() -> dict[str, Edit]:
    def attribute(node: str, name: str, value: Any) -> Edit:
        return lambda file: file[node].attrs.__setitem__(name, value)

    values: dict[str, Any] = {
        "text": {"data": "text"},
        "texts": {"data": ["a", "b", "c"]},
        "empty": {"data": h5py.Empty("f")},
        "complex": {"data": np.ones((3, 2), complex)},
        "record": {"data": np.zeros(3, dtype=[("a", "f4"), ("b", "i4")])},
        "scalar": {"data": 1.0},
        "no-rows": {"shape": (0, 2), "dtype": "f4"},
        "deep": {"data": np.zeros((3, 1, 1, 1, 2))},
        "long": {"data": np.zeros((9, 2))},
        "nan": {"data": np.full((3, 2), np.nan)},
        "reference": {"shape": (3,), "dtype": h5py.ref_dtype},
        "ragged": {"shape": (3,), "dtype": h5py.vlen_dtype("f4")},
        "half": {"data": np.zeros((3, 2), "f2")},
        "bytes": {"data": np.zeros((3, 3), "u1")},
    }
    cases = {
        f"{kind}-{name.replace('/', '-')}": put(name, **arguments)
        for kind, arguments in values.items()
        for name in ("actions", "obs/flat", "obs/image", "rewards")
    }
    for number, value in enumerate(("{", "[1]", "7", "null", b"\xff\xfe", 3.5, "{" * 50_000)):
        cases[f"env-args-{number}"] = attribute("data", "env_args", value)
    for number, value in enumerate(("x", -1, 2**62, [1, 2], np.nan)):
        cases[f"seed-{number}"] = attribute("data/demo_1", "seed", value)
        cases[f"samples-{number}"] = attribute("data/demo_1", "num_samples", value)
        cases[f"behaviour-{number}"] = attribute("data/demo_1", "behaviour", value)
    cases["group-for-array"] = lambda file: (
        file["data/demo_1"].pop("actions"),
        file.create_group("data/demo_1/actions"),
    )
    cases["array-for-group"] = lambda file: file.create_dataset("data/demo_9", data=1.0)
    cases["array-for-data"] = lambda file: (file.pop("data"), file.create_dataset("data", data=1.0))
    cases["odd-names"] = lambda file: [
        file["data"].create_group(n) for n in ("x", "demo_", "\u00e9")
    ]
    for number, names in enumerate((["demo_7"], ["../x"], [""], ["\u00e9"])):
        cases[f"mask-{number}"] = lambda file, names=names: file.create_dataset(
            "mask/train", data=np.array([name.encode() for name in names])
        )
    cases["mask-of-numbers"] = lambda file: file.create_dataset("mask/train", data=[0, 1])
    cases["mask-array"] = lambda file: file.create_dataset("mask", data=[0, 1])
    return cases


def claims() -> dict[str, Edit]:
    """Arrays that claim far more than the file holds."""
    huge = {"shape": (2**31, 2), "dtype": "f4"}
    cases = {f"huge-{name.replace('/', '-')}": put(name, **huge) for name in ARRAYS}
    cases["huge-filled"] = put("actions", shape=(2**33, 7), dtype="f8", fillvalue=1.0)
    cases["huge-chunked"] = put("actions", shape=(2**33, 7), dtype="f4", chunks=(1024, 7))
    cases["huge-packed"] = put("obs/image", shape=(2**30, 8, 8, 3), dtype="u1", compression="gzip")
    cases["bomb"] = put("obs/flat", data=np.zeros((2**22, 3), "f4"), compression="gzip")
    cases["many-claims"] = lambda file: [
        file.create_dataset(f"data/demo_{i}/{name}", shape=(2**17, 7), dtype="f8")
        for i in range(3, 400)
        for name in ("actions", "obs/flat")
    ]
    cases["huge-mask"] = lambda file: file.create_dataset("mask/x", shape=(2**28,), dtype="S9")
    return cases


def links(sound: Path) -> dict[str, Edit]:
    """Ways to lead a reader out of the file, in circles, or many times to the same array."""

    def link(name: str, value: Any) -> Edit:
        def edit(file: h5py.File) -> None:
            file.pop(name, None)
            file[name] = value

        return edit

    def hard(name: str, target: str) -> Edit:
        return lambda file: file.__setitem__(name, file[target])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(shape=(3, 2), dtype="f4")
        layout[:] = h5py.VirtualSource(sound, "data/demo_1/actions", shape=(3, 2))
        del file["data/demo_1/actions"]
        file["data/demo_1"].create_virtual_dataset("actions", layout)

    def many_names(file: h5py.File) -> None:
        file["data/demo_1/big"] = np.zeros(2**17)
        for number in range(2000):
            file[f"data/demo_1/factors/f{number}"] = file["data/demo_1/big"]

    cases: dict[str, Edit] = {"virtual": virtual, "one-array-many-names": many_names}
    for name in ("data", "data/demo_1", "data/demo_1/actions", "data/demo_1/obs/image", "mask"):
        label = name.replace("/", "-")
        for number, target in enumerate((str(sound), "/etc/passwd", "../../x", "no-such-file")):
            cases[f"external-{number}-{label}"] = link(name, h5py.ExternalLink(target, name))
        cases[f"loop-{label}"] = link(name, h5py.SoftLink(f"/{name}"))
        cases[f"elsewhere-{label}"] = link(name, h5py.SoftLink("/data/demo_0"))
    for name in ("actions", "obs/image"):
        for number, target in enumerate((b"/etc/passwd", os.fsencode(sound))):
            cases[f"stored-outside-{number}-{name.replace('/', '-')}"] = put(
                name, shape=(3, 2), dtype="u1", external=[(target, 0, 6)]
            )
    cases["circle"] = hard("data/demo_1/obs/again", "data/demo_1")
    cases["circle-of-data"] = hard("data/demo_1/data", "data")
    cases["one-episode-many-names"] = lambda file: [
        file.__setitem__(f"data/demo_{i}", file["data/demo_0"]) for i in range(3, 2000)
    ]
    return cases


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


def text_files(folder: Path) -> Iterator[Path]:
    texts = ("", "1 2", "1 2 9", "a b c", "1 2 3 4", "0 [1", "0 [[1]]", "0 " + "[" * 9999,
             "\0" * 99, "0 [" + "9" * 6000 + "]", "0 [" + "1, " * 5000 + "1]",
             "-1 2 1", "1 99999 1", "0 __import__('os')")  # fmt: skip
    for number, text in enumerate(texts):
        path = folder / f"lines-{number}.txt"
        path.write_text(text)
        yield path
    head = "start_indices_1,end_indices_1,start_indices_2,end_indices_2,label\n"
    rows = ("", "0,9,20,29,{1: {'0': 0}}", "0,9,20,29," + "{" * 9999, "9,0,29,20,{1: {'0': 0}}",
            "0,9,20,29,__import__('os').system('true')", "0,9,20,29,{1: 'x'}", "x,,,,",
            "0,9,20,29,{[1]: 2}", '"' + "," * 300_000)  # fmt: skip
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
    for name, content in bad.items():
        path = folder / f"{name}.pkl"
        path.write_bytes(content)
        yield path
    for which in sound:
        contents = dict(bad) if which == "label_human" else {}
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
            hit = content if file == "human_label" else positions
            (path / f"{file}_num_9_len_10_x.pkl").write_bytes(hit)
        yield path

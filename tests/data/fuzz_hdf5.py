"""Damaged HDF5 files of the fuzz test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import save_dataset


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

"""Local Minari datasets: `data/main_data.hdf5` with a group per episode, `data/metadata.json`.

Read and written through h5py, not through the library: it would be one more dependency to install,
checks neither links nor sizes, and knows pictures only as JPEG, which changes them. What robopref
writes it opens (tested with minari 0.5.3): it decodes PNG as readily.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robopref.data.convert.episodes import FLAT, Recordings, Say, make_episode, say_lost
from robopref.data.convert.images import decode_all, encode_png, has_png
from robopref.data.hdf5 import check_stored, open_hdf5, read_array
from robopref.errors import InputError
from robopref.files import atomic_folder, read_json, write_json
from robopref.structures import Array, Trajectory

DATA, METADATA = "main_data.hdf5", "metadata.json"
VERSION = "0.5.3"
"""Version of Minari whose layout is written."""
FLAGS = {"rewards": "rewards", "terminations": "terminated", "truncations": "truncated"}
MAGIC = (b"\xff\xd8\xff", b"\x89PNG")
"""First bytes of JPEG and PNG."""
SMALLEST_PICTURE = 32
"""Pictures with a smaller side Minari keeps as arrays."""


def recognises(path: Path) -> bool:
    """Whether a path is such a folder."""
    return (_data(path) / DATA).is_file()


def read(path: Path, say: Say) -> Recordings:
    """Reads a dataset.

    Raises:
        InputError: if a file is missing or damaged, or the data is not in HDF5.
    """
    metadata = read_json(_data(path) / METADATA)
    if not isinstance(metadata, dict) or metadata.get("data_format", "hdf5") != "hdf5":
        raise InputError(
            f"{path}: is not in Minari's HDF5 form; write it again with data_format='hdf5'"
        )
    return Recordings(_episodes(_data(path) / DATA, say), _env_args(metadata, path))


def write(path: Path, recordings: Recordings, say: Say) -> None:
    """Writes a dataset; it appears whole."""
    say_lost(say, recordings, "filter_keys")
    with atomic_folder(path) as folder:
        (folder / "data").mkdir()
        spaces: dict[str, str] = {}
        steps = number = 0
        with h5py.File(folder / "data" / DATA, "w", track_order=True) as file:
            for number, episode in enumerate(recordings.episodes, start=1):
                say_lost(say, episode, "attributes", "extras")
                spaces = spaces or _spaces(episode, say)
                _write(file.create_group(f"episode_{number - 1}"), number - 1, episode)
                steps += len(episode)
        name = path.name if re.search(r"-v\d+$", path.name) else f"{path.name}-v0"
        metadata = {
            "dataset_id": name,
            "minari_version": VERSION,
            "data_format": "hdf5",
            "total_episodes": number,
            "total_steps": steps,
            "dataset_size": round((folder / "data" / DATA).stat().st_size / 1e6, 1),
            "env_args": dict(recordings.env_args),
            **spaces,
        }
        write_json(folder / "data" / METADATA, metadata)


def _data(path: Path) -> Path:
    """The folder that holds the files; `path` may be it or the one above."""
    return path / "data" if (path / "data").is_dir() else path


def _env_args(metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if isinstance(metadata.get("env_args"), dict):
        return dict(metadata["env_args"])
    if "env_spec" not in metadata:
        return {}
    try:
        spec = json.loads(metadata["env_spec"])
        return {"env_name": str(spec["id"]), "type": 2, "env_kwargs": dict(spec.get("kwargs", {}))}
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: env_spec in {METADATA} is not Gymnasium's JSON") from error


def _episodes(path: Path, say: Say) -> Iterator[Trajectory]:
    with open_hdf5(path) as file:
        names = [name for name in file if re.fullmatch(r"episode_\d+", name)]
        for name in sorted(names, key=lambda name: int(name.split("_")[1])):
            yield _read(file[name], f"{path}: {name}", say)


def _read(group: h5py.Group, where: str, say: Say) -> Trajectory:
    for name in ("observations", "actions"):
        if not isinstance(group, h5py.Group) or name not in group:
            raise InputError(f"{where}: has no {name!r}; it is no Minari episode")
    observations = _observations(group, "observations", FLAT, where, say)
    if not isinstance(group["actions"], h5py.Dataset):
        raise InputError(f"{where}: actions are a Dict or Tuple; robopref needs one array of them")
    infos = _infos(group["infos"], "", where, say) if "infos" in group else {}
    actions = read_array(group, "actions", where)
    flags = {ours: read_array(group, name, where) for name, ours in FLAGS.items() if name in group}
    steps = len(actions) if actions.ndim else 0
    if "success" in infos:
        flags["success"] = infos.pop("success")[-steps:]  # Minari's infos may begin with the reset
    interventions = infos.pop("interventions", None)
    factors = [name for name in infos if name.startswith("factors/")]
    return make_episode(
        where,
        say,
        observations,
        actions,
        flags,
        factors={name.removeprefix("factors/"): infos.pop(name) for name in factors},
        interventions=None if interventions is None else interventions.astype(bool),
        states=infos.pop("states", None),
        behaviour=str(group.attrs.get("behaviour", "")),
        seed=int(group.attrs["seed"]) if isinstance(group.attrs.get("seed"), np.integer) else None,
        name=group.name.removeprefix("/"),
        extras={f"infos/{name}": values for name, values in infos.items()},
    )


def _observations(
    parent: h5py.Group, key: str, name: str, where: str, say: Say
) -> dict[str, Array]:
    """Arrays of an observation space by name; nested names are joined with `_`."""
    node = parent[key]
    if isinstance(node, h5py.Group):
        prefix = "" if name == FLAT else f"{name}_"
        found: dict[str, Array] = {}
        for below in node:  # tuples are kept as _index_0, _index_1, ...
            inner = f"{prefix}{below.removeprefix('_')}"
            found |= _observations(node, below, inner, where, say)
        return found
    if node.dtype.kind in "biuf":
        values = read_array(parent, key, where)
        contents = [bytes(row) for row in values] if _holds_pictures(values) else None
    elif h5py.check_vlen_dtype(node.dtype) == np.uint8:
        check_stored(node.id, f"{where}/{name}")
        contents = [bytes(row) for row in node[()]]
    else:
        say(f"lost: {name}, which is text")
        return {}
    return {name: values if contents is None else decode_all(contents, f"{where}/{name}")}


def _holds_pictures(values: Array) -> bool:
    """Whether the rows are encoded pictures that happen to be equally long."""
    flat = values.dtype == np.uint8 and values.ndim == 2 and len(values) > 0
    return flat and bytes(values[0]).startswith(MAGIC)


def _infos(group: h5py.Group, prefix: str, where: str, say: Say) -> dict[str, Array]:
    """Arrays of numbers below `infos`, by path; what is none is passed over."""
    found: dict[str, Array] = {}
    for key in group:
        node, path = group[key], f"{prefix}{key}"
        if isinstance(node, h5py.Group):
            found |= _infos(node, f"{path}/", where, say)
        elif node.dtype.kind not in "biuf" or not node.ndim:
            say(f"lost: infos/{path}, which is no array of numbers")
        elif path == "states":  # the last one may not have been recorded, so NaN
            check_stored(node.id, f"{where}/{path}")
            found[path] = node[()]
        else:
            found[path] = read_array(group, key, where)
    return found


def _write(group: h5py.Group, number: int, episode: Trajectory) -> None:
    group.attrs.update({"id": number, "total_steps": len(episode)})
    if episode.seed is not None:
        group.attrs["seed"] = episode.seed
    if episode.behaviour:
        group.attrs["behaviour"] = episode.behaviour
    alone = set(episode.observations) == {FLAT}
    arrays = {
        "actions": episode.actions,
        **{name: getattr(episode, ours) for name, ours in FLAGS.items()},
        "infos/success": episode.success,
        **{f"infos/factors/{name}": values for name, values in episode.factors.items()},
    }
    optional = {"interventions": episode.interventions, "states": episode.states}
    arrays |= {f"infos/{name}": v for name, v in optional.items() if v is not None}
    for name, values in episode.observations.items():
        path = "observations" if alone else f"observations/{name}"
        if not _as_pictures(values):
            arrays[path] = values
        elif has_png(values.shape[1:]):
            pictures = [np.frombuffer(encode_png(picture), dtype=np.uint8) for picture in values]
            stored = group.create_dataset(path, len(values), h5py.vlen_dtype(np.uint8))
            for row, content in enumerate(pictures):
                stored[row] = content
    for path, values in arrays.items():
        group.create_dataset(path, data=values, compression="gzip", compression_opts=1)


def _as_pictures(values: Array) -> bool:
    """Whether Minari takes an array for pictures."""
    shape = values.shape[1:]
    return values.dtype == np.uint8 and len(shape) in (2, 3) and min(shape[:2]) >= SMALLEST_PICTURE


def _spaces(episode: Trajectory, say: Say) -> dict[str, str]:
    """Gymnasium's spaces as Minari writes them down."""
    boxes = {}
    for name, values in episode.observations.items():
        if _as_pictures(values) and not has_png(values.shape[1:]):
            say(f"lost: images of {name}, whose channels no picture format has")
        else:
            boxes[name] = _box(values)
    alone = set(episode.observations) == {FLAT}
    space = boxes[FLAT] if alone else {"type": "Dict", "subspaces": boxes}
    return {
        "observation_space": json.dumps(space),
        "action_space": json.dumps(_box(episode.actions)),
    }


def _box(values: Array) -> dict[str, Any]:
    shape, low, high = values.shape[1:], -np.inf, np.inf
    if values.dtype.kind == "b":
        low, high = 0, 1
    if values.dtype.kind in "iu":
        limits: Any = np.iinfo(str(values.dtype))
        low, high = limits.min, limits.max
    return {
        "type": "Box",
        "dtype": str(values.dtype),
        "shape": list(shape),
        "low": np.full(shape, low).tolist(),
        "high": np.full(shape, high).tolist(),
    }

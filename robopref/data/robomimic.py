"""robomimic HDF5, the native dataset file, both ways.

A file holds `data/demo_<i>` groups with `obs/<key>`, `next_obs/<key>`, `actions`, `rewards`,
`dones`, `states`, and named subsets of them (filter keys) under `mask/`; robopref adds
`terminated`, `truncated`, `success`, `factors/<name>`, `interventions` and `final_state`, which
robomimic's own tools pass over. What robopref does not read is kept: other arrays as `extras`,
attributes such as `model_file` as `attributes`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robopref.data.dataset import TrajectoryDataset, chosen_filter_keys
from robopref.data.hdf5 import all_arrays, check_stored, open_hdf5, read_array, stored_array
from robopref.errors import InputError
from robopref.files import atomic_path
from robopref.structures import Array, Trajectory

KNOWN = {
    "obs", "next_obs", "actions", "rewards", "terminated", "truncated", "success", "factors",
    "interventions", "states", "final_state",
}  # fmt: skip
"""Parts of an episode that become fields of a `Trajectory`; other arrays are its extras."""


def load_dataset(
    path: Path | str,
    *,
    states: bool = False,
    episodes: Sequence[int] | None = None,
    filter_key: str | None = None,
    images: bool = True,
) -> TrajectoryDataset:
    """Reads a robomimic HDF5 file.

    Args:
        path: the file.
        states: whether to read what a simulator needs to restore the episodes (its states and
            attributes such as `model_file`), which is large.
        episodes: positions to read, all when None.
        filter_key: robomimic's name of a subset, such as `train`; `episodes` are then positions
            in it.
        images: whether to read images; else each keeps its place with zero pixels (see
            `robopref.data.lazy`).

    Raises:
        InputError: if the file is missing, damaged, has no such filter key, or its arrays do not
            fit together.
    """
    with open_hdf5(path) as file:
        names = demo_names(file)
        chosen = _chosen(file, episodes, filter_key)
        arguments = env_args(file)
        trajectories = [
            _read(_demo(file, names[index]), arguments, states=states, extras=False, images=images)
            for index in chosen
        ]
        kept = chosen_filter_keys(filter_keys(file), chosen)
        return TrajectoryDataset.from_trajectories(trajectories, arguments, str(path), kept)


def read_trajectories(path: Path | str, *, filter_key: str | None = None) -> Iterator[Trajectory]:
    """Yields the episodes one after the other, whole and in the file's own types.

    Args:
        path: the file.
        filter_key: robomimic's name of a subset, all episodes when None.

    Raises:
        InputError: as `load_dataset`.
    """
    with open_hdf5(path) as file:
        names = demo_names(file)
        arguments = env_args(file)
        for index in _chosen(file, None, filter_key):
            yield _read(_demo(file, names[index]), arguments, states=True, extras=True, images=True)


def append_trajectories(
    path: Path,
    trajectories: Iterable[Trajectory],
    env_arguments: Mapping[str, Any],
    filter_keys: Mapping[str, tuple[int, ...]] | None = None,
) -> int:
    """Adds episodes to a file, made when missing; the file is whole at every instant.

    Args:
        path: the file.
        trajectories: the episodes, taken one by one.
        env_arguments: robomimic's description of the environment.
        filter_keys: named subsets, as positions in the whole file; they replace those of the same
            name.

    Returns:
        Number of episodes now in the file.
    """
    with atomic_path(path) as temporary:
        if path.exists():
            shutil.copyfile(path, temporary)
        else:
            temporary.unlink()
        with h5py.File(temporary, "a") as file:
            data = file.require_group("data")
            data.attrs["env_args"] = json.dumps(dict(env_arguments), indent=4)
            first = len(data)
            for index, trajectory in enumerate(trajectories, start=first):
                _write(data.create_group(f"demo_{index}"), trajectory)
            data.attrs["total"] = sum(int(demo.attrs["num_samples"]) for demo in data.values())
            for name, members in (filter_keys or {}).items():
                mask = file.require_group("mask")
                mask.pop(name, None)
                mask[name] = np.array([f"demo_{position}" for position in members], dtype="S")
            return len(data)


def save_dataset(path: Path, dataset: TrajectoryDataset) -> None:
    """Writes a whole dataset to a new file, atomically."""
    if path.exists():
        raise InputError(f"{path}: already exists; choose another name or remove it")
    trajectories = (dataset[episode] for episode in range(len(dataset)))
    append_trajectories(path, trajectories, dataset.env_args, dataset.filter_keys)


def count_episodes(path: Path) -> int:
    """Number of episodes in a file, 0 when there is no file."""
    if not path.exists():
        return 0
    with open_hdf5(path) as file:
        return len(demo_names(file))


def read_env_args(path: Path | str) -> dict[str, Any]:
    """Reads robomimic's description of the environment."""
    with open_hdf5(path) as file:
        return env_args(file)


def read_filter_keys(path: Path | str) -> dict[str, tuple[int, ...]]:
    """Reads the named subsets of a file, as positions of their episodes."""
    with open_hdf5(path) as file:
        return filter_keys(file)


def find_problems(path: Path | str) -> list[str]:
    """Checks every episode of a file.

    Returns:
        One line per problem, each naming the episode; empty if the file is sound.

    Raises:
        InputError: if the file cannot be opened at all.
    """
    problems = []
    with open_hdf5(path) as file:
        arguments = env_args(file)
        trajectories = []
        for name in demo_names(file):
            try:
                trajectories.append(
                    _read(_demo(file, name), arguments, states=True, extras=False, images=True)
                )
            except InputError as error:
                problems.append(str(error))
        try:
            filter_keys(file)
            if trajectories:
                TrajectoryDataset.from_trajectories(trajectories, source=str(path))
        except InputError as error:
            problems.append(str(error))
    return problems


def demo_names(file: h5py.File) -> list[str]:
    """Names of the episodes, in the order of their numbers, as robomimic sorts them.

    Raises:
        InputError: if there is no `data` group or it is empty.
    """
    if "data" not in file or not isinstance(file["data"], h5py.Group) or not len(file["data"]):
        raise InputError(
            f"{file.filename}: has no episodes under data/; it is not a robomimic dataset"
        )
    return sorted(file["data"], key=lambda name: [int(n) for n in re.findall(r"\d+", name)] or [0])


def env_args(file: h5py.File) -> dict[str, Any]:
    """robomimic's `env_args` of an open file; empty when the file has none."""
    try:
        return dict(json.loads(file["data"].attrs.get("env_args", "{}")))
    except (json.JSONDecodeError, TypeError, ValueError) as error:
        raise InputError(
            f"{file.filename}: data.attrs['env_args'] is not JSON ({error}); write the file again"
        ) from error


def filter_keys(file: h5py.File) -> dict[str, tuple[int, ...]]:
    """Named subsets of an open file, as positions of their episodes in the order of the file.

    Raises:
        InputError: if one is no list of the file's episodes.
    """
    if "mask" not in file:
        return {}
    positions = {name: position for position, name in enumerate(demo_names(file))}
    found = {}
    for key in file["mask"]:
        members = file[f"mask/{key}"]
        if not isinstance(members, h5py.Dataset) or members.dtype.kind not in "SO":
            raise InputError(f"{file.filename}: mask/{key} is no list of names; write it again")
        check_stored(members.id, f"{file.filename}: mask/{key}")
        names = [bytes(name).decode() for name in members[()]]
        unknown = [name for name in names if name not in positions]
        if unknown:
            raise InputError(
                f"{file.filename}: mask/{key} names {unknown[0]!r}, which is not under data/; "
                "remove or rewrite that filter key"
            )
        found[key] = tuple(positions[name] for name in names)
    return found


def _chosen(
    file: h5py.File, episodes: Sequence[int] | None, filter_key: str | None
) -> Sequence[int]:
    """Positions of the episodes to read, in the order of their numbers."""
    available: Sequence[int] = range(len(demo_names(file)))
    if filter_key is not None:
        known = filter_keys(file)
        if filter_key not in known:
            raise InputError(
                f"{file.filename}: has no filter key {filter_key!r}; it has "
                f"{', '.join(known) or 'none'}"
            )
        available = sorted(known[filter_key])
    return available if episodes is None else [available[episode] for episode in episodes]


def _demo(file: h5py.File, name: str) -> h5py.Group:
    demo = file[f"data/{name}"]
    for part in ("actions", "obs"):
        if not isinstance(demo, h5py.Group) or part not in demo:
            raw = isinstance(demo, h5py.Group) and "states" in demo and "actions" in demo
            raise InputError(
                f"{file.filename}: data/{name}: has no {part!r}; "
                + (
                    "it holds simulator states only: get the file with observations (low_dim), or "
                    "run robomimic's dataset_states_to_obs"
                    if raw
                    else "it is not a robomimic episode"
                )
            )
    return demo


def _read(
    demo: h5py.Group, arguments: Mapping[str, Any], *, states: bool, extras: bool, images: bool
) -> Trajectory:
    """Reads one episode.

    Args:
        demo: its group.
        arguments: the file's `env_args`.
        states: whether to read simulator states and attributes.
        extras: whether to keep arrays that robopref does not read.
        images: whether to read images.
    """
    where = f"{demo.file.filename}: {demo.name.removeprefix('/')}"

    def array(name: str) -> Array:
        return read_array(demo, name, where)

    def signal(name: str, default: Array) -> Array:
        return array(name) if name in demo else default

    actions = array("actions")
    steps = len(actions)
    if steps == 0:
        raise InputError(f"{where}: actions must be (T, A) with T > 0; fix the recording")
    last = np.arange(steps) == steps - 1
    dones = signal("dones", np.zeros(steps, dtype=np.int64))
    rewards = signal("rewards", np.zeros(steps, dtype=np.float32))
    # robomimic marks successful steps as done in the middle of an episode too; only the end of
    # the recording can cut the value off.
    terminated = signal("terminated", dones.astype(bool) & last[: len(dones)]).astype(bool)
    truncated = signal("truncated", last[: len(terminated)] & ~terminated).astype(bool)
    others = all_arrays(demo, where, KNOWN) if extras else {}
    if "dones" in others and dones.dtype == np.int64 and len(terminated) == len(truncated):
        if np.array_equal(dones, terminated | truncated):
            del others["dones"]  # it says no more than the flags do, from which it is written
    observations = {}
    for name in demo["obs"]:
        if not images and stored_array(demo, f"obs/{name}", where).dtype == np.uint8:
            observations[name] = np.zeros((steps + 1, 0), dtype=np.uint8)
            continue
        values, following = array(f"obs/{name}"), None
        if "next_obs" in demo:
            following = _following(demo, name, values, where)
            if extras and not np.array_equal(following[:-1], values[1:]):
                others[f"next_obs/{name}"] = following
        observations[name] = np.concatenate(
            [values, (values if following is None else following)[-1:]]
        )
    full_states = None
    if states and "states" in demo:
        recorded = array("states")
        # What follows the last action may not have been recorded.
        final = signal("final_state", np.full_like(recorded[0], np.nan))
        full_states = np.concatenate([recorded, final[None]])
    kept = {"num_samples", "behaviour", "seed"}
    try:
        return Trajectory(
            observations=observations,
            actions=actions,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            success=signal("success", _successes(rewards, dones, arguments)).astype(bool),
            factors={name: array(f"factors/{name}") for name in demo.get("factors", {})},
            interventions=array("interventions").astype(bool) if "interventions" in demo else None,
            states=full_states,
            behaviour=str(demo.attrs.get("behaviour", "")),
            seed=int(demo.attrs["seed"]) if "seed" in demo.attrs else None,
            name=demo.name.split("/")[-1],
            attributes={k: v for k, v in demo.attrs.items() if k not in kept} if states else {},
            extras=others,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _successes(rewards: Array, dones: Array, arguments: Mapping[str, Any]) -> Array:
    """(T,) bool: the task's success where the file does not say it.

    Sparse rewards are 1 on success and 0 otherwise. robosuite's shaped rewards are positive all
    along, but robomimic's extraction marks the successful steps as done. Of other dense rewards
    nothing is known.
    """
    settings = arguments.get("env_kwargs")
    if isinstance(settings, Mapping) and settings.get("reward_shaping"):
        return dones.astype(bool)
    return np.greater(rewards, 0) & bool(np.isin(rewards, (0, 1)).all())


def _following(demo: h5py.Group, name: str, values: Array, where: str) -> Array:
    """`next_obs` of one key."""
    path = f"next_obs/{name}"
    if path not in demo:
        raise InputError(f"{where}: has obs but not {path!r}; write the file again")
    following = read_array(demo, path, where)
    if following.shape != values.shape:
        raise InputError(
            f"{where}/{path}: shape {following.shape} differs from obs {values.shape}; "
            "write the file again"
        )
    return following


def _write(demo: h5py.Group, trajectory: Trajectory) -> None:
    for name, value in trajectory.attributes.items():
        demo.attrs[name] = value
    demo.attrs["num_samples"] = len(trajectory)
    if trajectory.behaviour:
        demo.attrs["behaviour"] = trajectory.behaviour
    if trajectory.seed is not None:
        demo.attrs["seed"] = trajectory.seed
    arrays = {
        "actions": trajectory.actions,
        "rewards": trajectory.rewards,
        "dones": np.logical_or(trajectory.terminated, trajectory.truncated).astype(np.int64),
        "terminated": trajectory.terminated,
        "truncated": trajectory.truncated,
        "success": trajectory.success,
        **{f"factors/{name}": values for name, values in trajectory.factors.items()},
    }
    for name, values in trajectory.observations.items():
        arrays |= {f"obs/{name}": values[:-1], f"next_obs/{name}": values[1:]}
    if trajectory.interventions is not None:
        arrays["interventions"] = trajectory.interventions
    if trajectory.states is not None:
        arrays["states"] = trajectory.states[:-1]
        if np.isfinite(trajectory.states[-1]).all():  # else it was never recorded
            arrays["final_state"] = trajectory.states[-1]
    for path, values in {**arrays, **trajectory.extras}.items():
        compression = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        # Images stay as they are, so that they can be read lazily, straight from the file's pages.
        packed = values.dtype != np.uint8 and ("/" in path or path == "states")
        demo.create_dataset(path, data=values, **(compression if packed else {}))

"""robomimic HDF5, the native dataset file, both ways.

A file holds `data/demo_<i>` groups with `obs/<key>`, `next_obs/<key>`, `actions`, `rewards`,
`dones`, `states`; robopref adds `terminated`, `truncated`, `success`, `factors/<name>`,
`interventions` and `final_state`, which robomimic's own tools pass over.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.files import atomic_path, existing_file
from robopref.structures import Array, Trajectory

DAMAGE = (
    OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError, OverflowError,
    MemoryError,
)  # fmt: skip
"""What h5py raises on damaged files, found by flipping random bytes."""


def load_dataset(
    path: Path | str, *, states: bool = False, episodes: Sequence[int] | None = None
) -> TrajectoryDataset:
    """Reads a robomimic HDF5 file.

    Args:
        path: the file.
        states: whether to read the simulator states, which are large.
        episodes: positions to read, all when None.

    Raises:
        InputError: if the file is missing, damaged, or its arrays do not fit together.
    """
    with _open(path) as file:
        names = demo_names(file)
        chosen = range(len(names)) if episodes is None else episodes
        trajectories = [_read(file["data"][names[index]], states) for index in chosen]
        return TrajectoryDataset.from_trajectories(trajectories, env_args(file), str(path))


def append_trajectories(
    path: Path, trajectories: Sequence[Trajectory], env_arguments: Mapping[str, Any]
) -> int:
    """Adds episodes to a file, made when missing; the file is whole at every instant.

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
            return len(data)


def save_dataset(path: Path, dataset: TrajectoryDataset) -> None:
    """Writes a whole dataset to a new file, atomically."""
    if path.exists():
        raise InputError(f"{path}: already exists; choose another name or remove it")
    append_trajectories(path, [dataset[i] for i in range(len(dataset))], dataset.env_args)


def count_episodes(path: Path) -> int:
    """Number of episodes in a file, 0 when there is no file."""
    if not path.exists():
        return 0
    with _open(path) as file:
        return len(demo_names(file))


def read_env_args(path: Path | str) -> dict[str, Any]:
    """Reads robomimic's description of the environment."""
    with _open(path) as file:
        return env_args(file)


def find_problems(path: Path | str) -> list[str]:
    """Checks every episode of a file.

    Returns:
        One line per problem, each naming the episode; empty if the file is sound.

    Raises:
        InputError: if the file cannot be opened at all.
    """
    problems = []
    with _open(path) as file:
        env_args(file)
        trajectories = []
        for name in demo_names(file):
            try:
                trajectories.append(_read(file["data"][name], states=True))
            except InputError as error:
                problems.append(str(error))
        if trajectories:
            try:
                TrajectoryDataset.from_trajectories(trajectories, source=str(path))
            except InputError as error:
                problems.append(str(error))
    return problems


def demo_names(file: h5py.File) -> list[str]:
    """Names of the episodes, in the order of their numbers.

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


@contextmanager
def _open(path: Path | str) -> Iterator[h5py.File]:
    """Opens an HDF5 file to read; HDF5's own errors become one clear line."""
    path = existing_file(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: damaged or not an HDF5 file ({reason}); collect, download or convert it again"
        ) from error


def _read(demo: h5py.Group, states: bool) -> Trajectory:
    where = f"{demo.file.filename}: {demo.name.removeprefix('/')}"
    for name in ("actions", "obs"):
        if not isinstance(demo, h5py.Group) or name not in demo:
            raise InputError(f"{where}: has no {name!r}; it is not a robomimic episode")
    actions = _array(demo, "actions", where)
    steps = len(actions)
    if "next_obs" in demo:
        observations = {
            name: _with_last(_array(demo, f"obs/{name}", where), demo, f"next_obs/{name}", where)
            for name in demo["obs"]
        }
    else:  # the observation after the last action was not recorded, so that step is dropped
        observations = {name: _array(demo, f"obs/{name}", where) for name in demo["obs"]}
        steps -= 1
    last = np.arange(steps) == steps - 1

    def signal(name: str, default: Array) -> Array:
        return _array(demo, name, where)[:steps] if name in demo else default

    rewards = signal("rewards", np.zeros(steps, dtype=np.float32))
    # robomimic marks successful steps as done in the middle of an episode too; only the end of
    # the recording can cut the value off.
    terminated = signal("terminated", signal("dones", np.zeros(steps)).astype(bool) & last)
    full_states = None
    if states and "states" in demo:
        recorded = _array(demo, "states", where)
        final = (
            _array(demo, "final_state", where)[None]
            if "final_state" in demo
            else np.full_like(recorded[:1], np.nan)
        )
        full_states = np.concatenate([recorded, final])[: steps + 1]
    try:
        return Trajectory(
            observations=observations,
            actions=actions[:steps],
            rewards=rewards,
            terminated=terminated.astype(bool),
            truncated=signal("truncated", last & ~terminated.astype(bool)).astype(bool),
            success=signal("success", np.greater(rewards, 0)).astype(bool),
            factors={
                name: _array(demo, f"factors/{name}", where)[:steps]
                for name in demo.get("factors", {})
            },
            interventions=signal("interventions", np.zeros(steps)).astype(bool)
            if "interventions" in demo
            else None,
            states=full_states,
            behaviour=str(demo.attrs.get("behaviour", "")),
            seed=int(demo.attrs["seed"]) if "seed" in demo.attrs else None,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _array(demo: h5py.Group, name: str, where: str) -> Array:
    """Reads one array and refuses what holds no numbers or values that are not finite."""
    node = demo[name]
    if not isinstance(node, h5py.Dataset) or node.shape is None or node.dtype.kind not in "biuf":
        raise InputError(f"{where}/{name}: is no array of numbers; write the file again")
    values: Array = node[()]
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise InputError(
            f"{where}/{name}: holds NaN or infinity, first at step {row}; "
            "drop the episode or repair the recording"
        )
    return values


def _with_last(values: Array, demo: h5py.Group, name: str, where: str) -> Array:
    if name not in demo:
        raise InputError(f"{where}: has obs but not {name!r}; write the file again")
    following = _array(demo, name, where)
    if following.shape != values.shape:
        raise InputError(
            f"{where}/{name}: shape {following.shape} differs from obs {values.shape}; "
            "write the file again"
        )
    return np.concatenate([values, following[-1:]])


def _write(demo: h5py.Group, trajectory: Trajectory) -> None:
    demo.attrs["num_samples"] = len(trajectory)
    if trajectory.behaviour:
        demo.attrs["behaviour"] = trajectory.behaviour
    if trajectory.seed is not None:
        demo.attrs["seed"] = trajectory.seed
    for name, values in trajectory.observations.items():
        _compressed(demo, f"obs/{name}", values[:-1])
        _compressed(demo, f"next_obs/{name}", values[1:])
    for name, values in trajectory.factors.items():
        _compressed(demo, f"factors/{name}", values)
    demo["actions"] = trajectory.actions
    demo["rewards"] = trajectory.rewards
    demo["dones"] = np.logical_or(trajectory.terminated, trajectory.truncated).astype(np.int64)
    demo["terminated"] = trajectory.terminated
    demo["truncated"] = trajectory.truncated
    demo["success"] = trajectory.success
    if trajectory.interventions is not None:
        demo["interventions"] = trajectory.interventions
    if trajectory.states is not None:
        _compressed(demo, "states", trajectory.states[:-1])
        demo["final_state"] = trajectory.states[-1]


def _compressed(demo: h5py.Group, name: str, values: Array) -> None:
    demo.create_dataset(name, data=values, compression="gzip", compression_opts=1, shuffle=True)

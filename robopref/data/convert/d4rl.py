"""D4RL: one HDF5 file of flat arrays, all episodes one after the other.

`observations`, `actions`, `rewards`, `terminals` and `timeouts` have a row per step;
`next_observations` and `infos/<name>` are optional. An episode ends where `terminals` or
`timeouts` is set. robopref adds `infos/success`, `infos/states`, `infos/interventions`,
`infos/factors/<name>` and the attribute `env_args`, which other readers pass over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robopref.data.convert.episodes import FLAT, Recordings, Say, joined, make_episode, say_lost
from robopref.data.hdf5 import all_arrays, open_hdf5
from robopref.errors import InputError
from robopref.files import atomic_path
from robopref.structures import Array, Trajectory

NEEDED = ("observations", "actions", "terminals")
OWN = "infos/factors/"


def recognises(path: Path) -> bool:
    """Whether a path is such a file."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return all(name in file for name in NEEDED)


def read(path: Path, say: Say) -> Recordings:
    """Reads a file.

    Raises:
        InputError: if an array is missing, holds NaN or has another length than the actions.
    """
    with open_hdf5(path) as file:
        for name in NEEDED:
            if name not in file:
                raise InputError(f"{path}: has no {name!r}; it is no D4RL file")
        arrays = all_arrays(file, str(path), ("metadata",))
        env_args = _env_args(file)
    steps = len(arrays["actions"]) if arrays["actions"].ndim else 0
    for name, values in arrays.items():
        if values.ndim == 0 or len(values) != steps:
            raise InputError(
                f"{path}: {name[:100]} has shape {values.shape}, but there are {steps} actions; "
                "all arrays of a D4RL file have a row per step"
            )
    if steps == 0:
        raise InputError(f"{path}: holds no episode")
    return Recordings(_episodes(path, arrays, say), env_args)


def write(path: Path, recordings: Recordings, say: Say) -> None:
    """Writes a file; it appears whole."""
    say_lost(say, recordings, "filter_keys")
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["env_args"] = json.dumps(dict(recordings.env_args))
        for episode in recordings.episodes:
            say_lost(say, episode, "behaviour", "seed", "attributes", "extras")
            for name, values in _arrays(episode, say).items():
                if name not in file:
                    shape = (0, *values.shape[1:])
                    file.create_dataset(
                        name, shape, values.dtype, maxshape=(None, *shape[1:]), chunks=True,
                        compression="gzip", compression_opts=1,
                    )  # fmt: skip
                stored = file[name]
                stored.resize(len(stored) + len(values), axis=0)
                stored[-len(values) :] = values


def _env_args(file: h5py.File) -> dict[str, Any]:
    try:
        return dict(json.loads(file.attrs.get("env_args", "{}")))
    except (TypeError, ValueError) as error:
        raise InputError(f"{file.filename}: the attribute env_args is not JSON") from error


def _episodes(path: Path, arrays: dict[str, Array], say: Say) -> Iterator[Trajectory]:
    terminals = arrays["terminals"].reshape(len(arrays["actions"]), -1).any(axis=1)
    timeouts = np.zeros_like(terminals)
    if "timeouts" in arrays:
        timeouts = arrays["timeouts"].reshape(len(terminals), -1).any(axis=1)
    else:
        say("no timeouts were recorded: episodes that one cut off run on into the next")
    ends = np.flatnonzero(terminals | timeouts) + 1
    if len(ends) == 0 or ends[-1] != len(terminals):
        say("the last episode has no end in the file; it counts as truncated")
        ends = np.append(ends, len(terminals))
        timeouts[-1] = True
    ended = {**arrays, "terminals": terminals, "timeouts": timeouts}
    start = 0
    for number, end in enumerate(ends):
        piece = {name: values[start:end] for name, values in ended.items()}
        yield _episode(f"{path}: episode {number}", piece, say)
        start = end


def _episode(where: str, arrays: dict[str, Array], say: Say) -> Trajectory:
    observations, actions = arrays.pop("observations"), arrays.pop("actions")
    following = arrays.pop("next_observations", None)
    flags = {"terminated": arrays.pop("terminals"), "truncated": arrays.pop("timeouts")}
    for name, ours in (("rewards", "rewards"), ("infos/success", "success")):
        if name in arrays:
            flags[ours] = arrays.pop(name)
    states = arrays.pop("infos/states", None)
    interventions = arrays.pop("infos/interventions", None)
    factors = [name for name in arrays if name.startswith(OWN)]
    others: dict[str, Any] = {
        "factors": {name.removeprefix(OWN): arrays.pop(name) for name in factors},
        "interventions": None if interventions is None else interventions.astype(bool),
    }
    if states is not None:
        final = np.full_like(states[:1], np.nan, dtype=np.result_type(states, np.float32))
        others["states"] = np.concatenate([states, final])
    extras = dict(arrays)
    if following is not None:
        if following.shape != observations.shape:
            raise InputError(
                f"{where}: next_observations {following.shape} and observations "
                f"{observations.shape} differ in shape; fix the recording"
            )
        if not np.array_equal(following[:-1], observations[1:]):
            say("next_observations are not the next rows everywhere; they are kept beside them")
            extras[f"next_obs/{FLAT}"] = following
        observations = np.concatenate([observations, following[-1:]])
    return make_episode(where, say, {FLAT: observations}, actions, flags, extras=extras, **others)


def _arrays(episode: Trajectory, say: Say) -> dict[str, Array]:
    low = {name: v for name, v in episode.observations.items() if v.dtype != np.uint8}
    for name in sorted(set(episode.observations) - set(low)):
        say(f"lost: images of {name}")
    if not low:
        raise InputError("D4RL files hold no images, and there are no other observations")
    if set(low) != {FLAT}:
        say(f"lost: names of observations; {', '.join(sorted(low))} stand side by side")
    steps = len(episode)
    if np.logical_or(episode.terminated, episode.truncated)[:-1].any():
        say("lost: ends within an episode; D4RL would split it there")
    observations, last = joined(low), np.arange(steps) == steps - 1
    terminated = episode.terminated.astype(bool)
    arrays = {
        "observations": observations[:-1],
        "next_observations": observations[1:],
        "actions": episode.actions,
        "rewards": episode.rewards,
        "terminals": last & terminated,
        "timeouts": last & np.logical_or(episode.truncated, ~terminated),
        "infos/success": episode.success,
        **{f"{OWN}{name}": values for name, values in episode.factors.items()},
    }
    if episode.interventions is not None:
        arrays["infos/interventions"] = episode.interventions
    if episode.states is not None:
        if np.isfinite(episode.states[-1]).all():
            say("lost: the simulator state after each last action")
        arrays["infos/states"] = episode.states[:-1]
    return arrays

"""A folder of NumPy episodes: one npz file per episode, `env.json` beside them.

An episode holds `observations` (T + 1, D), or `obs/<key>` (T + 1, ...) for several; `actions`
(T, A); and, where there are any, `rewards`, `terminated`, `truncated`, `success`,
`interventions`, `factors/<name>` (T,), `states` (T + 1, S), the text `behaviour`, the number
`seed` and the texts `attributes/<name>`. T rows of observations are fine where the last one was
not recorded. `env.json` is robomimic's `env_args`.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from robopref.data.convert.episodes import (
    FLAT,
    Recordings,
    Say,
    check_finite,
    make_episode,
    say_lost,
)
from robopref.data.npz import read_npz
from robopref.errors import InputError
from robopref.files import atomic_folder, read_json, write_json
from robopref.structures import Array, Trajectory

FLAGS = ("rewards", "terminated", "truncated", "success")
ENVIRONMENT = "env.json"
KINDS = "biufU"
"""Numbers and text: what npz files hold without pickling."""


def recognises(path: Path) -> bool:
    """Whether a path is such a folder."""
    return path.is_dir() and any(path.glob("*.npz"))


def read(path: Path, say: Say) -> Recordings:
    """Reads a folder, episodes in the order of the numbers in their names.

    Raises:
        InputError: if there is no episode or one is damaged.
    """
    files = sorted(path.glob("*.npz"), key=lambda file: (_numbers(file.stem), file.stem))
    if not files:
        raise InputError(f"{path}: holds no npz file; write one per episode")
    env_args = read_json(path / ENVIRONMENT) if (path / ENVIRONMENT).exists() else {}
    if not isinstance(env_args, dict):
        raise InputError(f"{path / ENVIRONMENT}: must hold one JSON object")
    return Recordings((_read(file, say) for file in files), env_args)


def write(path: Path, recordings: Recordings, say: Say) -> None:
    """Writes a folder; it appears whole."""
    say_lost(say, recordings, "filter_keys")
    with atomic_folder(path) as folder:
        for number, episode in enumerate(recordings.episodes):
            arrays = _arrays(episode)
            for name in [name for name, values in arrays.items() if values.dtype.kind not in KINDS]:
                say(f"lost: {name}, which is neither numbers nor text")
                del arrays[name]
            np.savez(folder / f"episode_{number:06d}.npz", **arrays)
        write_json(folder / ENVIRONMENT, dict(recordings.env_args))


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _read(file: Path, say: Say) -> Trajectory:
    arrays = read_npz(file, kinds=KINDS)
    behaviour, seed = arrays.pop("behaviour", None), arrays.pop("seed", None)
    attributes = _below(arrays, "attributes/")
    for name, values in arrays.items():
        if values.dtype.kind == "U" or values.ndim == 0:
            raise InputError(f"{file}: {name[:100]} is no array of numbers, one for each step")
        # The state after the last action may not have been recorded.
        check_finite(values[:-1] if name == "states" else values, f"{file}: {name}")
    if any(values is not None and values.ndim for values in (behaviour, seed)):
        raise InputError(f"{file}: behaviour and seed are one value each, not arrays")
    observations = _below(arrays, "obs/")
    if "observations" in arrays:
        observations[FLAT] = arrays.pop("observations")
    if "actions" not in arrays or not observations:
        lacking = "actions" if observations else "observations, nor obs/<key>"
        raise InputError(f"{file}: has no array {lacking}; it holds {', '.join(arrays) or 'none'}")
    interventions = arrays.pop("interventions", None)
    return make_episode(
        str(file),
        say,
        observations,
        arrays.pop("actions"),
        {name: arrays.pop(name) for name in FLAGS if name in arrays},
        factors=_below(arrays, "factors/"),
        interventions=None if interventions is None else interventions.astype(bool),
        states=arrays.pop("states", None),
        behaviour="" if behaviour is None else str(behaviour),
        seed=None if seed is None else _whole(seed, file),
        name=file.stem,
        attributes={
            name: values if values.ndim else values.item() for name, values in attributes.items()
        },
        extras=arrays,
    )


def _whole(seed: Array, file: Path) -> int:
    if seed.dtype.kind not in "iu":
        raise InputError(f"{file}: seed must be a whole number")
    return int(seed)


def _below(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    """Takes out the arrays whose names have a prefix; names them without it."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}


def _arrays(episode: Trajectory) -> dict[str, Array]:
    alone = set(episode.observations) == {FLAT}
    optional = {
        "interventions": episode.interventions,
        "states": episode.states,
        "behaviour": episode.behaviour or None,
        "seed": episode.seed,
    }
    arrays = {
        **{
            "observations" if alone else f"obs/{name}": values
            for name, values in episode.observations.items()
        },
        "actions": episode.actions,
        **{name: getattr(episode, name) for name in FLAGS},
        **{f"factors/{name}": values for name, values in episode.factors.items()},
        **{name: value for name, value in optional.items() if value is not None},
        **{f"attributes/{name}": value for name, value in episode.attributes.items()},
        **episode.extras,
    }
    return {name: np.asarray(value) for name, value in arrays.items()}

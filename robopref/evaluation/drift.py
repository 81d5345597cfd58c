"""Replays recorded actions from the recorded state and measures how far they lead away.

A file fits what is installed if the drift is at the level of rounding. Another version of a
simulator, other sizes of objects or a state that is not whole show up here, before a policy fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robopref.data.robomimic import count_episodes, load_dataset
from robopref.environments import make_env, recorded_env
from robopref.errors import InputError
from robopref.structures import Array, Trajectory

VERSIONS = ("env_version", "mujoco_version", "gymnasium_version")


@dataclass(frozen=True)
class Drift:
    """How one replayed episode differs from its recording, velocities and images left out."""

    steps: int
    """Length of the episode."""
    furthest: float
    """Largest difference of any number of any observation."""
    key: str
    """The observation in which it is."""
    first: float
    """The same for the first observation alone, before any action."""
    success: bool
    """Whether the replay succeeded."""
    recorded_success: bool
    """Whether the recording did."""


@dataclass(frozen=True)
class Replay:
    """What came of replaying a file."""

    versions: list[str]
    """Versions in which the file and what is installed differ, one line each."""
    drifts: list[Drift]
    """One for each episode."""


def replay_file(path: Path | str, episodes: int) -> Replay:
    """Replays the first episodes of a file.

    Args:
        path: robomimic HDF5 file with simulator states.
        episodes: how many, all when there are fewer.

    Raises:
        InputError: if the file's environment cannot be made as recorded, or it has no states.
    """
    count = min(episodes, count_episodes(Path(path)))
    dataset = load_dataset(path, states=True, episodes=range(count))
    if dataset.states is None:
        raise InputError(f"{path}: has no simulator states, which a replay needs")
    env_id, arguments = recorded_env(dataset.env_args, dataset.observations)
    env: Any = make_env(env_id, **arguments).unwrapped
    try:
        if not hasattr(env, "set_state"):
            raise InputError(f"{path}: env={env_id} cannot restore states, which a replay needs")
        versions = _version_differences(dataset.env_args, env.env_args)
        return Replay(versions, [replay(env, dataset[episode]) for episode in range(count)])
    finally:
        env.close()


def replay(env: Any, trajectory: Trajectory) -> Drift:
    """Replays one episode.

    Args:
        env: an environment of robopref_envs, with `set_state`.
        trajectory: with states.
    """
    assert trajectory.states is not None
    if "model_file" in trajectory.attributes and hasattr(env, "load_model"):
        env.load_model(trajectory.attributes["model_file"])
    furthest, key = _furthest(env.set_state(trajectory.states[0]), trajectory, 0)
    first, success = furthest, False
    for step, action in enumerate(trajectory.actions, start=1):
        observation, _, _, _, info = env.step(action)
        success |= bool(info.get("success", False))
        away, where = _furthest(observation, trajectory, step)
        if away > furthest:
            furthest, key = away, where
    recorded_success = bool(trajectory.success.any())
    return Drift(len(trajectory), furthest, key, first, success, recorded_success)


def _version_differences(recorded: Mapping[str, Any], installed: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {recorded[name]} in the file, {installed[name]} installed"
        for name in VERSIONS
        if name in recorded and name in installed and recorded[name] != installed[name]
    ]


def _furthest(observation: Any, trajectory: Trajectory, step: int) -> tuple[float, str]:
    """Largest difference of any number, and the observation in which it is."""
    named = observation if isinstance(observation, Mapping) else {"flat": observation}
    differences = {
        key: _difference(named[key], values[step])
        for key, values in trajectory.observations.items()
        if values.dtype != np.uint8 and "vel" not in key and key in named
    }
    key = max(differences, key=lambda name: differences[name], default="")
    return differences.get(key, 0.0), key


def _difference(values: Array, recorded: Array) -> float:
    away = values.astype(np.float64) - recorded.astype(np.float64)
    return float(np.abs(away).max(initial=0.0))

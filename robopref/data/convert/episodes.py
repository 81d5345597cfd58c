"""What the converters share: episodes on their way from one format to another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robopref.errors import InputError
from robopref.structures import Array, Trajectory

Say = Callable[[str], None]
"""Takes one line about what gets lost or was assumed; equal lines are shown once."""
FLAT = "flat"
"""Name of the observation in formats that hold one array without a name."""
NAME = re.compile(r"\w[\w.\- ]*")
WORDS = {
    "states": "simulator states",
    "attributes": "attributes that restore a simulator",
    "extras": "arrays that robopref does not read",
    "behaviour": "names of the behaviours",
    "seed": "seeds",
    "factors": "factors",
    "interventions": "interventions",
    "filter_keys": "filter keys",
}
"""Fields that a format may lack, in words."""


@dataclass(frozen=True)
class Recordings:
    """What a reader gives and a writer takes. Episodes pass one by one."""

    episodes: Iterable[Trajectory]
    env_args: Mapping[str, Any] = field(default_factory=dict)
    """robomimic's description of the environment."""
    filter_keys: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Named subsets, as positions."""


def make_episode(
    where: str,
    say: Say,
    observations: Mapping[str, Array],
    actions: Array,
    flags: Mapping[str, Array],
    **others: Any,
) -> Trajectory:
    """Makes a trajectory of what a format has, and says what it lacks.

    Args:
        where: file and episode, for messages.
        say: takes lines about what was missing.
        observations: named arrays, each (T + 1, ...), or (T, ...) where the last was not recorded.
        actions: (T, A) or (T,).
        flags: those of `rewards`, `terminated`, `truncated` and `success` that there are.
        **others: further fields of the trajectory.

    Raises:
        InputError: if the arrays do not fit together.
    """
    if actions.ndim == 1:
        actions = actions[:, None]
    steps = len(actions)
    last = np.arange(steps) == steps - 1
    if any(len(values) == steps for values in observations.values()) and steps:
        say("the observation after each last action was not recorded; the one before stands twice")
    signals = {name: _column(name, values, steps, where) for name, values in flags.items()}
    if "rewards" not in signals:
        say("no rewards were recorded; they are zero")
    rewards = signals.get("rewards", np.zeros(steps, dtype=np.float32))
    if not {"terminated", "truncated"} & set(signals):
        say("it was not recorded why episodes end; they count as truncated, not as terminated")
    terminated = signals.get("terminated", np.zeros(steps)).astype(bool)
    if "success" not in signals:
        # robomimic's rule for sparse rewards; of others nothing is known.
        say("success was not recorded; a step succeeds if it is paid 1 and all others are paid 0")
    sparse = np.greater(rewards, 0) & bool(np.isin(rewards, (0, 1)).all())
    try:
        return Trajectory(
            observations={
                name: np.concatenate([values, values[-1:]]) if len(values) == steps else values
                for name, values in observations.items()
            },
            actions=actions,
            rewards=rewards,
            terminated=terminated,
            truncated=signals.get("truncated", last & ~terminated).astype(bool),
            success=signals.get("success", sparse).astype(bool),
            **others,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _column(name: str, values: Array, steps: int, where: str) -> Array:
    if values.shape not in {(steps,), (steps, 1)}:
        raise InputError(
            f"{where}: {name} must be ({steps},) like the actions, found {values.shape}; "
            "fix the recording"
        )
    return values.reshape(steps)


def check_finite(values: Array, where: str) -> None:
    """Refuses NaN and infinity.

    Raises:
        InputError: naming the first step.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        step = int(np.argwhere(~np.isfinite(np.atleast_1d(values)))[0][0])
        raise InputError(
            f"{where} holds NaN or infinity, first at step {step}; drop the episode or repair it"
        )


def say_lost(say: Say, thing: Trajectory | Recordings, *fields: str) -> None:
    """Says which of the fields hold something that the target has no place for."""
    for name in fields:
        value = getattr(thing, name)
        if value is not None and (not hasattr(value, "__len__") or len(value)):
            say(f"lost: {WORDS[name]}")


def joined(observations: Mapping[str, Array]) -> Array:
    """(T + 1, D): low-dimensional observations side by side, keys sorted."""
    parts = [
        observations[name].reshape(len(observations[name]), -1) for name in sorted(observations)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def check_alike(episode: Trajectory, first: Trajectory, number: int) -> None:
    """Checks that an episode has the arrays of the first one, and names that a file can hold.

    Raises:
        InputError: naming the episode by its number.
    """
    shapes = [
        {"actions": each.actions.shape[1:]}
        | {f"observation {name}": values.shape[1:] for name, values in each.observations.items()}
        | {f"factor {name}": () for name in each.factors}
        for each in (episode, first)
    ]
    for name in [*shapes[0], *shapes[1]]:
        shape, expected = (found.get(name, "missing") for found in shapes)
        if shape != expected:
            raise InputError(
                f"episode {number}: {name} is {shape}, but {expected} in the first episode; "
                "bring all episodes to one form"
            )
    paths = [*episode.observations, *episode.factors]
    parts = [*paths, *(part for path in episode.extras for part in path.split("/"))]
    wrong = [part for part in parts if not NAME.fullmatch(part)]
    if wrong:
        raise InputError(
            f"episode {number}: {wrong[0][:100]!r} is no name for an array; use letters, digits, "
            "_ and ."
        )

"""Environments by their Gymnasium id; robopref itself imports no simulator."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import gymnasium

from robopref.errors import InputError

ROBOSUITE_TYPE = 1
"""robomimic's `EnvType.ROBOSUITE_TYPE`."""


def make_env(env_id: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Makes an environment, importing `robopref_envs` for ids such as `metaworld/reach-v3`.

    Args:
        env_id: Gymnasium id; `package:id` imports another package first.
        **kwargs: arguments of the environment.

    Raises:
        InputError: if the id is unknown or its simulator is not installed.
    """
    full = env_id if ":" in env_id else f"robopref_envs:{env_id}"
    try:
        return gymnasium.make(full, **kwargs)
    except gymnasium.error.Error as error:
        close = _similar(env_id)
        raise InputError(
            f"env={env_id}: unknown environment" + (f"; did you mean {close}?" if close else "")
        ) from error
    except ModuleNotFoundError as error:
        raise InputError(
            f"env={env_id}: needs the package {error.name or env_id.split(':')[0]!r}; install it "
            "(pip install 'robopref[metaworld,robosuite,xmagical,gym_hil]' brings the simulators)"
        ) from error
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InputError(
            f"env={env_id}: does not take all of {', '.join(kwargs)}; choose an environment of "
            "robopref_envs, such as metaworld/reach-v3"
        ) from error


def environment_options(
    horizon: int = 0,
    cameras: Collection[str] = (),
    image_size: int = 84,
    distractors: Collection[str] = (),
) -> dict[str, Any]:
    """Arguments of an environment from a command's options; what is not given is its default.

    Args:
        horizon: steps of an episode, its own number when 0.
        cameras: those that add pictures to the observations.
        image_size: width and height of these, in pixels.
        distractors: what these show that has nothing to do with the task.
    """
    pictures: dict[str, Any] = {"cameras": list(cameras), "image_size": image_size}
    if distractors:
        pictures["distractors"] = list(distractors)
    return {**({"horizon": horizon} if horizon else {}), **(pictures if cameras else {})}


def without_pictures(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of an environment that shows its state alone: nothing is rendered."""
    pictures = ("cameras", "image_size", "distractors")
    return {name: value for name, value in arguments.items() if name not in pictures}


def recorded_env(
    env_args: Mapping[str, Any], observation_keys: Collection[str] = (), images: bool = True
) -> tuple[str, dict[str, Any]]:
    """Gymnasium id and arguments of the environment that a dataset file names.

    robomimic files name robosuite's tasks as robosuite does (`type` 1, `env_name` Lift); which
    observations they hold is seen from the arrays alone.

    Args:
        env_args: robomimic's description of the environment.
        observation_keys: names of the dataset's observations.
        images: whether what acts looks at images; without, none are rendered.
    """
    name, arguments = str(env_args.get("env_name", "unknown")), env_args.get("env_kwargs", {})
    if env_args.get("type") != ROBOSUITE_TYPE:
        return name, dict(arguments) if images else without_pictures(arguments)
    arguments = {**arguments, "recorded_version": str(env_args.get("env_version", ""))}
    # A robot behind a network shows all its numbers in one, in the order of the default keys.
    keys = sorted(key for key in observation_keys if not key.endswith("_image") and key != "flat")
    return f"robosuite/{name}", {**arguments, **({"observation_keys": keys} if keys else {})}


def _similar(env_id: str) -> str:
    """Ids that look like it, whether or not its namespace was given."""
    import difflib

    names = {known: known for known in gymnasium.registry}
    names |= {known.split("/")[-1]: known for known in gymnasium.registry if "/" in known}
    close = difflib.get_close_matches(env_id, names, n=3, cutoff=0.6)
    return ", ".join(dict.fromkeys(names[name] for name in close))

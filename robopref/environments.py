"""Environments by their Gymnasium id; robopref itself imports no simulator."""

from __future__ import annotations

from typing import Any

import gymnasium

from robopref.errors import InputError


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
            f"env={env_id}: needs the package {error.name!r}; "
            "pip install 'robopref[metaworld]' brings Meta-World"
        ) from error


def _similar(env_id: str) -> str:
    import difflib

    return ", ".join(difflib.get_close_matches(env_id, list(gymnasium.registry), n=2, cutoff=0.5))

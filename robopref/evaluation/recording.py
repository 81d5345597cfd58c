"""What a policy does as a dataset, so that people or a reward can compare its rollouts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robopref.data.collect import fill, record_episode
from robopref.errors import InputError
from robopref.evaluation.rollout import (
    flatten,
    make_fitting,
    policy_files,
    policy_of,
    seen_images,
)
from robopref.parallel import parallel
from robopref.policies.base import Policy
from robopref.processes import one_thread
from robopref.structures import Trajectory

BEHAVIOUR = "policy"
"""What the episodes say acted."""


def record_rollouts(
    policy: Policy,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    episodes: int,
    seed: int,
    path: Path,
    workers: int = 0,
    on_saved: Callable[[int], None] = lambda saved: None,
    cluster: str = "",
) -> None:
    """Fills a dataset file with a policy's episodes; a file that is there is gone on with.

    Actions are drawn at random as the policy gives them: where all are alike, labels could not
    tell which of them are better. Episode `i` depends on the policy, `seed` and `i` alone.

    Args:
        policy: on any device; it acts on the CPU.
        env_id: Gymnasium id.
        env_kwargs: arguments of the environment.
        episodes: number of episodes that the file is to hold.
        seed: seed of the starts and of the actions.
        path: the HDF5 file.
        workers: processes, all cores when 0.
        on_saved: told how many episodes are safely in the file.
        cluster: where to play: on this machine when empty; see `parallel`.

    Raises:
        InputError: if the environment is unknown, does not fit the policy or cannot be recorded,
            the file was collected with other settings, or the cluster does not answer.
    """
    env = make_fitting(policy, env_id, env_kwargs)
    base: Any = env.unwrapped
    if not hasattr(base, "env_args"):
        raise InputError(f"env={env_id}: does not say what a dataset must; choose one that does")
    env.close()
    files = policy_files(policy)
    digest = hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()[:16]
    env_args = {**base.env_args, "collected": {"seed": seed, "policy": digest}}
    player = partial(parallel, _player, (files, env_id, dict(env_kwargs), seed))
    fill(path, env_args, partial(player, workers=workers, cluster=cluster), episodes, on_saved)


def _player(
    files: Mapping[str, bytes], env_id: str, env_kwargs: Mapping[str, Any], seed: int
) -> Callable[[int], Trajectory]:
    """What plays the episode of an index, in a worker."""
    one_thread()
    policy = policy_of(files)
    env = make_fitting(policy, env_id, env_kwargs)

    def play(index: int) -> Trajectory:
        reset_seed, chance_seed = np.random.SeedSequence([seed, index]).generate_state(2)
        generator = torch.Generator().manual_seed(int(chance_seed))
        policy.reset()

        def act(observation: Any) -> NDArray[np.float32]:
            shown = seen_images(policy, observation)
            actions = policy.act(flatten(observation)[None], False, generator, **shown)
            return actions.squeeze(0)

        return record_episode(env, act, int(reset_seed), BEHAVIOUR)

    return play

"""Collecting episodes from an environment's scripted demonstrators, on all cores.

A worker process plays whole episodes: on two cores that is twice the rate of one process, where
Gymnasium's `AsyncVectorEnv` (one message per step) is slower than a single environment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from robopref.data.robomimic import append_trajectories, count_episodes, read_env_args
from robopref.environments import make_env
from robopref.errors import InputError
from robopref.files import check_writable
from robopref.parallel import parallel
from robopref.structures import Trajectory

FACTORS = ("obj_to_target", "near_object", "grasp_success", "in_place_reward")
"""Signals of `info` that are kept, where the environment has them."""
WRITE_SHARE = 0.1
"""Each save copies the file, so a file is saved when this share of the time suffices for it."""


def collect(
    env_id: str,
    env_kwargs: Mapping[str, Any],
    mix: Mapping[str, Any],
    episodes: int,
    seed: int,
    path: Path,
    workers: int = 0,
    on_saved: Callable[[int], None] = lambda saved: None,
    cluster: str = "",
) -> None:
    """Fills a dataset file up to `episodes` episodes; a file that is there is gone on with.

    Episode `i` depends on `seed` and `i` alone, so neither the number of workers nor an
    interruption changes the data.

    Args:
        env_id: Gymnasium id, such as `metaworld/drawer-open-v3`.
        env_kwargs: arguments of the environment.
        mix: shares of the behaviours and their noise, as the environment's
            `demonstrator(mix, rng)` takes it.
        episodes: number of episodes that the file is to hold.
        seed: seed of goals, behaviours and noise.
        path: the HDF5 file.
        workers: processes, all cores when 0.
        on_saved: told how many episodes are safely in the file.
        cluster: where to play: on this machine when empty; see `parallel`.

    Raises:
        InputError: if the environment is unknown or has no demonstrator, the mix is wrong, the
            file was collected with other settings, or the cluster does not answer.
    """
    env = make_env(env_id, **env_kwargs)
    base: Any = env.unwrapped
    if not hasattr(base, "demonstrator"):
        raise InputError(f"env={env_id}: has no scripted demonstrator; record data instead")
    env_args = {**base.env_args, "collected": {"seed": seed, "mix": dict(mix)}}
    base.demonstrator(mix, np.random.default_rng(seed))  # refuses a wrong mix before all else
    env.close()
    player = partial(parallel, _player, (env_id, dict(env_kwargs), dict(mix), seed))
    fill(path, env_args, partial(player, workers=workers, cluster=cluster), episodes, on_saved)


def fill(
    path: Path,
    env_args: Mapping[str, Any],
    play: Callable[[Sequence[int]], Iterable[Trajectory]],
    episodes: int,
    on_saved: Callable[[int], None] = lambda saved: None,
) -> None:
    """Fills a dataset file up to `episodes` episodes; a file that is there is gone on with.

    Args:
        path: the HDF5 file.
        env_args: robomimic's description of the environment, and what was collected in it.
        play: plays the episodes of these numbers, in order.
        episodes: number of episodes that the file is to hold.
        on_saved: told how many episodes are safely in the file.

    Raises:
        InputError: if the file was collected with other settings, or as `play`.
    """
    check_writable(path)
    done = count_episodes(path)
    if done and read_env_args(path) != env_args:
        raise InputError(
            f"{path}: was collected with other settings (environment, versions, mix or seed); "
            "choose another file or remove it"
        )
    on_saved(done)
    pending: list[Trajectory] = []
    last_save, save_seconds = time.monotonic(), 0.0
    for trajectory in play(range(done, episodes)):
        pending.append(trajectory)
        complete = done + len(pending) == episodes
        if complete or (time.monotonic() - last_save) * WRITE_SHARE > max(save_seconds, 0.1):
            start = time.monotonic()
            done = append_trajectories(path, pending, env_args)
            pending = []
            last_save = time.monotonic()
            save_seconds = last_save - start
            on_saved(done)


def _player(
    env_id: str, env_kwargs: Mapping[str, Any], mix: Mapping[str, Any], seed: int
) -> Callable[[int], Trajectory]:
    """What plays the episode of an index."""
    env = make_env(env_id, **env_kwargs)
    base: Any = env.unwrapped

    def play(index: int) -> Trajectory:
        sequence = np.random.SeedSequence([seed, index])
        reset_seed, demonstrator_seed = sequence.generate_state(2)
        demonstrator = base.demonstrator(mix, np.random.default_rng(demonstrator_seed))
        return record_episode(env, demonstrator.act, int(reset_seed), demonstrator.behaviour)

    return play


def record_episode(
    env: gymnasium.Env[Any, Any],
    act: Callable[[Any], Any],
    seed: int,
    behaviour: str = "",
) -> Trajectory:
    """Plays one episode and keeps everything, simulator states included.

    Args:
        env: an environment of robopref_envs, with `get_state`.
        act: observation to action.
        seed: reset seed.
        behaviour: what acts, for the record.
    """
    base: Any = env.unwrapped
    observation, _ = env.reset(seed=seed)
    observations, states = [observation], [base.get_state()]
    actions, rewards, terminations, truncations, infos = [], [], [], [], []
    ended = False
    while not ended:
        action = act(observation)
        observation, reward, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
        observations.append(observation)
        states.append(base.get_state())
        actions.append(action)
        rewards.append(reward)
        terminations.append(terminated)
        truncations.append(truncated)
        infos.append(info)
    named = [o if isinstance(o, dict) else {"flat": o} for o in observations]
    return Trajectory(
        observations={name: np.stack([o[name] for o in named]) for name in named[0]},
        actions=np.stack(actions).astype(np.float32),
        rewards=np.array(rewards, dtype=np.float32),
        terminated=np.array(terminations),
        truncated=np.array(truncations),
        success=np.array([bool(info["success"]) for info in infos]),
        factors={
            name: np.array([info[name] for info in infos], dtype=np.float32)
            for name in FACTORS
            if name in infos[0]
        },
        states=np.stack(states),
        behaviour=behaviour,
        seed=seed,
        attributes=getattr(base, "episode_attributes", {}),
    )

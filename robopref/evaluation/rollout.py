"""Playing a policy in its environment: success, return, and pictures.

Each worker process plays whole episodes in an environment of its own. It gets the policy as a
saved folder, so nothing but paths and plain data crosses the process border.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robopref.data.images import camera_images
from robopref.environments import make_env
from robopref.errors import InputError
from robopref.policies.base import Policy
from robopref.policies.registry import load_policy
from robopref.processes import one_thread, worker_pool


@dataclass(frozen=True)
class EvaluationResult:
    """One entry per episode, in order of its index."""

    returns: NDArray[np.float64]
    """(episodes,): undiscounted true returns."""
    success_any: NDArray[np.bool_]
    """(episodes,): success at any step, Meta-World's own rule."""
    success_last: NDArray[np.bool_]
    """(episodes,): success at the last step."""

    @property
    def summary(self) -> dict[str, float]:
        """Means over episodes."""
        return {
            "success": float(self.success_any.mean()),
            "success_last": float(self.success_last.mean()),
            "return": float(self.returns.mean()),
        }


def evaluate(
    policy: Policy,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    episodes: int,
    seed: int,
    workers: int = 1,
) -> EvaluationResult:
    """Plays `episodes` episodes with the policy's mean actions, each from a fresh start.

    Episode `i` depends on the policy, `seed` and `i` alone, so the number of workers changes
    nothing, and two policies with the same seed meet the same starts and goals.

    Args:
        policy: on any device; with more than one worker it acts on the CPU.
        env_id: Gymnasium id.
        env_kwargs: arguments of the environment.
        episodes: how many.
        seed: seed of the starts.
        workers: processes, all cores when 0; 1 plays in this process.

    Raises:
        InputError: if the environment is unknown or does not fit the policy.
    """
    if episodes < 1:
        raise InputError(f"evaluation.episodes: must be at least 1, is {episodes}")
    workers = min(workers or os.cpu_count() or 1, episodes)
    if workers == 1:
        results = _play_here(policy, env_id, env_kwargs, episodes, seed)
    else:
        results = _play_parallel(policy, env_id, env_kwargs, episodes, seed, workers)
    returns, success_any, success_last = zip(*results, strict=True)
    return EvaluationResult(np.array(returns), np.array(success_any), np.array(success_last))


def record_video(
    policy: Policy,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    seed: int,
    episode: int = 0,
    every: int = 2,
) -> NDArray[np.uint8]:
    """Plays one of the episodes of `evaluate` and takes pictures.

    Args:
        policy: whose mean actions are played.
        env_id: Gymnasium id.
        env_kwargs: arguments of the environment, such as camera and image size.
        seed: the seed given to `evaluate`.
        episode: index of the episode there.
        every: steps between two pictures.

    Returns:
        (frames, height, width, 3)
    """
    env = _make_fitting(policy, env_id, {**env_kwargs, "render_mode": "rgb_array"})
    frames: list[Any] = []
    try:
        for step, _ in enumerate(_steps(policy, env, _reset_seed(seed, episode))):
            if step % every == 0:
                frames.append(env.render())
    finally:
        env.close()
    return np.stack(frames)


Outcome = tuple[float, bool, bool]
"""Return, success at any step, success at the last step."""


def _play_here(
    policy: Policy, env_id: str, env_kwargs: Mapping[str, Any], episodes: int, seed: int
) -> list[Outcome]:
    env = _make_fitting(policy, env_id, env_kwargs)
    try:
        return [_play(policy, env, seed, index) for index in range(episodes)]
    finally:
        env.close()


def _play(policy: Policy, env: gymnasium.Env[Any, Any], seed: int, index: int) -> Outcome:
    rewards, successes = zip(*_steps(policy, env, _reset_seed(seed, index)), strict=True)
    return float(sum(rewards)), any(successes), successes[-1]


def _steps(
    policy: Policy, env: gymnasium.Env[Any, Any], reset_seed: int
) -> Iterator[tuple[float, bool]]:
    """Plays one episode; yields reward and success after every step."""
    policy.reset()
    observation, _ = env.reset(seed=reset_seed)
    ended = False
    while not ended:
        action = policy.act(flatten(observation)[None], **seen_images(policy, observation))[0]
        observation, reward, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
        yield float(reward), bool(info.get("success", False))


def seen_images(policy: Policy, observation: Any) -> dict[str, Any]:
    """Argument `images` of `Policy.act`, for a policy that looks at any.

    Raises:
        InputError: if the observation has none.
    """
    return {"images": camera_images(observation)[None]} if policy.image_shape else {}


def flatten(observation: Any) -> NDArray[np.float32]:
    """(D,): as `TrajectoryDataset.flat_observations`: keys sorted, images left out."""
    if not isinstance(observation, Mapping):
        return np.asarray(observation, dtype=np.float32).ravel()
    values = [np.asarray(observation[name]) for name in sorted(observation)]
    parts = [value.ravel() for value in values if value.dtype != np.uint8]
    flat: NDArray[np.float32] = np.concatenate(parts).astype(np.float32)
    return flat


def _make_fitting(
    policy: Policy, env_id: str, env_kwargs: Mapping[str, Any]
) -> gymnasium.Env[Any, Any]:
    env = make_env(env_id, **env_kwargs)
    shape = env.action_space.shape
    if shape != (policy.action_dim,):
        env.close()
        raise InputError(
            f"env={env_id}: takes actions {shape}, but the policy gives ({policy.action_dim},); "
            "evaluate in the environment that the data came from"
        )
    return env


def _reset_seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def _play_parallel(
    policy: Policy,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    episodes: int,
    seed: int,
    workers: int,
) -> list[Outcome]:
    # A pool replaces a worker that cannot start, again and again: find out here.
    _make_fitting(policy, env_id, env_kwargs).close()
    with tempfile.TemporaryDirectory() as folder:
        policy.save(Path(folder))
        arguments = (folder, env_id, dict(env_kwargs), seed)
        with worker_pool(workers, _start_worker, arguments) as pool:
            return list(pool.imap(_play_episode, range(episodes)))


_worker: dict[str, Any] = {}


def _start_worker(folder: str, env_id: str, env_kwargs: dict[str, Any], seed: int) -> None:
    one_thread()
    policy = load_policy(folder)
    env = _make_fitting(policy, env_id, env_kwargs)
    _worker.update(policy=policy, env=env, seed=seed)


def _play_episode(index: int) -> Outcome:
    return _play(**_worker, index=index)

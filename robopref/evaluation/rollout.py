"""Playing a policy in its environment: success, return, and pictures.

Each worker plays whole episodes in an environment of its own. It gets the policy as the files of
its folder, so nothing but plain data crosses the border of a process or of a machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Dict
from gymnasium.spaces.utils import flatdim
from numpy.typing import NDArray

from robopref.data.images import camera_images
from robopref.environments import make_env
from robopref.errors import InputError
from robopref.parallel import parallel
from robopref.policies.base import Policy
from robopref.policies.registry import load_policy
from robopref.processes import one_thread
from robopref.rewards.base import RewardModel
from robopref.rewards.personal import personal
from robopref.rewards.registry import load_reward
from robopref.structures import SegmentBatch

NOTHING_LEARNED = ("", "")


@dataclass(frozen=True)
class EvaluationResult:
    """One entry per episode, in order of its index."""

    returns: NDArray[np.float64]
    """(episodes,): undiscounted true returns."""
    success_any: NDArray[np.bool_]
    """(episodes,): success at any step, Meta-World's own rule."""
    success_last: NDArray[np.bool_]
    """(episodes,): success at the last step."""
    steps_to_success: NDArray[np.int64]
    """(episodes,): number of the first step with success, counted from 1; 0 where there is none."""
    learned_returns: NDArray[np.float64] | None = None
    """(episodes,): undiscounted sums of a learned reward."""

    @property
    def summary(self) -> dict[str, float]:
        """Means over episodes."""
        found = {
            "success": float(self.success_any.mean()),
            "success_last": float(self.success_last.mean()),
            "return": float(self.returns.mean()),
        }
        if self.learned_returns is not None:
            found["learned_return"] = float(self.learned_returns.mean())
        return found


def evaluate(
    policy: Policy,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    episodes: int,
    seed: int,
    workers: int = 1,
    learned: Sequence[str] = NOTHING_LEARNED,
    cluster: str = "",
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
        learned: folder of a reward of states, to be summed up beside the true one, none when
            empty; and the annotator whose reward it is.
        cluster: where to play: on this machine when empty; see `parallel`.

    Raises:
        InputError: if the environment is unknown or does not fit the policy, or the cluster does
            not answer.
    """
    if episodes < 1:
        raise InputError(f"evaluation.episodes: must be at least 1, is {episodes}")
    results: Iterable[Outcome]
    if workers == 1 and not cluster:
        results = _play_here(policy, env_id, env_kwargs, episodes, seed, learned)
    else:
        player = (policy_files(policy), env_id, dict(env_kwargs), seed, tuple(learned))
        results = parallel(_player, player, range(episodes), workers, cluster)
    returns, success_last, steps, sums = map(np.array, zip(*results, strict=True))
    return EvaluationResult(returns, steps > 0, success_last, steps, sums if learned[0] else None)


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
    env = make_fitting(policy, env_id, {**env_kwargs, "render_mode": "rgb_array"})
    frames: list[Any] = []
    try:
        for step, _ in enumerate(_steps(policy, env, _reset_seed(seed, episode))):
            if step % every == 0:
                frames.append(env.render())
    finally:
        env.close()
    return np.stack(frames)


Outcome = tuple[float, bool, int, float]
"""Return, success at the last step, steps to the first success, and return of a learned reward."""


def _play_here(
    policy: Policy,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    episodes: int,
    seed: int,
    learned: Sequence[str],
) -> list[Outcome]:
    env, reward = make_fitting(policy, env_id, env_kwargs), _load(learned)
    try:
        return [_play(policy, env, reward, seed, index) for index in range(episodes)]
    finally:
        env.close()


def _load(learned: Sequence[str]) -> RewardModel | None:
    folder, whose = learned
    return personal(load_reward(folder), whose, folder) if folder else None


def _play(
    policy: Policy,
    env: gymnasium.Env[Any, Any],
    reward: RewardModel | None,
    seed: int,
    index: int,
) -> Outcome:
    steps = _steps(policy, env, _reset_seed(seed, index))
    rewards, successes, *seen = zip(*steps, strict=True)
    learned = 0.0 if reward is None else _learned_return(reward, *map(np.array, seen))
    first = successes.index(True) + 1 if any(successes) else 0
    return float(sum(rewards)), successes[-1], first, learned


@torch.no_grad()
def _learned_return(
    reward: RewardModel, observations: NDArray[np.float32], actions: NDArray[np.float32]
) -> float:
    """Sum over an episode, from (T, D) and (T, A)."""
    parts = [torch.from_numpy(each)[None].to(reward.device) for each in (observations, actions)]
    mask = torch.ones(parts[0].shape[:2], device=reward.device)
    return float(reward.predict(SegmentBatch(parts[0], parts[1], mask)).mean.sum())


def _steps(
    policy: Policy, env: gymnasium.Env[Any, Any], reset_seed: int
) -> Iterator[tuple[float, bool, NDArray[np.float32], NDArray[np.float32]]]:
    """Plays one episode; yields reward and success after every step, and the flat observation and
    the action before it.
    """
    policy.reset()
    observation, _ = env.reset(seed=reset_seed)
    ended = False
    while not ended:
        seen = flatten(observation)
        action = policy.act(seen[None], **seen_images(policy, observation))[0]
        observation, reward, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
        yield float(reward), bool(info.get("success", False)), seen, action


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


def unflatten(flat: NDArray[np.float32], space: Any) -> dict[str, NDArray[np.float32]]:
    """The reverse of `flatten` for rows of flat observations.

    Args:
        flat: (N, D)
        space: of the observations; images are passed over.

    Returns:
        Arrays (N, ...) by the keys of a `Dict` space, or one of the name flat.
    """
    if not isinstance(space, Dict):
        return {"flat": flat}
    found, first = {}, 0
    for name, box in sorted(space.items()):
        shape, size = box.shape or (), flatdim(box)
        if box.dtype != np.uint8:
            found[name] = flat[:, first : first + size].reshape(-1, *shape)
            first += size
    return found


def make_fitting(
    policy: Policy, env_id: str, env_kwargs: Mapping[str, Any]
) -> gymnasium.Env[Any, Any]:
    """The environment, whose actions must be of the policy's size.

    Raises:
        InputError: if they are not, or the environment is unknown.
    """
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


def policy_files(policy: Policy) -> dict[str, bytes]:
    """What the policy saves, by the names of the files."""
    with tempfile.TemporaryDirectory() as folder:
        policy.save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def policy_of(files: Mapping[str, bytes]) -> Policy:
    """The policy that saved these files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return load_policy(folder)


def _player(
    files: Mapping[str, bytes],
    env_id: str,
    env_kwargs: Mapping[str, Any],
    seed: int,
    learned: Sequence[str],
) -> Callable[[int], Outcome]:
    """What plays the episode of an index, in a worker."""
    one_thread()
    policy = policy_of(files)
    env, reward = make_fitting(policy, env_id, env_kwargs), _load(learned)
    return lambda index: _play(policy, env, reward, seed, index)

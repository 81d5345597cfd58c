"""Trajectories in memory: one flat contiguous array per key, plus episode offsets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref.structures import Array, Trajectory

Scalar = TypeVar("Scalar", bound=np.generic)
HASHED_ROWS = 256
"""Rows of observations that are hashed at a time."""


@dataclass(frozen=True)
class TrajectoryDataset:
    """`E` episodes with `N` steps in all. Build it with `from_trajectories` or a reader.

    Per-step arrays have `N` rows. Arrays that also hold what comes after the last step
    (observations, states) have `N + E` rows: step `n` of episode `e` is row `n + e`.
    """

    observations: Mapping[str, Array]
    """Named arrays, each (N + E, ...)."""
    actions: Array
    """(N, A) float32."""
    rewards: NDArray[np.float32]
    """(N,): true rewards."""
    terminated: NDArray[np.bool_]
    """(N,)"""
    truncated: NDArray[np.bool_]
    """(N,)"""
    success: NDArray[np.bool_]
    """(N,)"""
    lengths: NDArray[np.int64]
    """(E,): steps of each episode."""
    factors: Mapping[str, Array] = field(default_factory=dict)
    """Named signals, each (N,)."""
    interventions: NDArray[np.bool_] | None = None
    """(N,)"""
    states: Array | None = None
    """(N + E, S)"""
    behaviours: tuple[str, ...] = ()
    """What acted in each episode; empty when unknown."""
    seeds: tuple[int | None, ...] = ()
    """Reset seed of each episode; empty when unknown."""
    names: tuple[str, ...] = ()
    """Name of each episode in its file; empty when it has none."""
    attributes: tuple[Mapping[str, Any], ...] = ()
    """What a simulator needs to restore each episode; empty when not read."""
    filter_keys: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """robomimic's named subsets, such as `train`: positions of their episodes."""
    env_args: Mapping[str, Any] = field(default_factory=dict)
    """robomimic's `env_args`: environment name, type, version and keyword arguments."""
    source: str = "memory"
    """Where the data came from, for messages."""

    def __post_init__(self) -> None:
        steps, episodes = int(self.lengths.sum()), len(self.lengths)
        if episodes == 0:
            raise InputError(f"{self.source}: holds no episode; collect or convert data first")
        rows = {name: len(value) for name, value in self.observations.items()}
        if any(count != steps + episodes for count in rows.values()) or len(self.actions) != steps:
            raise InputError(
                f"{self.source}: {episodes} episodes with {steps} steps do not fit "
                f"{len(self.actions)} actions and observation rows {rows}; fix the recording"
            )

    @staticmethod
    def from_trajectories(
        trajectories: Sequence[Trajectory],
        env_args: Mapping[str, Any] | None = None,
        source: str = "memory",
        filter_keys: Mapping[str, tuple[int, ...]] | None = None,
    ) -> TrajectoryDataset:
        """Packs trajectories into flat arrays. Their `extras` stay behind: nothing reads them.

        Args:
            trajectories: at least one; all with the same keys and trailing shapes.
            env_args: robomimic's description of the environment.
            source: name used in messages.
            filter_keys: named subsets, as positions.

        Raises:
            InputError: if there is none or their keys or shapes differ.
        """
        if not trajectories:
            raise InputError(f"{source}: holds no episode; collect or convert data first")
        signatures = {_signature(trajectory) for trajectory in trajectories}
        if len(signatures) > 1:
            raise InputError(
                f"{source}: episodes differ in keys or shapes "
                f"({sorted(map(str, signatures))[:2]}); convert them to one form first"
            )

        first = trajectories[0]
        behaviours = tuple(trajectory.behaviour for trajectory in trajectories)
        seeds = tuple(trajectory.seed for trajectory in trajectories)
        names = tuple(trajectory.name for trajectory in trajectories)
        attributes = tuple(trajectory.attributes for trajectory in trajectories)
        return TrajectoryDataset(
            observations={
                name: _pack(
                    [trajectory.observations[name] for trajectory in trajectories],
                    np.uint8 if values.dtype == np.uint8 else np.float32,
                )
                for name, values in first.observations.items()
            },
            actions=_pack([t.actions for t in trajectories], np.float32),
            rewards=_pack([t.rewards for t in trajectories], np.float32),
            terminated=_pack([t.terminated for t in trajectories], np.bool_),
            truncated=_pack([t.truncated for t in trajectories], np.bool_),
            success=_pack([t.success for t in trajectories], np.bool_),
            lengths=np.array([len(trajectory) for trajectory in trajectories], dtype=np.int64),
            factors={
                name: _pack([t.factors[name] for t in trajectories], np.float32)
                for name in first.factors
            },
            interventions=None
            if first.interventions is None
            else _pack(
                [t.interventions for t in trajectories if t.interventions is not None], np.bool_
            ),
            states=None
            if first.states is None
            else _pack([t.states for t in trajectories if t.states is not None], np.float64),
            behaviours=behaviours if any(behaviours) else (),
            seeds=seeds if any(seed is not None for seed in seeds) else (),
            names=names if any(names) else (),
            attributes=attributes if any(attributes) else (),
            filter_keys=dict(filter_keys or {}),
            env_args=dict(env_args or {}),
            source=source,
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, episode: int) -> Trajectory:
        """Returns one episode; its arrays are views."""
        steps, rows = self.step_slice(episode), self.row_slice(episode)
        return Trajectory(
            observations={name: values[rows] for name, values in self.observations.items()},
            actions=self.actions[steps],
            rewards=self.rewards[steps],
            terminated=self.terminated[steps],
            truncated=self.truncated[steps],
            success=self.success[steps],
            factors={name: values[steps] for name, values in self.factors.items()},
            interventions=None if self.interventions is None else self.interventions[steps],
            states=None if self.states is None else self.states[rows],
            behaviour=self.behaviours[episode] if self.behaviours else "",
            seed=self.seeds[episode] if self.seeds else None,
            name=self.names[episode] if self.names else "",
            attributes=self.attributes[episode] if self.attributes else {},
        )

    def subset(self, episodes: Sequence[int] | NDArray[np.int64]) -> TrajectoryDataset:
        """Copies the given episodes into a dataset of their own."""
        return TrajectoryDataset.from_trajectories(
            [self[int(episode)] for episode in episodes],
            self.env_args,
            self.source,
            chosen_filter_keys(self.filter_keys, [int(episode) for episode in episodes]),
        )

    @property
    def num_steps(self) -> int:
        """`N`."""
        return len(self.actions)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """(E + 1,): first step of each episode in the flat arrays, then `N`."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    def step_slice(self, episode: int) -> slice:
        """Rows of an episode in the per-step arrays."""
        return slice(int(self.offsets[episode]), int(self.offsets[episode + 1]))

    def row_slice(self, episode: int) -> slice:
        """Rows of an episode in observations and states, the last observation included."""
        return slice(
            int(self.offsets[episode]) + episode, int(self.offsets[episode + 1]) + episode + 1
        )

    @cached_property
    def observation_rows(self) -> NDArray[np.int64]:
        """(N,): row of each step's observation; the next observation is the row after it."""
        return np.arange(self.num_steps) + np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def flat_observations(self) -> NDArray[np.float32]:
        """(N + E, D) float32: the low-dimensional observations side by side, keys sorted."""
        parts = [
            self.observations[name].reshape(len(self.observations[name]), -1)
            for name in sorted(self.observations)
            if self.observations[name].dtype != np.uint8
        ]
        if not parts:
            raise InputError(
                f"{self.source}: has images only ({sorted(self.observations)}), and this needs "
                "low-dimensional observations"
            )
        return np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.float32)

    @cached_property
    def returns(self) -> NDArray[np.float64]:
        """(E,): undiscounted true return of each episode."""
        return np.add.reduceat(self.rewards.astype(np.float64), self.offsets[:-1])

    @cached_property
    def episode_success(self) -> NDArray[np.bool_]:
        """(E,): success at any step, Meta-World's own rule."""
        return np.logical_or.reduceat(self.success, self.offsets[:-1])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what was seen and done, so that labels know their dataset.

        True rewards and simulator states are left out: relabelling or dropping them keeps the
        segments, and so the labels, valid.
        """
        digest = hashlib.sha256()
        digest.update(self.lengths.astype("<i8").tobytes())
        digest.update(self.actions.astype("<f4").tobytes())
        for name in sorted(self.observations):
            digest.update(name.encode())
            values = self.observations[name]
            # In pieces, since images may be larger than memory.
            for start in range(0, len(values), HASHED_ROWS):
                piece = values[start : start + HASHED_ROWS]
                digest.update((piece if piece.dtype == np.uint8 else piece.astype("<f4")).tobytes())
        return digest.hexdigest()[:16]


def chosen_filter_keys(
    filter_keys: Mapping[str, tuple[int, ...]], episodes: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """Named subsets of a dataset, told in the positions of a selection from it.

    Args:
        filter_keys: positions in the whole dataset by name.
        episodes: positions that are chosen, in their new order.
    """
    new = {episode: position for position, episode in enumerate(episodes)}
    return {
        name: tuple(new[episode] for episode in members if episode in new)
        for name, members in filter_keys.items()
    }


def _pack(parts: Sequence[Array], dtype: type[Scalar]) -> NDArray[Scalar]:
    return np.ascontiguousarray(np.concatenate(parts), dtype=dtype)


def _signature(trajectory: Trajectory) -> tuple[object, ...]:
    return (
        tuple(sorted((name, values.shape[1:]) for name, values in trajectory.observations.items())),
        trajectory.actions.shape[1:],
        tuple(sorted(trajectory.factors)),
        trajectory.interventions is not None,
        None if trajectory.states is None else trajectory.states.shape[1:],
    )

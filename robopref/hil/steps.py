"""Steps of a session: what is stored, sent, and learned from, in one form.

Each step has its next observation with it, so that nothing has to be put together from
neighbours, and `terminated` and `truncated` stay apart. The action is the one that was executed.
Images come once: a step has those after it, and an episode's first step those before it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.evaluation.rollout import unflatten
from robopref.structures import Trajectory

MOST_STEPS = 4_096
"""In one message."""


class Sizes(NamedTuple):
    """Of what a step holds."""

    observation_dim: int
    action_dim: int
    image_shape: tuple[int, ...] = (0,)
    """(C, H, W) of all cameras side by side; (0,) without any."""


@dataclass(frozen=True)
class Steps:
    """`B` steps of one actor, in order."""

    sequence: NDArray[np.int64]
    """(B,): number of the step among all of its actor's, from 1 on, without gaps."""
    starts: NDArray[np.bool_]
    """(B,): the first step of an episode."""
    observations: NDArray[np.float32]
    """(B, D)"""
    actions: NDArray[np.float32]
    """(B, A): executed, whoever chose it."""
    proposed: NDArray[np.float32]
    """(B, A): what the policy would have done."""
    rewards: NDArray[np.float32]
    """(B,)"""
    next_observations: NDArray[np.float32]
    """(B, D)"""
    terminated: NDArray[np.bool_]
    """(B,): the task ended."""
    truncated: NDArray[np.bool_]
    """(B,): the episode was broken off, but the task went on."""
    success: NDArray[np.bool_]
    """(B,)"""
    intervened: NDArray[np.bool_]
    """(B,): a person chose the action."""
    version: NDArray[np.int64]
    """(B,): of the policy's weights."""
    first_images: NDArray[np.uint8]
    """(S, C, H, W): before the first steps of the `S` episodes that start here; (S, 0) without
    cameras."""
    next_images: NDArray[np.uint8]
    """(B, C, H, W): after each step; (B, 0) without cameras."""

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, rows: slice) -> Steps:
        of_steps = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(Steps)
            if field.name != "first_images"
        }
        kept = np.zeros(len(self), bool)
        kept[rows] = True
        return Steps(**of_steps, first_images=self.first_images[kept[self.starts]])

    @staticmethod
    def join(parts: Sequence[Steps]) -> Steps:
        """One after the other."""
        return Steps(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(Steps)
            )
        )

    def to_bytes(self) -> bytes:
        """As safetensors."""
        arrays = {
            field.name: np.ascontiguousarray(getattr(self, field.name)) for field in fields(Steps)
        }
        encoded: bytes = safetensors.numpy.save(arrays)
        return encoded

    @staticmethod
    def from_bytes(encoded: bytes, sizes: Sizes, where: str) -> Steps:
        """Reads and checks what `to_bytes` wrote.

        Raises:
            InputError: if it is damaged, of other sizes or types, or holds numbers that are not
                finite.
        """
        try:
            arrays = safetensors.numpy.load(encoded)
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise InputError(f"{where}: not steps ({error})") from error
        missing = [field.name for field in fields(Steps) if field.name not in arrays]
        if missing or len(arrays) != len(fields(Steps)):
            raise InputError(f"{where}: steps have other entries; lacks {missing}")
        count = len(arrays["sequence"]) if arrays["sequence"].ndim else 0
        numbers = {
            "observations": sizes.observation_dim,
            "next_observations": sizes.observation_dim,
        }
        numbers |= {"actions": sizes.action_dim, "proposed": sizes.action_dim}
        types: dict[str, type] = dict.fromkeys((*numbers, "rewards"), np.float32)
        types |= {"sequence": np.int64, "version": np.int64}
        starts = arrays["starts"].sum() if arrays["starts"].dtype == np.bool_ else 0
        pictures = {"first_images": int(starts), "next_images": count}
        for name, values in arrays.items():
            shape: tuple[int, ...] = (count, numbers[name]) if name in numbers else (count,)
            kind = types.get(name, np.bool_)
            if name in pictures:
                shape, kind = (pictures[name], *sizes.image_shape), np.uint8
            if values.shape != shape or values.dtype != kind:
                raise InputError(
                    f"{where}: {name} is {values.shape} {values.dtype}, expected {shape} "
                    f"{np.dtype(kind)}; actor and learner must have the same environment"
                )
            if kind is np.float32 and not np.isfinite(values).all():
                raise InputError(f"{where}: {name} holds numbers that are not finite")
        if not 1 <= count <= MOST_STEPS:
            raise InputError(f"{where}: holds {count} steps; must be between 1 and {MOST_STEPS}")
        if arrays["sequence"][0] < 1 or (np.diff(arrays["sequence"]) != 1).any():
            raise InputError(f"{where}: sequence numbers have gaps")
        return Steps(**arrays)


def one_step(
    sequence: int,
    start: bool,
    observation: NDArray[np.float32],
    action: NDArray[np.float32],
    proposed: NDArray[np.float32],
    reward: float,
    next_observation: NDArray[np.float32],
    *,
    terminated: bool,
    truncated: bool,
    success: bool,
    intervened: bool,
    version: int,
    images: NDArray[np.uint8] | None = None,
    next_images: NDArray[np.uint8] | None = None,
) -> Steps:
    """A single step as `Steps` of length 1, with images (C, H, W) before and after it, if any."""
    none = np.zeros(0, np.uint8)
    images, next_images = (none if each is None else each for each in (images, next_images))
    return Steps(
        np.array([sequence], np.int64),
        np.array([start]),
        np.asarray(observation, np.float32)[None],
        np.asarray(action, np.float32)[None],
        np.asarray(proposed, np.float32)[None],
        np.array([reward], np.float32),
        np.asarray(next_observation, np.float32)[None],
        np.array([terminated]),
        np.array([truncated]),
        np.array([success]),
        np.array([intervened]),
        np.array([version], np.int64),
        images[None][: int(start)],
        next_images[None],
    )


def ended_at_success(dataset: TrajectoryDataset) -> TrajectoryDataset:
    """Episodes up to their first success, which is all the reward there is and ends the task.

    As a session's steps are when `acting.end_at_success` holds, so that demonstrations and the
    robot's own steps mean the same.
    """
    trajectories = []
    for number in range(len(dataset)):
        episode = dataset[number]
        found = np.flatnonzero(episode.success)
        length = int(found[0]) + 1 if len(found) else len(episode)
        last = np.arange(length) == length - 1
        terminated = last & bool(len(found))
        trajectories.append(
            Trajectory(
                observations={
                    name: values[: length + 1] for name, values in episode.observations.items()
                },
                actions=episode.actions[:length],
                rewards=episode.success[:length].astype(np.float32),
                terminated=terminated,
                truncated=last & ~terminated,
                success=episode.success[:length],
            )
        )
    return TrajectoryDataset.from_trajectories(
        trajectories, env_args=dataset.env_args, source=dataset.source
    )


def session_dataset(
    steps: Sequence[Steps], source: str, cameras: Sequence[str] = (), space: Any = None
) -> TrajectoryDataset:
    """The episodes of a session, ended or not, with who chose each action.

    Args:
        steps: of each actor, in order.
        source: name used in messages.
        cameras: names of the observations that the images are; those are left out when empty.
        space: of the observations, by whose keys they are kept; one of the name flat when None.

    Raises:
        InputError: if there is no step.
    """
    trajectories = []
    for actor in steps:
        bounds = np.flatnonzero(actor.starts)
        for first, last in zip(bounds, [*bounds[1:], len(actor)], strict=True):
            own = actor[first:last]
            pictures = {}
            if cameras:
                images = np.concatenate([own.first_images, own.next_images])
                parts = np.split(images, len(cameras), axis=1)
                pictures = {
                    name: np.moveaxis(part, 1, -1)
                    for name, part in zip(cameras, parts, strict=True)
                }
            truncated = own.truncated.copy()
            truncated[-1] |= not own.terminated[-1]  # still being played, or its end was lost
            trajectories.append(
                Trajectory(
                    observations={
                        **unflatten(
                            np.concatenate([own.observations, own.next_observations[-1:]]), space
                        ),
                        **pictures,
                    },
                    actions=own.actions,
                    rewards=own.rewards,
                    terminated=own.terminated,
                    truncated=truncated,
                    success=own.success,
                    interventions=own.intervened,
                )
            )
    return TrajectoryDataset.from_trajectories(trajectories, source=source)

"""Data that crosses package borders: one trajectory, a batch of segments, a batch of transitions.

Shape letters: `B` batch, `T` steps, `A` action dim, `D` feature dim, `N` steps of a dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError

if TYPE_CHECKING:  # PyTorch takes a second to import, which processes that make videos save
    import torch
    from torch import Tensor

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Trajectory:
    """One episode of `T` steps.

    Observations have one entry more than actions, so the next observations are a slice of the
    same array and the true last observation is never lost.
    """

    observations: Mapping[str, Array]
    """Named arrays, each (T + 1, ...)."""
    actions: Array
    """(T, A): the executed actions."""
    rewards: Array
    """(T,): true rewards. Only scripted teachers, oracle baselines and evaluation read them."""
    terminated: Array
    """(T,) bool: the task ended at this step, so the value after it is zero."""
    truncated: Array
    """(T,) bool: the recording stopped at this step, but the task went on."""
    success: Array
    """(T,) bool: the task's own success flag after this step."""
    factors: Mapping[str, Array] = field(default_factory=dict)
    """Named signals, each (T,), such as the distance to the goal (for HERON)."""
    interventions: Array | None = None
    """(T,) bool: a person gave this action."""
    states: Array | None = None
    """(T + 1, S): full simulator states."""
    behaviour: str = ""
    """What acted, such as `expert` or `stop`; empty when unknown."""
    seed: int | None = None
    """Seed of the environment's reset; None when unknown."""
    name: str = ""
    """Name in the file that it was read from, such as `demo_12`."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What a simulator needs to restore the episode, such as robosuite's `model_file` (XML)."""
    extras: Mapping[str, Array] = field(default_factory=dict)
    """Arrays of the file that robopref keeps but does not read, by their path in it."""

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or len(self.actions) == 0:
            raise InputError(
                f"actions must be (T, A) with T > 0, found {self.actions.shape}; fix the recording"
            )
        if not self.observations:
            raise InputError("a trajectory needs at least one named observation array")
        steps = len(self.actions)
        lengths = {
            **{name: steps for name in ("rewards", "terminated", "truncated", "success")},
            **({"interventions": steps} if self.interventions is not None else {}),
            **({"states": steps + 1} if self.states is not None else {}),
        }
        for name, length in lengths.items():
            check_length(name, getattr(self, name), length, steps)
        for name, values in self.observations.items():
            check_length(f"observations[{name!r}]", values, steps + 1, steps)
        for name, values in self.factors.items():
            check_length(f"factors[{name!r}]", values, steps, steps)

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of the true rewards."""
        return float(np.sum(self.rewards, dtype=np.float64))


def check_length(name: str, values: Array, length: int, steps: int) -> None:
    """Raises `InputError` unless `values` has `length` rows.

    Args:
        name: what the message calls the array.
        values: the array.
        length: rows it must have.
        steps: number of actions, for the message.
    """
    if len(values) != length:
        raise InputError(
            f"{name} has {len(values)} rows {values.shape}, but {steps} actions need {length}; "
            "fix the recording"
        )


@dataclass(frozen=True)
class Segments:
    """`B` pieces of episodes of one dataset, by index: what a judge compares."""

    episodes: NDArray[np.int64]
    """(B,)"""
    starts: NDArray[np.int64]
    """(B,): first step."""
    lengths: NDArray[np.int64]
    """(B,): number of steps."""

    def __post_init__(self) -> None:
        if not len(self.episodes) == len(self.starts) == len(self.lengths):
            raise InputError(
                f"segments: {len(self.episodes)} episodes, {len(self.starts)} starts and "
                f"{len(self.lengths)} lengths must be equally many"
            )

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, index: slice | Array) -> Segments:
        return Segments(self.episodes[index], self.starts[index], self.lengths[index])

    def join(self, other: Segments) -> Segments:
        """The segments of both, these first."""
        columns = zip(vars(self).values(), vars(other).values(), strict=True)
        return Segments(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class SegmentBatch:
    """Contents of `B` segments, padded to the longest with zeros, on one device."""

    observations: Tensor
    """(B, T, D) float32: the observation before each action."""
    actions: Tensor
    """(B, T, A) float32."""
    mask: Tensor
    """(B, T) float32: 1 on real steps, 0 on padding."""

    def __post_init__(self) -> None:
        if not self.observations.shape[:2] == self.actions.shape[:2] == self.mask.shape:
            raise InputError(
                f"segment batch: observations {tuple(self.observations.shape)}, actions "
                f"{tuple(self.actions.shape)} and mask {tuple(self.mask.shape)} differ in (B, T)"
            )

    def __len__(self) -> int:
        return len(self.mask)

    def __getitem__(self, index: Tensor | slice) -> SegmentBatch:
        return SegmentBatch(self.observations[index], self.actions[index], self.mask[index])


@dataclass(frozen=True)
class PreferenceBatch:
    """`B` comparisons of two segments."""

    first: SegmentBatch
    second: SegmentBatch
    labels: Tensor
    """(B,) in [0, 1]: probability that the second segment is preferred; 0.5 is a tie."""
    confidence: Tensor
    """(B,) in [0, 1]: weight of each comparison."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> PreferenceBatch:
        return PreferenceBatch(
            self.first[index], self.second[index], self.labels[index], self.confidence[index]
        )


@dataclass(frozen=True)
class TransitionBatch:
    """`B` transitions on one device."""

    observations: Tensor
    """(B, D)"""
    actions: Tensor
    """(B, A)"""
    rewards: Tensor
    """(B,)"""
    next_observations: Tensor
    """(B, D)"""
    terminated: Tensor
    """(B,) float32: 1 where the value after the step is zero. Truncated steps bootstrap."""
    images: Tensor | None = None
    """(B, C, H, W) uint8 of all cameras, where the policy looks at them."""
    next_images: Tensor | None = None
    """(B, C, H, W) uint8"""
    demonstrated: Tensor | None = None
    """(B,) float32: 1 where a demonstrator or a correcting person chose the action, if known."""

    def __post_init__(self) -> None:
        sizes = {len(self.observations), len(self.actions), len(self.next_observations)}
        if sizes != {len(self.rewards)} or self.rewards.shape != self.terminated.shape:
            raise InputError(
                f"transition batch: observations {tuple(self.observations.shape)}, actions "
                f"{tuple(self.actions.shape)}, rewards {tuple(self.rewards.shape)}, terminated "
                f"{tuple(self.terminated.shape)} differ in B"
            )

    def __len__(self) -> int:
        return len(self.rewards)

    def __getitem__(self, index: Tensor | slice) -> TransitionBatch:
        return self._each(lambda values: values[index])

    def draw(self, count: int, generator: torch.Generator) -> TransitionBatch:
        """Draws `count` transitions, uniformly and with replacement."""
        import torch

        device = self.rewards.device
        return self.take(torch.randint(len(self), (count,), generator=generator, device=device))

    def take(self, rows: Tensor) -> TransitionBatch:
        """Copies `rows`, (B,) int64; faster than `batch[rows]`."""
        return self._each(lambda values: values.index_select(0, rows))

    def copy_(self, other: TransitionBatch) -> None:
        """Takes over what an equally large batch holds."""
        for own, values in zip(vars(self).values(), vars(other).values(), strict=True):
            if own is not None:
                own.copy_(values)

    def to(self, device: torch.device | str) -> TransitionBatch:
        """Copies every tensor to `device`."""
        return self._each(lambda values: values.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> TransitionBatch:
        values = (None if value is None else change(value) for value in vars(self).values())
        return TransitionBatch(*values)  # type: ignore[arg-type]  # None where there was None

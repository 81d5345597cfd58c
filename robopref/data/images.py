"""Images of a dataset's or an environment's cameras, for policies that look at them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref.structures import TransitionBatch


def camera_images(observations: Any) -> NDArray[np.uint8]:
    """The images in named observations, channels first, all cameras side by side.

    Args:
        observations: a mapping whose images are (..., H, W, 3) uint8.

    Returns:
        (..., C, H, W) uint8

    Raises:
        InputError: if there is none, or cameras differ in size.
    """
    names = sorted(observations) if isinstance(observations, Mapping) else []
    found = {name: np.asarray(observations[name]) for name in names}
    images = {name: values for name, values in found.items() if values.dtype == np.uint8}
    if not images:
        raise InputError(
            "images: the observations have none; give the environment cameras= or a dataset that "
            "was recorded with them"
        )
    shapes = {values.shape[:-1] for values in images.values()}
    if len(shapes) > 1:
        raise InputError(f"images: cameras {', '.join(images)} differ in size; record them alike")
    joined = np.concatenate(list(images.values()), axis=-1)
    return np.ascontiguousarray(np.moveaxis(joined, -1, -3))


class ImageTransitions:
    """Transitions whose images are held once: a source of batches."""

    def __init__(
        self, images: NDArray[np.uint8], rows: NDArray[np.int64], transitions: TransitionBatch
    ) -> None:
        """
        Args:
            images: (N + E, C, H, W) of a dataset, from `camera_images`.
            rows: (B,) of them before each transition, as in `TrajectoryDataset.observation_rows`;
                that after it is in the next row.
            transitions: `B`, on the device where everything goes.
        """
        device = transitions.rewards.device
        self.transitions = transitions
        self.images = torch.from_numpy(images).to(device)
        self._rows = torch.from_numpy(rows).to(device)

    def __len__(self) -> int:
        return len(self.transitions)

    def draw(self, count: int, generator: torch.Generator) -> TransitionBatch:
        """Draws `count` transitions, uniformly and with replacement."""
        device = self.images.device
        steps = torch.randint(len(self), (count,), generator=generator, device=device)
        rows = self._rows[steps]
        return dataclasses.replace(
            self.transitions.take(steps),
            images=self.images.index_select(0, rows),
            next_images=self.images.index_select(0, rows + 1),
        )

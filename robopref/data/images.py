"""Images of a dataset's or an environment's cameras, for policies that look at them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.files import atomic_path
from robopref.structures import TransitionBatch

AT_ONCE = 256
"""Images that go to the device together."""


def named_images(observations: Any) -> dict[str, Any]:
    """Those of named observations that are images (uint8), by name in order; none of a vector."""
    named = observations if isinstance(observations, Mapping) else {}
    return {name: named[name] for name in sorted(named) if named[name].dtype == np.uint8}


def camera_images(observations: Any) -> NDArray[np.uint8]:
    """The images in named observations, channels first, all cameras side by side.

    Args:
        observations: a mapping whose images are (..., H, W, 3) uint8.

    Returns:
        (..., C, H, W) uint8

    Raises:
        InputError: if there is none, or cameras differ in size.
    """
    images = {name: np.asarray(values) for name, values in named_images(observations).items()}
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


def seen(
    see: Callable[[Tensor], Tensor], images: NDArray[np.uint8], device: torch.device | str = "cpu"
) -> NDArray[Any]:
    """(N, ...): what `Policy.see` makes of images (N, C, H, W), a part at a time."""
    parts = torch.from_numpy(images).split(AT_ONCE)
    return np.concatenate([see(part.to(device)).cpu().numpy() for part in parts])


def seen_once(
    see: Callable[[Tensor], Tensor],
    images: NDArray[np.uint8],
    device: torch.device | str,
    path: Path,
) -> NDArray[Any]:
    """As `seen`, kept in a NumPy file, so that the next run need not look again."""
    return kept_once(path, len(images), lambda: seen(see, images, device))


def features_file(dataset: TrajectoryDataset, encoder: str) -> Path:
    """Where the features of a dataset's images by an encoder of this name are kept: beside it."""
    return Path(f"{dataset.source}.{dataset.fingerprint}.{encoder.replace('/', '-')}.npy")


def kept_once(path: Path, rows: int, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """(rows, ...): what `make` gives, from a NumPy file if it holds so many rows of it already."""
    try:
        kept: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError):  # not there yet, or cut off
        kept = np.empty(0)
    if len(kept) == rows:
        return kept
    kept = make()
    if os.access(path.parent, os.W_OK):
        with atomic_path(path) as temporary:
            np.save(temporary, kept)
    return kept


class ImageTransitions:
    """Transitions whose images are held once: a source of batches."""

    def __init__(
        self, images: NDArray[Any], rows: NDArray[np.int64], transitions: TransitionBatch
    ) -> None:
        """
        Args:
            images: (N + E, C, H, W) of a dataset, from `camera_images`, or (N + E, F) features.
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
        return self.take(torch.randint(len(self), (count,), generator=generator, device=device))

    def take(self, steps: Tensor) -> TransitionBatch:
        """The transitions of these numbers (B,)."""
        rows = self._rows[steps]
        return dataclasses.replace(
            self.transitions.take(steps),
            images=self.images.index_select(0, rows),
            next_images=self.images.index_select(0, rows + 1),
        )

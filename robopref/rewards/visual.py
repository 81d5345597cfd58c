"""Datasets as a frozen image encoder sees them, for rewards that look at images.

A reward model whose config names an `encoder` learns from, and predicts on, datasets whose flat
observations are that encoder's features; nothing else changes for it. Images are read in parts
and looked at once: features are kept in a NumPy file beside the dataset's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.images import AT_ONCE, camera_images, features_file, kept_once, named_images
from robopref.errors import InputError
from robopref.networks.pretrained import FrozenEncoder
from robopref.rewards.base import RewardModel
from robopref.structures import Array


@dataclass(frozen=True)
class SeenDataset(TrajectoryDataset):
    """A dataset whose flat observations are features of its images; labels of it stay valid."""

    features: NDArray[np.float16] = field(default_factory=lambda: np.empty((0, 0), np.float16))
    """(N + E, F)"""

    @cached_property
    def flat_observations(self) -> NDArray[np.float32]:
        """(N + E, F) float32."""
        return self.features.astype(np.float32)


def as_seen(
    dataset: TrajectoryDataset, config: Any, device: torch.device | str = "cpu"
) -> TrajectoryDataset:
    """The dataset as a reward with this config takes it: itself, unless it names an encoder.

    Args:
        dataset: with images, in memory or from `load_dataset_lazily`, if the reward looks at them.
        config: the config of a reward model.
        device: where the encoder runs.

    Raises:
        InputError: if the dataset has no images, or the encoder cannot be had.
    """
    name = getattr(config, "encoder", "")
    if not name or isinstance(dataset, SeenDataset):
        return dataset
    images = named_images(dataset.observations)
    if not images:
        raise InputError(
            f"reward.encoder={name}: looks at images, and {dataset.source} has none; collect it "
            "with cameras=, or give reward.encoder= for a reward that looks at the state"
        )

    def look() -> NDArray[np.float16]:
        return encoded(images, FrozenEncoder(name).to(torch.device(device)), device)

    rows = len(next(iter(images.values())))
    if Path(dataset.source).is_file():
        features = kept_once(features_file(dataset, name), rows, look)
    else:
        features = look()
    values = {each.name: getattr(dataset, each.name) for each in fields(TrajectoryDataset)}
    seen = SeenDataset(**values, features=features)
    seen.__dict__["fingerprint"] = dataset.fingerprint  # images are not hashed again
    return seen


def encoder_of(model: RewardModel) -> FrozenEncoder | None:
    """What a reward model sees images through, on its device; None if it looks at the state.

    Raises:
        InputError: if the encoder cannot be had.
    """
    name = getattr(model.config, "encoder", "")
    return FrozenEncoder(name).to(model.device) if name else None


def encoded(
    images: Mapping[str, Array], encoder: FrozenEncoder, device: torch.device | str = "cpu"
) -> NDArray[np.float16]:
    """(R, F): features of named images, each (R, H, W, 3) uint8, a part at a time."""
    parts = []
    for start in range(0, len(next(iter(images.values()))), AT_ONCE):
        part = camera_images({key: value[start : start + AT_ONCE] for key, value in images.items()})
        parts.append(encoder(torch.from_numpy(part).to(device)).cpu().numpy())
    return np.concatenate(parts)

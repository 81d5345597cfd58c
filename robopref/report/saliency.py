"""What a visual reward looks at: how far it moves when a part of the picture is covered.

Occlusion maps (Zeiler and Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014,
arXiv 1311.2901, section 4.2) of the encoder's own representation and of the aligned one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from robopref.data.dataset import TrajectoryDataset
from robopref.data.images import camera_images
from robopref.files import atomic_path
from robopref.networks.pretrained import FrozenEncoder
from robopref.rewards.rapl import RaplReward
from robopref.rewards.relabel import episode_sums

PARTS = 8
"""Parts of a picture each way that are covered in turn."""
FRAMES = 3
"""Of each episode."""


def occlusion_map(images: Tensor, score: Callable[[Tensor], Tensor]) -> NDArray[np.float32]:
    """How far scores of images move when a square of them is blurred.

    Blurred and not grey: grey on an empty table would be a thing of its own.

    Args:
        images: (B, C, H, W) uint8.
        score: images to numbers (B,).

    Returns:
        (B, PARTS, PARTS)
    """
    height, width = images.shape[-2:]
    before = score(images)
    coarse = functional.interpolate(images.float(), (PARTS, PARTS), mode="area")
    blurred = functional.interpolate(coarse, (height, width), mode="bilinear").to(torch.uint8)
    maps = np.zeros((len(images), PARTS, PARTS), dtype=np.float32)
    rows, columns = np.linspace(0, height, PARTS + 1), np.linspace(0, width, PARTS + 1)
    for i in range(PARTS):
        for j in range(PARTS):
            covered = images.clone()
            part = (
                ...,
                slice(int(rows[i]), int(rows[i + 1])),
                slice(int(columns[j]), int(columns[j + 1])),
            )
            covered[part] = blurred[part]
            maps[:, i, j] = (score(covered) - before).abs().cpu().numpy()
    return maps


def saliency_picture(
    model: RaplReward, dataset: TrajectoryDataset, rewards: NDArray[np.float32], path: Path
) -> None:
    """Draws frames of the best and the worst episode, as seen before and after alignment.

    Args:
        model: fitted, with an encoder.
        dataset: as that encoder sees it.
        rewards: (N,) its rewards by the model.
        path: the PNG file.
    """
    sums = episode_sums(rewards, dataset)
    rows = []
    for episode in (int(sums.argmax()), int(sums.argmin())):
        within = np.linspace(0, dataset.lengths[episode], FRAMES).astype(np.int64)
        rows.append(dataset.row_slice(episode).start + within)
    images = torch.from_numpy(
        np.concatenate([
            camera_images({
                name: values[int(row) : int(row) + 1]
                for name, values in dataset.observations.items()
                if values.dtype == np.uint8
            })
            for row in np.concatenate(rows)
        ])
    ).to(model.device)  # fmt: skip
    encoder = FrozenEncoder(model.config.encoder).to(model.device)
    maps = []
    for own in (True, False):

        def score(pictures: Tensor, own: bool = own) -> Tensor:
            return _scores(model, encoder(pictures), own)

        maps.append(occlusion_map(images, score))
    _draw(images, maps, path)


@torch.no_grad()
def _scores(model: RaplReward, features: Tensor, own: bool) -> Tensor:
    """(B,): mean distance of features (B, D) to the frames of the best videos against the worst.

    What a plan of much entropy pays a single frame, so that no video around it is needed.
    """
    frames, experts = model.standardizer(features.float()), model.experts
    if own:
        frames, experts = (functional.normalize(each, dim=-1) for each in (frames, experts))
    else:
        frames, experts = model.represent(frames), model.represent(experts)
    distances = torch.cdist(frames, experts.flatten(0, 1)).view(len(frames), *experts.shape[:2])
    return distances.mean(2) @ model.signs


def _draw(images: Tensor, maps: list[NDArray[np.float32]], path: Path) -> None:
    shown: NDArray[Any] = images[:, :3].permute(0, 2, 3, 1).cpu().numpy()
    size = shown.shape[1:3]
    figure = Figure(figsize=(1.5 * len(shown), 4.9), layout="constrained")
    axes = figure.subplots(3, len(shown))
    for column, image in enumerate(shown):
        axes[0][column].imshow(image)
        for row, each in enumerate(maps, start=1):
            heat = functional.interpolate(
                torch.from_numpy(each[column])[None, None], size, mode="bicubic"
            )[0, 0].numpy()
            axes[row][column].imshow(image.mean(2), cmap="gray")
            axes[row][column].imshow(np.maximum(heat, 0.0), cmap="inferno", alpha=0.6)
    for row, name in enumerate(("picture", "the encoder's own", "aligned by labels")):
        axes[row][0].set_ylabel(name, fontsize=8)
    for column, name in ((0, "best episode"), (FRAMES, "worst episode")):
        axes[0][column].set_title(name, fontsize=8, loc="left")
    for axis in np.ravel(axes):
        axis.set_xticks([])
        axis.set_yticks([])
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90)

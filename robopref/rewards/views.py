"""Videos as they might also have been filmed: a little aside, in other light.

What a label says of a video holds for it under another lamp too. A frozen encoder does not know
that, and its features are computed once; so a few altered copies of the labelled videos are
encoded beside them, for the layers above to learn from (random crop and colour jitter, as in
Laskin et al. 2020, Reinforcement Learning with Augmented Data, arXiv 2004.14990).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.images import camera_images, named_images
from robopref.networks.pretrained import FrozenEncoder
from robopref.rewards.visual import SeenDataset
from robopref.seeding import torch_generator

SHIFT = 0.07
"""Largest, as a share of the picture's side."""
LIGHT = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.05}
"""How far the light may differ (torchvision's `ColorJitter`)."""


def other_views(
    dataset: SeenDataset,
    rows: NDArray[np.int64],
    encoder: FrozenEncoder,
    count: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Features of altered copies of videos; all frames of a copy are altered alike.

    Args:
        dataset: whose images are read.
        rows: (M, F) rows of its observations.
        encoder: that its features come from.
        count: copies of each video.
        seed: of how each is altered.
        device: where the encoder is.

    Returns:
        (count, M, F, D) float32 on the CPU.
    """
    generator = torch_generator(seed, "views")
    found = []
    for video in rows:
        distinct, places = np.unique(video, return_inverse=True)  # a lazy array wants them in order
        images = named_images(dataset.observations)
        frames = camera_images({name: values[distinct] for name, values in images.items()})
        copies = [altered(torch.from_numpy(frames), generator) for _ in range(count)]
        features = encoder(torch.cat(copies).to(device)).cpu().float()
        found.append(features.unflatten(0, (count, len(distinct)))[:, torch.from_numpy(places)])
    return torch.stack(found, dim=1)


def altered(images: Tensor, generator: torch.Generator) -> Tensor:
    """Frames (F, C, H, W) uint8 of one video, three channels a camera, all altered alike.

    The border is repeated where the picture is shifted; cameras are altered alike too.
    """
    from torchvision.transforms import v2

    pad = round(SHIFT * images.shape[-1])
    transform = v2.Compose(
        [
            v2.Pad(pad, padding_mode="edge"),
            v2.RandomCrop(images.shape[-2:]),
            v2.ColorJitter(**LIGHT),
        ]
    )
    with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        found: Tensor = transform(images.unflatten(1, (-1, 3))).flatten(1, 2)
    return found

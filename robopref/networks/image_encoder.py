"""A small convolutional encoder for policies that look through cameras, and its random crop.

Four convolutions of 3 x 3, then a normalised bottleneck (Yarats et al. 2021, "Mastering Visual
Continuous Control" (DrQ-v2), arXiv 2107.09645, section 3.1 and appendix B), with a stride of two
in every layer: on a processor without a GPU the paper's strides of one cost 20 times as much.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS = 32


class ImageEncoder(nn.Module):
    """Maps (B, C, H, W) uint8 to (B, features) in [-1, 1]."""

    def __init__(self, shape: tuple[int, int, int], features: int) -> None:
        """
        Args:
            shape: (C, H, W) of the images; all cameras side by side in `C`.
            features: size of what comes out.
        """
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (shape[0], CHANNELS, CHANNELS, CHANNELS):
            layers += [nn.Conv2d(inputs, CHANNELS, 3, stride=2, padding=1), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            size = self.convolutions(torch.zeros(1, *shape)).shape[1]
        self.bottleneck = nn.Sequential(nn.Linear(size, features), nn.LayerNorm(features))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.orthogonal_(layer.weight, gain=2.0**0.5)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # both have one

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 to (B, features)."""
        # Channels last: several times as fast on a processor. The weights stay as they are, since
        # the fused optimizer mixes up a state that was saved in another layout.
        pixels = images.to(torch.float32, memory_format=torch.channels_last)
        features: Tensor = self.bottleneck(self.convolutions(pixels.div_(255.0).sub_(0.5)))
        return features.tanh()


def random_shift(images: Tensor, pad: int, generator: torch.Generator | None) -> Tensor:
    """Moves each image by up to `pad` pixels both ways, the border repeated (random crop).

    Kostrikov, Yarats and Fergus 2020 (DrQ), arXiv 2004.13649, section 3.1.

    Args:
        images: (B, C, H, W) uint8.
        pad: most pixels; 0 leaves them as they are.
        generator: source of randomness, on the images' device.

    Returns:
        (B, C, H, W) uint8
    """
    if not pad:
        return images
    count, channels, height, width = images.shape
    device = images.device
    moves = torch.randint(2 * pad + 1, (2, count, 1), generator=generator, device=device) - pad
    rows = (torch.arange(height, device=device) + moves[0]).clamp_(0, height - 1)
    columns = (torch.arange(width, device=device) + moves[1]).clamp_(0, width - 1)
    # One gather over flat pixels: padding and cutting out of the padded images copies them twice.
    pixels = (rows[:, :, None] * width + columns[:, None, :]).view(count, 1, -1)
    shifted = images.flatten(2).gather(2, pixels.expand(-1, channels, -1))
    return shifted.view(images.shape)

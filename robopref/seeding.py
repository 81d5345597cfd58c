"""One seed for everything: named, independent streams of random numbers.

A stream depends on the seed and its own name alone. Adding a stream, or drawing more from one,
leaves the others as they were.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def numpy_generator(seed: int, name: str) -> np.random.Generator:
    """Returns NumPy's stream called `name`."""
    return np.random.default_rng(_sequence(seed, name))


def torch_generator(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Returns PyTorch's stream called `name`, living on `device`."""
    import torch  # whoever wants NumPy's alone need not wait for it

    state = _sequence(seed, name).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state))


def _sequence(seed: int, name: str) -> np.random.SeedSequence:
    # The name becomes a number by CRC: Python's own hash differs from process to process.
    return np.random.SeedSequence([seed, zlib.crc32(name.encode())])

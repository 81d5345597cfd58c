"""A lever that pushes the cart while it is held: what a device of one's own has to do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robopref.hil.operators import Teleoperator


class Lever(Teleoperator):
    """Reads a number in [-1, 1]; within a twentieth of the middle the hands are off."""

    def __init__(self) -> None:
        self.position = 0.0
        """Where the lever stands; a real one would be asked in `read`."""

    def read(self) -> NDArray[np.float32] | None:
        """(1,): the force, or None while nobody holds the lever."""
        if abs(self.position) < 0.05:
            return None
        return np.array([self.position], dtype=np.float32)

"""Which scripted behaviours an environment's demonstrators show, and how often."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robopref.errors import InputError

FIELDS = ("shares", "noise", "noisy_noise")


@dataclass
class Mix:
    """How often each behaviour occurs, and its noise."""

    shares: dict[str, float]
    """Behaviour to share; shares are relative."""
    noise: float = 0.1
    """Standard deviation of the Gaussian action noise is drawn uniformly from [0, noise]."""
    noisy_noise: float = 0.8
    """The same bound for the behaviour `noisy`, and the lower bound is half of it."""

    @staticmethod
    def parse(values: Mapping[str, Any], behaviours: Collection[str]) -> Mix:
        """Checks what a user wrote.

        Args:
            values: the fields by name.
            behaviours: those that the environment has.

        Raises:
            InputError: if a field or a behaviour is unknown or a number is out of range.
        """
        for name in values:
            if name not in FIELDS:
                raise InputError(f"mix.{name}: no such setting; choose from {', '.join(FIELDS)}")
        shares = values.get("shares")
        if not isinstance(shares, Mapping):
            raise InputError(f"mix.shares={shares}: must name behaviours and their shares")
        for name in shares:
            if name not in behaviours:
                raise InputError(
                    f"mix.shares.{name}: no such behaviour; choose from {', '.join(behaviours)}"
                )
        numbers = {f"shares.{name}": share for name, share in shares.items()}
        numbers |= {name: values[name] for name in ("noise", "noisy_noise") if name in values}
        for name, number in numbers.items():
            if not isinstance(number, int | float) or not 0 <= number < np.inf:
                raise InputError(f"mix.{name}={number}: must be a number, at least 0")
        if not sum(shares.values()) > 0:
            raise InputError("mix.shares: at least one behaviour needs a share above 0")
        return Mix(**values)

    def draw(self, rng: np.random.Generator) -> tuple[str, float]:
        """Draws a behaviour and the standard deviation of its action noise."""
        names = sorted(self.shares)
        shares = np.array([self.shares[name] for name in names])
        behaviour = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        if behaviour == "noisy":
            return behaviour, rng.uniform(0.5, 1.0) * self.noisy_noise
        return behaviour, rng.uniform(0.0, 1.0) * self.noise

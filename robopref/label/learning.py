"""When the reward learns while people answer, and what it asks."""

from __future__ import annotations

from dataclasses import dataclass

from robopref.errors import InputError
from robopref.preferences.active import UNIFORM, check_strategy


@dataclass
class LearningConfig:
    """When the reward learns, and what it asks."""

    strategy: str = UNIFORM
    """Which pairs are asked: uniform, k_center, disagreement, entropy, mutual_information, thompson
    or volume_removal. The first ones are uniform."""
    every: int = 25
    """Answers between two fits; 0 learns nothing."""
    stop_when_flat: int = 0
    """Ends the questions after so many fits without a better held-out accuracy; 0 never does."""
    epochs: int = 50
    """Passes over the labels in one fit."""

    def __post_init__(self) -> None:
        check_strategy(self.strategy)
        for name in ("every", "stop_when_flat"):
            if getattr(self, name) < 0:
                raise InputError(f"learning.{name}={getattr(self, name)}: must be at least 0")
        if self.epochs < 1:
            raise InputError(f"learning.epochs={self.epochs}: must be at least 1")
        if self.strategy != UNIFORM and not self.every:
            raise InputError(f"learning.strategy={self.strategy}: needs learning.every above 0")

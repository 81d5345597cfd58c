"""Made-up steps of a session."""

import numpy as np

from robopref.hil.steps import Steps, one_step


def episode(first: int, length: int = 5, people: tuple[int, ...] = (), ended: bool = True) -> Steps:
    """Steps `first` to `first + length - 1`; observation and action tell which step it is."""
    return Steps.join([
        one_step(
            first + t, t == 0, np.array([first + t, 0.5]), np.array([0.1]), np.array([0.2]), t,
            np.array([first + t + 1, 0.5]), terminated=False,
            truncated=ended and t == length - 1, success=False, intervened=t in people, version=3,
        )
        for t in range(length)
    ])  # fmt: skip

"""Made-up steps of a session."""

import numpy as np

from robopref.hil.steps import Steps, one_step

IMAGE_SHAPE = (3, 16, 16)


def episode(
    first: int, length: int = 5, people: tuple[int, ...] = (), ended: bool = True,
    looks: bool = False,
) -> Steps:  # fmt: skip
    """Steps `first` to `first + length - 1`; observation, action and images tell which it is."""

    def picture(number: int) -> np.ndarray | None:
        return np.full(IMAGE_SHAPE, number % 256, np.uint8) if looks else None

    return Steps.join([
        one_step(
            first + t, t == 0, np.array([first + t, 0.5]), np.array([0.1]), np.array([0.2]), t,
            np.array([first + t + 1, 0.5]), terminated=False,
            truncated=ended and t == length - 1, success=False, intervened=t in people, version=3,
            images=picture(first + t), next_images=picture(first + t + 1),
        )
        for t in range(length)
    ])  # fmt: skip

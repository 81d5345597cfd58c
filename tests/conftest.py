"""Settings and data for all tests."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from robopref.processes import one_thread
from robopref.structures import Trajectory

one_thread()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what this machine cannot run."""
    lacking = {
        "sim": None if find_spec("metaworld") else "needs pip install 'robopref[metaworld]'",
        "gpu": None if torch.cuda.is_available() else "needs CUDA",
    }
    for item in items:
        for mark, reason in lacking.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def make_trajectory(rng: np.random.Generator) -> Callable[..., Trajectory]:
    """Random trajectories of a given length; keyword arguments replace arrays."""

    def make(steps: int, **arrays: object) -> Trajectory:
        last = np.arange(steps) == steps - 1
        content = {
            "observations": {
                "flat": rng.normal(size=(steps + 1, 3)).astype(np.float32),
                "goal": rng.normal(size=(steps + 1, 2)).astype(np.float32),
            },
            "actions": rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
            "rewards": rng.normal(size=steps).astype(np.float32),
            "terminated": np.zeros(steps, dtype=bool),
            "truncated": last,
            "success": rng.random(steps) < 0.2,
            "factors": {"distance": rng.random(steps).astype(np.float32)},
            "states": rng.normal(size=(steps + 1, 5)),
            "behaviour": "expert",
            "seed": 7,
        }
        return Trajectory(**{**content, **arrays})

    return make

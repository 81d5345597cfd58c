from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from robopref.seeding import numpy_generator, torch_generator


def test_same_seed_and_name_give_the_same_numbers():
    first, second = (numpy_generator(3, "pairs").random(4) for _ in range(2))
    assert np.array_equal(first, second)
    first, second = (torch.rand(4, generator=torch_generator(3, "batches")) for _ in range(2))
    assert torch.equal(first, second)


def test_names_and_seeds_give_different_numbers():
    numbers = {
        numpy_generator(seed, name).random() for seed in range(20) for name in ("a", "b", "ab")
    }
    assert len(numbers) == 60


def test_numbers_do_not_depend_on_the_process():
    program = "from robopref.seeding import numpy_generator as g; print(g(3, 'pairs').random())"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert float(said.stdout) == numpy_generator(3, "pairs").random()

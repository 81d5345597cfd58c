"""Pictures without a screen."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.sim

PROGRAM = """
from robopref.environments import make_env
from robopref.errors import InputError
env = make_env("metaworld/reach-v3", render_mode="rgb_array", render_size=32)
env.reset(seed=0)
try:
    env.render()
except InputError as error:
    print("SKIP", error)
import torch
torch.optim.Adam([torch.zeros(1, requires_grad=True)])
"""


def test_torch_can_be_used_after_a_picture():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if "SKIP" in done.stdout:
        pytest.skip(done.stdout)

"""Environments of the peers, one folder each, made at first use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKAGES = {
    "sb3": "stable-baselines3", "d3rlpy": "d3rlpy", "torchrl": "torchrl", "imitation": "imitation"
}  # fmt: skip


def peer_python(home: Path, peer: str, with_robopref: bool = False) -> Path:
    """Interpreter of a peer's environment.

    Args:
        home: folder with an environment for each peer.
        peer: one of `PACKAGES`.
        with_robopref: whether it needs this project and Meta-World too.
    """
    python = home / peer / "bin" / "python"
    if not python.exists():
        print(f"making {home / peer} for {PACKAGES[peer]}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", home / peer], check=True)
        _install(python, "torch>=2.4", PACKAGES[peer])
    if (
        with_robopref
        and subprocess.run([python, "-c", "import robopref_envs, metaworld"]).returncode
    ):
        _install(python, f"{Path(__file__).parents[2]}[metaworld]")
    return python


def _install(python: Path, *packages: str) -> None:
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)

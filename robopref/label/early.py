"""The process from which those that make videos are forked, with their packages imported."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

IMPORTED = [
    "robopref_envs", "robopref.label.pictures", "robopref.report.video", "robopref_envs.metaworld"
]  # fmt: skip
"""In this order: the first says how MuJoCo renders. Other simulators are imported by those who
need them."""


def import_early() -> None:
    """Starts the process. It imports in the background, so call this before anything slow."""
    video_processes()
    forkserver.ensure_running()


def video_processes() -> ForkServerContext:
    """Where the processes come from. OpenGL starts in each, since it does not survive a fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context

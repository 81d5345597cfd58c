"""What `robopref doctor` says about simulators and rendering."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec

from robopref_envs import headless_backend

Finding = tuple[str, str, str, str]
"""State (`ok`, `note`, `problem`), subject, text, and the command that mends it."""

SIMULATORS = (("metaworld", "Meta-World"), ("robosuite", "robosuite"))
BACKENDS = {
    "egl": "apt-get install libegl1 libgl1-mesa-dri",
    "osmesa": "apt-get install libosmesa6",
}
"""MuJoCo's name of a library that renders without a screen, and what installs it."""
PROGRAM = """
import time
import mujoco
from robopref_envs.rendering import SceneCameras
scene = "<mujoco><worldbody><light pos='0 0 2'/><camera name='c' pos='0 0 2'/>"
scene += "<geom size='0.3' rgba='1 0 0 1'/></worldbody></mujoco>"
model = mujoco.MjModel.from_xml_string(scene)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
cameras = SceneCameras(model)
cameras.picture(data, "c", 84)
start = time.perf_counter()
picture = cameras.picture(data, "c", 84)
seconds = time.perf_counter() - start
cameras.close()
assert picture[42, 42, 0] > 2 * picture[42, 42, 1], "the picture is not what was drawn"
print("SECONDS", seconds)
"""


def findings() -> Iterator[Finding]:
    """Yields what was found, one line each."""
    installed = []
    for package, name in SIMULATORS:
        if find_spec(package):
            installed.append(package)
            yield "ok", "simulator", f"{name} {version(package)}", ""
        else:
            mend = f"pip install 'robopref[{package}]'"
            yield "note", "simulator", f"{name} is not installed", mend
    if find_spec("mujoco"):
        yield from _rendering(bool(installed))


def _rendering(needed: bool) -> Iterator[Finding]:
    """Takes a picture in a process of its own: a backend is chosen when MuJoCo is imported."""
    chosen = os.environ.get("MUJOCO_GL", headless_backend())
    error = _try(chosen)
    if isinstance(error, float):
        milliseconds = 1000 * error
        yield "ok", "rendering", f"{chosen}: {milliseconds:.1f} ms a picture of 84 x 84", ""
        return
    others = [name for name in BACKENDS if name != chosen]
    working = [name for name in others if isinstance(_try(name), float)]
    state = "problem" if needed else "note"
    mend = f"export MUJOCO_GL={working[0]}" if working else BACKENDS.get(chosen, BACKENDS["egl"])
    yield state, "rendering", f"MUJOCO_GL={chosen} takes no pictures ({error})", mend


def _try(backend: str) -> float | str:
    """Seconds that a picture takes, or the last line of what went wrong."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "MUJOCO_GL": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0 and "SECONDS" in done.stdout:
        return float(done.stdout.split("SECONDS")[1])
    return (done.stderr.strip().splitlines() or ["no message"])[-1]

"""Pictures without a screen, on `mujoco.Renderer`.

Gymnasium's MuJoCo renderer never makes its context current, so two environments in one process
spoil each other's pictures. `mujoco.Renderer` does. Without multisampling, shadows and
reflections a frame on a software rasteriser takes 7 ms instead of 60.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError

MISSING_LIBRARY = (
    "rendering needs an OpenGL library and none was found; on Debian or Ubuntu run "
    "'apt-get install libegl1 libgl1-mesa-dri' (or go on without pictures)"
)


def check_cameras(model: mujoco.MjModel, names: Sequence[str], env_id: str) -> None:
    """Raises `InputError` unless the scene has cameras of these names."""
    known = [model.camera(index).name for index in range(model.ncam)]
    for name in names:
        if name not in known:
            raise InputError(
                f"env={env_id}: has no camera {name!r}; choose from {', '.join(known)}"
            )


class OffscreenRenderer:
    """Renders one MuJoCo model. Close it, or the process ends with OpenGL errors."""

    def __init__(self, model: mujoco.MjModel, size: int, hidden_groups: Sequence[int] = ()) -> None:
        """
        Args:
            model: the scene.
            size: width and height in pixels.
            hidden_groups: groups of geoms that are not shown, such as robosuite's collision
                geoms (group 0).

        Raises:
            InputError: if no OpenGL library is installed.
        """
        # Mesa and torch's Triton each bring an LLVM; loaded after Mesa's, Triton's crashes.
        with contextlib.suppress(ImportError):
            importlib.import_module("triton._C.libtriton")
        samples = model.vis.quality.offsamples
        model.vis.quality.offsamples = 0
        try:
            self._renderer = mujoco.Renderer(model, size, size)
        except (mujoco.FatalError, AttributeError, ImportError, RuntimeError) as error:
            raise InputError(MISSING_LIBRARY) from error
        finally:
            model.vis.quality.offsamples = samples
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = 0
        self._options = mujoco.MjvOption()
        self._options.geomgroup[list(hidden_groups)] = 0

    def render(self, data: mujoco.MjData, camera: str) -> NDArray[np.uint8]:
        """(size, size, 3): what the camera sees."""
        self._renderer.update_scene(data, camera, self._options)
        return self._renderer.render().copy()

    def close(self) -> None:
        """Frees the OpenGL context."""
        self._renderer.close()

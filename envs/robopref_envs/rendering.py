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
from robopref_envs.distractors import Distractors

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


class SceneCameras:
    """Upright pictures of one MuJoCo scene, from any of its cameras and in any size.

    OpenGL starts at the first picture. Close it, or the process ends with OpenGL errors.
    """

    def __init__(self, model: mujoco.MjModel, hidden_groups: Sequence[int] = ()) -> None:
        """
        Args:
            model: the scene.
            hidden_groups: groups of geoms that are not shown, such as robosuite's collision
                geoms (group 0).
        """
        self._model = model
        self._options = mujoco.MjvOption()
        self._options.geomgroup[list(hidden_groups)] = 0
        self._renderers: dict[int, mujoco.Renderer] = {}
        self.distractors: Distractors | None = None
        """What else is in the pictures, until it is set anew."""

    def picture(self, data: mujoco.MjData, camera: str, size: int) -> NDArray[np.uint8]:
        """(size, size, 3): what the camera sees.

        Raises:
            InputError: if no OpenGL library is installed.
        """
        if size not in self._renderers:
            self._renderers[size] = _renderer(self._model, size)
        renderer = self._renderers[size]
        renderer.update_scene(data, camera, self._options)
        if self.distractors is not None:
            self.distractors.apply(renderer.scene, self._model, data)
        image = renderer.render().copy()
        # Meta-World hangs its corner cameras upside down. Those on a hand may point anywhere.
        index = self._model.camera(camera).id
        up = data.cam_xmat[index].reshape(3, 3)[2, 1]
        fixed = self._model.cam_bodyid[index] == 0
        return image[::-1, ::-1].copy() if fixed and up < -0.1 else image

    def close(self) -> None:
        """Frees the OpenGL contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()


def _renderer(model: mujoco.MjModel, size: int) -> mujoco.Renderer:
    # Mesa and torch's Triton each bring an LLVM; loaded after Mesa's, Triton's crashes.
    with contextlib.suppress(ImportError):
        importlib.import_module("triton._C.libtriton")
    quality = model.vis.quality
    before = quality.offsamples, quality.shadowsize
    quality.offsamples = quality.shadowsize = 0
    try:
        renderer = mujoco.Renderer(model, size, size)
    except (mujoco.FatalError, AttributeError, ImportError, RuntimeError) as error:
        raise InputError(MISSING_LIBRARY) from error
    finally:
        quality.offsamples, quality.shadowsize = before
    for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
        renderer.scene.flags[flag] = 0
    return renderer

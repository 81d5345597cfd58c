"""What a camera sees that has nothing to do with the task: it changes pictures and never physics.

Each is drawn anew for every episode and, as a function of the simulator's time, gives the same
picture whenever the same state is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError

DISTRACTORS = {
    "texture": "another colour of table, floor and walls",
    "lighting": "lamps of another colour, strength and place",
    "object": "a bright ball that wanders through the background",
    "jitter": "a camera that sways, as if held in a hand",
}
SWAY, TURN = 0.015, 0.02
"""Largest displacement, in metres, and turn, in radians, of a swaying camera."""
BALL_RADIUS = 0.06


def check_distractors(names: Sequence[str], env_id: str) -> None:
    """Raises `InputError` unless all are known."""
    for name in names:
        if name not in DISTRACTORS:
            raise InputError(
                f"env={env_id}: has no distractor {name!r}; choose from {', '.join(DISTRACTORS)}"
            )


@dataclass(frozen=True)
class Distractors:
    """Those of one episode; each entry is None where that one is off."""

    colours: NDArray[np.float64] | None
    """(8, 3): of parts of the scene that do not move, in turn."""
    light: NDArray[np.float64] | None
    """(6,): factors of red, green and blue, and a displacement in metres."""
    ball: NDArray[np.float64] | None
    """(4, 3): colour, frequencies in Hz, phases, and centre of its way, to the right, up and away
    from the camera as shares of the scene's distance."""
    sway: NDArray[np.float64] | None
    """(2, 6): frequencies in Hz and phases of the camera's displacement and turn."""

    @staticmethod
    def draw(names: Sequence[str], rng: np.random.Generator) -> Distractors:
        """Draws those of these names; the others are off, and change nothing in what is drawn."""
        colours = rng.uniform(0.1, 0.9, (8, 3))
        light = np.concatenate([rng.uniform(0.3, 1.3, 3), rng.uniform(-0.5, 0.5, 3)])
        ball = np.stack([
            rng.permutation([0.95, 0.15, rng.uniform(0.1, 0.9)]),
            rng.uniform(0.1, 0.4, 3),
            rng.uniform(0.0, 2.0 * np.pi, 3),
            rng.uniform([-0.15, 0.05, -0.3], [0.15, 0.2, 0.0]),
        ])  # fmt: skip
        sway = np.stack([rng.uniform(0.3, 1.5, 6), rng.uniform(0.0, 2.0 * np.pi, 6)])
        return Distractors(
            colours if "texture" in names else None,
            light if "lighting" in names else None,
            ball if "object" in names else None,
            sway if "jitter" in names else None,
        )

    def apply(self, scene: mujoco.MjvScene, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Changes a scene that has just been updated from `data`."""
        if self.colours is not None:
            self._colour(scene, model)
        if self.light is not None:
            self._light(scene)
        if self.ball is not None:
            self._add_ball(scene, model, data.time)
        if self.sway is not None:
            self._turn_camera(scene, data.time)

    def _colour(self, scene: mujoco.MjvScene, model: mujoco.MjModel) -> None:
        assert self.colours is not None
        for index in range(scene.ngeom):
            geom = scene.geoms[index]
            if geom.objtype != mujoco.mjtObj.mjOBJ_GEOM:
                continue
            large = model.geom_rbound[geom.objid] > 0.3 or model.geom_rbound[geom.objid] == 0.0
            still = model.body_weldid[model.geom_bodyid[geom.objid]] == 0
            if large and still:  # a plane's bound is 0
                geom.matid = -1
                geom.rgba[:3] = self.colours[geom.objid % len(self.colours)]

    def _light(self, scene: mujoco.MjvScene) -> None:
        assert self.light is not None
        for index in range(scene.nlight):
            light = scene.lights[index]
            light.diffuse[:] = np.clip(light.diffuse * self.light[:3], 0.0, 1.0)
            light.ambient[:] = np.clip(light.ambient * self.light[:3], 0.0, 1.0)
            light.pos[:] = light.pos + self.light[3:]

    def _add_ball(self, scene: mujoco.MjvScene, model: mujoco.MjModel, time: float) -> None:
        assert self.ball is not None
        if scene.ngeom >= scene.maxgeom:
            return
        colour, frequencies, phases, centre = self.ball
        camera = scene.camera[0]
        # About as far as the middle of the scene, and within the picture.
        ahead, up = np.array(camera.forward), np.array(camera.up)
        depth = max(float(np.dot(model.stat.center - np.array(camera.pos), ahead)), 0.5)
        way = centre + 0.1 * np.sin(2.0 * np.pi * frequencies * time + phases)
        directions = np.stack([np.cross(ahead, up), up, ahead])
        place = np.array(camera.pos) + depth * (ahead + way @ directions)
        mujoco.mjv_initGeom(
            scene.geoms[scene.ngeom],
            mujoco.mjtGeom.mjGEOM_SPHERE,
            np.full(3, BALL_RADIUS),
            place,
            np.eye(3).ravel(),
            np.append(colour, 1.0).astype(np.float32),
        )
        scene.ngeom += 1

    def _turn_camera(self, scene: mujoco.MjvScene, time: float) -> None:
        assert self.sway is not None
        frequencies, phases = self.sway
        offsets = np.sin(2.0 * np.pi * frequencies * time + phases)
        for index in range(2):  # both eyes, of which the picture is the mean
            camera = scene.camera[index]
            camera.pos[:] = camera.pos + SWAY * offsets[:3]
            camera.forward[:] = _unit(camera.forward + TURN * offsets[3:])
            up = camera.up - np.dot(camera.up, camera.forward) * camera.forward
            camera.up[:] = _unit(up)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit

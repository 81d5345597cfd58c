"""X-MAGICAL (Zakka et al. 2021, arXiv 2106.03911) with two tasks that hinge on a preference.

As in Tian et al. (RAPL, arXiv 2310.07932, section 5.1) there is a task, which any way of doing it
fulfils, and how people want it done: `avoid` brings a block to the goal at the top without touching
the blue zone before it; `group` brings two blocks there together and not one by one. Robots are
sticks of three lengths and a gripper, of which one may be watched and another be paid.

The physics and the drawing are x-magical's own; its gym interface is not used.
"""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Space
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref_envs.mix import Mix
from robopref_envs.xmagical_experts import BEHAVIOURS, Pusher

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws without a screen
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")


def _package() -> tuple[Any, Any]:
    """x-magical's `base_env` and `entities`.

    pymunk 5.6, which it needs, asks for names that Python 3.10 moved, and of gym it only takes
    what Gymnasium has too.
    """
    for name in ("Sequence", "Iterable", "Mapping"):
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    before = sys.modules.get("gym")
    sys.modules["gym"] = gymnasium
    try:
        with contextlib.redirect_stdout(None):  # pymunk tells what it loads
            importlib.import_module("pymunk")
        modules = [importlib.import_module(f"xmagical.{name}") for name in ("base_env", "entities")]
    finally:
        if before is None:
            del sys.modules["gym"]
        else:
            sys.modules["gym"] = before
    return modules[0], modules[1]


base_env, entities = _package()
EMBODIMENTS = ("shortstick", "mediumstick", "longstick", "gripper")
GOAL_Y = 0.76
"""Lower edge of the goal, which reaches to the top."""
TOGETHER = 0.3
"""Largest distance of two blocks that count as a group."""
ZONE = (0.7, 0.26)
"""Width and height of the zone to be avoided."""
ZONE_COST = 5.0
"""Of a step in the zone: the way through it is shorter, and must not be worth it."""
CAMERA = "top"


class _Scene(base_env.BaseEnv):  # type: ignore[misc, name-defined]  # untyped package
    """What x-magical owes: entities in its physics."""

    def __init__(self, task: str, embodiment: str, size: int) -> None:
        robot = getattr(entities.embodiments, f"{embodiment.capitalize()}Embodiment", None)
        super().__init__(robot_cls=robot, res_hw=(size, size))
        self.task = task
        self.zone_centre = np.zeros(2)
        self.blocks: list[Any] = []
        self.layout = np.random.default_rng(0)

    def on_reset(self) -> None:
        """Places robot, blocks, goal and zone."""
        rng = self.layout
        robot = self._make_robot((rng.uniform(-0.4, 0.4), -0.75), rng.uniform(-0.5, 0.5))
        goal = entities.GoalRegion(-1.1, 1.1, 1.1 - GOAL_Y, 2.2, entities.ShapeColor.RED)
        self.add_entities([goal])
        if self.task == "avoid":
            self.zone_centre = np.array([rng.uniform(-0.2, 0.2), 0.42])
            width, height = ZONE
            corner = self.zone_centre + [-width / 2, height / 2]
            zone = entities.GoalRegion(*corner, height, width, entities.ShapeColor.BLUE)
            self.add_entities([zone])
            aside = rng.choice([-1.0, 1.0]) * rng.uniform(0.1, 0.35)
            places = [(self.zone_centre[0] + aside, rng.uniform(-0.35, -0.2))]
        else:
            middle, apart = rng.uniform(-0.15, 0.15), rng.uniform(0.4, 0.6)
            y = rng.uniform(-0.3, 0.0)
            places = [(middle - apart / 2, y), (middle + apart / 2, y)]
        self.blocks = [
            self._make_shape(
                shape_type=entities.ShapeType.SQUARE,
                color_name=entities.ShapeColor.RED,
                init_pos=place,
                init_angle=0.0,
            )
            for place in places
        ]
        self.add_entities([*self.blocks, robot])

    def score_on_end_of_traj(self) -> float:
        """Not used."""
        return 0.0

    def get_reward(self) -> float:
        """Not used."""
        return 0.0

    @property
    def robot(self) -> Any:
        """The robot's entity."""
        return self._robot

    @property
    def bodies(self) -> list[Any]:
        """All that moves, in one order (the space's own is that of a set)."""
        blocks = [block.shape_body for block in self.blocks]
        return [self._robot.body, self._robot.control_body, *self._robot.extra_bodies, *blocks]

    def move(self, action: NDArray[np.float64]) -> None:
        """One step of physics."""
        self._robot.set_action(action)
        self._phys_steps_on_frame()


class XMagicalEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """One task with one robot.

    Observations: position of the robot (2,), its direction (2,), positions of the blocks (2 each),
    and, for `avoid`, the middle of the zone (2,), in units of which the arena has 2.2; with
    `cameras=["top"]` a dictionary of these as `flat` and of `top_image`. Actions (2,) in [-1, 1]:
    speed and turn (a gripper has a third). The true reward is minus the mean distance of the blocks
    to the goal, minus 5 while robot or block touches the zone (`avoid`), or minus the distance of
    the blocks from one another beyond a group's (`group`). Success is all blocks in the goal, the
    preference kept throughout.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        task: str,
        embodiment: str = "shortstick",
        horizon: int = 200,
        cameras: Sequence[str] = (),
        image_size: int = 84,
        render_mode: str | None = None,
        render_size: int = 224,
    ) -> None:
        """
        Args:
            task: `avoid` or `group`.
            embodiment: one of `EMBODIMENTS`.
            horizon: steps until truncation.
            cameras: `top`, or none.
            image_size: width and height of the camera's pictures, in pixels.
            render_mode: `rgb_array` or None.
            render_size: width and height of the pictures of `render`, in pixels.

        Raises:
            InputError: if the embodiment or a camera is unknown.
        """
        if embodiment not in EMBODIMENTS:
            raise InputError(
                f"env=xmagical/{task}: has no embodiment {embodiment!r}; choose from "
                f"{', '.join(EMBODIMENTS)}"
            )
        for name in cameras:
            if name != CAMERA:
                raise InputError(f"env=xmagical/{task}: has no camera {name!r}; choose {CAMERA}")
        self.task = task
        self.embodiment = embodiment
        self.horizon = horizon
        self.cameras = tuple(cameras)
        self.image_size = image_size
        self.render_mode = render_mode
        self.render_size = render_size
        self.scene = _Scene(task, embodiment, image_size if cameras else render_size)
        count = 4 + (4 if task == "group" else 2 + 2)
        self.observation_space: Space[Any] = Box(-2.0, 2.0, (count,), np.float32)
        if cameras:
            picture = Box(0, 255, (image_size, image_size, 3), np.uint8)
            self.observation_space = Dict(
                {"flat": self.observation_space, f"{CAMERA}_image": picture}
            )
        self.action_space = Box(-1.0, 1.0, (self.scene.action_dim,), np.float32)
        self._steps, self._kept = 0, True

    @property
    def env_args(self) -> dict[str, Any]:
        """What a dataset file says about the environment (robomimic's `env_args`)."""
        pictures = {"cameras": list(self.cameras), "image_size": self.image_size}
        return {
            "env_name": f"xmagical/{self.task}",
            "type": 2,  # robomimic's EnvType.GYM_TYPE
            "env_kwargs": {
                "embodiment": self.embodiment,
                "horizon": self.horizon,
                **(pictures if self.cameras else {}),
            },
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Places everything anew."""
        super().reset(seed=seed)
        self.scene.layout = self.np_random
        self.scene.reset()
        self._steps, self._kept = 0, True
        return self._observe(), {"success": False}

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Moves one step; actions outside [-1, 1] are clipped."""
        limits = np.ones(len(action))
        limits[:2] = self.scene.robot._speed_limit, self.scene.robot._angle_limit
        self.scene.move(np.clip(action, -1.0, 1.0).astype(np.float64) * limits)
        self._steps += 1
        far, apart = self._distance_to_goal(), 0.0
        if self.task == "avoid":
            touched = self._touches_zone()
            self._kept &= not touched
            cost = ZONE_COST * float(touched)
        else:
            first, second = self.block_positions
            apart = max(float(np.linalg.norm(first - second)) - TOGETHER, 0.0)
            # What counts is that they arrive together.
            self._kept &= apart == 0.0 or not self._in_goal().any()
            cost = apart
        success = bool(self._in_goal().all() and self._kept)
        info = {"success": success, "obj_to_target": far}
        return self._observe(), -far - cost, False, self._steps >= self.horizon, info

    @property
    def robot_position(self) -> NDArray[np.float64]:
        """(2,)"""
        return np.array(self.scene.robot.body.position)

    @property
    def block_positions(self) -> NDArray[np.float64]:
        """(blocks, 2)"""
        return np.array([block.shape_body.position for block in self.scene.blocks])

    def _in_goal(self) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = self.block_positions[:, 1] > GOAL_Y
        return inside

    def _distance_to_goal(self) -> float:
        return float(np.maximum(GOAL_Y - self.block_positions[:, 1], 0.0).mean())

    def _touches_zone(self) -> bool:
        points = np.vstack([self.block_positions, self.robot_position])
        away = np.abs(points - self.scene.zone_centre) - np.array(ZONE) / 2
        return bool((away < 0.1).all(1).any())

    def get_state(self) -> NDArray[np.float64]:
        """(S,): step, whether the preference was kept, the zone, and all poses and velocities."""
        moving = [
            [*body.position, body.angle, *body.velocity, body.angular_velocity]
            for body in self.scene.bodies
        ]
        head = [self._steps, self._kept, *self.scene.zone_centre]
        return np.concatenate([head, *moving]).astype(np.float64)

    def set_state(self, state: NDArray[np.float64]) -> Any:
        """Restores a state of `get_state`, up to the contacts that the physics remembers."""
        self._steps, self._kept = int(state[0]), bool(state[1])
        self.scene.zone_centre = state[2:4].copy()
        if self.task == "avoid":  # the zone's own body
            zone = self.scene._entities[2]
            zone.goal_body.position = tuple(self.scene.zone_centre)
        for body, values in zip(self.scene.bodies, state[4:].reshape(-1, 6), strict=True):
            body.position, body.angle = tuple(values[:2]), float(values[2])
            body.velocity, body.angular_velocity = tuple(values[3:5]), float(values[5])
        self.scene._space.reindex_shapes_for_body(self.scene.robot.body)
        return self._observe()

    def demonstrator(self, mix: Mapping[str, Any], rng: np.random.Generator) -> Pusher:
        """Draws one scripted demonstrator for the episode that follows.

        Args:
            mix: fields of `robopref_envs.mix.Mix`.
            rng: source of all its randomness.
        """
        behaviour, noise = Mix.parse(mix, BEHAVIOURS).draw(rng)
        return Pusher(self, behaviour, noise, rng)

    def _observe(self) -> Any:
        angle = self.scene.robot.body.angle
        parts = [self.robot_position, [np.cos(angle), np.sin(angle)], self.block_positions.ravel()]
        if self.task == "avoid":
            parts.append(self.scene.zone_centre)
        flat = np.concatenate(parts).astype(np.float32)
        if not self.cameras:
            return flat
        return {"flat": flat, f"{CAMERA}_image": self._picture()}

    def render(self) -> NDArray[np.uint8]:
        """(render_size, render_size, 3); as large as the camera's pictures where there are some."""
        return self._picture()

    def _picture(self) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = self.scene.render(mode="rgb_array")
        return np.ascontiguousarray(picture)

    def close(self) -> None:
        """Frees the drawing."""
        self.scene.close()

"""gym-hil's Panda, which picks up a cube (github.com/huggingface/gym-hil), as LeRobot trains it.

The physics and the controller are gym-hil's own; its wrappers, which read devices and wait in real
time, are not used: `robopref hil` has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any
from unittest import mock

import gymnasium
import mujoco
import numpy as np
from gym_hil.envs.panda_pick_gym_env import _SAMPLING_BOUNDS, PandaPickCubeGymEnv
from gym_hil.mujoco_gym_env import GymRenderingSpec
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from robopref_envs.demonstrators import Demonstrator, ScriptedExpert, Vector
from robopref_envs.mujoco_state import physics_state, restore_physics
from robopref_envs.rendering import SceneCameras, check_cameras

METRES_PER_ACTION = 0.025
"""As gym-hil's wrapper for hands and LeRobot's tutorial have it."""
HAND = 15
"""First of the hand's three coordinates in `agent_pos`, after joints, their speeds and gripper."""
ABOVE, NEAR, GRASP_STEPS = 0.08, 0.012, 4
"""How the expert grasps: from how far above, how exactly (metres), and for how long."""
LARGEST_PICTURE = 1024
BORDER = 0.05
"""How far outside of where cubes are put one is out of reach, in metres."""


class PickCubeEnv(gymnasium.Env[dict[str, NDArray[Any]], NDArray[np.float32]]):
    """Success is the cube held 10 cm above the table; the reward is gym-hil's dense one.

    Actions (4,) in [-1, 1] move the hand by up to 2.5 cm and open (below 0) or close the gripper.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        horizon: int = 100,
        render_mode: str | None = None,
        camera: str = "front",
        render_size: int = 256,
        cameras: Sequence[str] = (),
        image_size: int = 84,
    ) -> None:
        """
        Args:
            horizon: steps until an episode is truncated, ten a second.
            render_mode: `rgb_array` or None.
            camera: for `render`.
            render_size: its width and height.
            cameras: that are observations, as `<name>_image`: front, handcam_rgb.
            image_size: their width and height.

        Raises:
            InputError: if the scene has no such camera.
        """
        self.horizon, self.render_mode = horizon, render_mode
        self.camera, self.render_size = camera, render_size
        self.cameras, self.image_size = tuple(cameras), image_size
        # It starts OpenGL whether or not anybody looks; pictures are made by `SceneCameras`.
        with mock.patch.object(mujoco, "Renderer", mock.Mock()):
            largest = GymRenderingSpec(height=LARGEST_PICTURE, width=LARGEST_PICTURE)
            self.panda = PandaPickCubeGymEnv(reward_type="dense", render_spec=largest)
        self._scene = SceneCameras(self.panda.model)
        check_cameras(self.panda.model, (*cameras, camera), "gym_hil/pick-cube")
        picture = Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space = Dict({
            **self.panda.observation_space,
            **{f"{name}_image": picture for name in cameras},
        })  # fmt: skip
        self.action_space = Box(-1.0, 1.0, (4,), np.float32)
        self._steps = 0

    @property
    def env_args(self) -> dict[str, Any]:
        """What a dataset file says about the environment (robomimic's `env_args`)."""
        pictures = {"cameras": list(self.cameras), "image_size": self.image_size}
        return {
            "env_name": "gym_hil/pick-cube",
            "type": 2,  # robomimic's EnvType.GYM_TYPE
            "env_version": version("gym-hil"),
            "env_kwargs": {"horizon": self.horizon, **(pictures if self.cameras else {})},
            "entities": {
                "hand": {"key": "agent_pos", "first": HAND},
                "object": {"key": "environment_state", "first": 0},
            },
            "mujoco_version": mujoco.__version__,
            "gymnasium_version": gymnasium.__version__,
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Puts the cube somewhere within 20 by 30 cm; gym-hil asks NumPy's global generator."""
        super().reset(seed=seed)
        self.panda.reset()
        self.panda.data.jnt("block").qpos[:2] = self.np_random.uniform(*_SAMPLING_BOUNDS)
        mujoco.mj_forward(self.panda.model, self.panda.data)
        self._steps = 0
        return self._observation(self.panda._compute_observation()), {"success": False}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """Moves one step; it ends when the cube is out of reach."""
        action = np.clip(action, -1.0, 1.0)
        move = METRES_PER_ACTION * action[:3]
        self.panda.apply_action(np.array([*move, 0.0, 0.0, 0.0, action[3]]))
        # gym-hil shows where things were a substep ago; then a state could not say what is seen.
        mujoco.mj_forward(self.panda.model, self.panda.data)
        self._steps += 1
        cube = self.panda.data.sensor("block_pos").data[:2]
        lowest, highest = _SAMPLING_BOUNDS
        return (
            self._observation(self.panda._compute_observation()),
            float(self.panda._compute_reward()),
            bool((cube < lowest - BORDER).any() or (cube > highest + BORDER).any()),
            self._steps >= self.horizon,
            {"success": bool(self.panda._is_success())},
        )

    def demonstrator(self, mix: Mapping[str, Any], rng: np.random.Generator) -> Demonstrator:
        """Draws one scripted demonstrator for the episode that follows.

        Args:
            mix: fields of `robopref_envs.mix.Mix`.
            rng: source of all its randomness.
        """
        return Demonstrator.draw(PickCubeExpert(), self.horizon, mix, rng)

    def get_state(self) -> NDArray[np.float64]:
        """(S,): all that `set_state` needs to continue from this very step."""
        heights = self.panda._z_init, self.panda._z_success
        physics = physics_state(self.panda.model, self.panda.data)
        return np.concatenate([[self._steps, *heights], physics])

    def set_state(self, state: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """Restores a state of `get_state` and returns its observation."""
        self._steps = int(state[0])
        self.panda._z_init, self.panda._z_success = state[1:3]
        restore_physics(self.panda.model, self.panda.data, state[3:])
        return self._observation(self.panda._compute_observation())

    def render(self) -> NDArray[np.uint8]:
        """(render_size, render_size, 3): the scene, upright."""
        return self._scene.picture(self.panda.data, self.camera, self.render_size)

    def close(self) -> None:
        """Frees the renderer."""
        self._scene.close()

    def _observation(self, found: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        pictures = {
            f"{name}_image": self._scene.picture(self.panda.data, name, self.image_size)
            for name in self.cameras
        }
        return {**found, **pictures}


class PickCubeExpert(ScriptedExpert):
    """Over the cube, down, grasp, up."""

    usual_steps = 25
    noise_scale = np.ones(4)
    waypoint_steps = (10, 25)
    reach = (np.array([0.3, -0.2, 0.1]), np.array([0.55, 0.2, 0.4]))

    def __init__(self) -> None:
        self._offset = np.zeros(3)
        self._grasping = 0

    def act(self, observation: Any) -> Vector:
        """(4,): the action that leads on to success."""
        hand, cube = _places(observation)
        away = cube + self._offset - hand
        aside = float(np.linalg.norm(away[:2]))
        if aside > 2.0 * NEAR and self._grasping:
            self._grasping = 0  # it slipped
        if aside > NEAR and not self._grasping:
            over = np.array([*away[:2], away[2] + ABOVE])
            return _towards(over, -1.0)
        if away[2] < -NEAR and not self._grasping:
            return _towards(away, -1.0)
        self._grasping += 1
        up = 1.0 if self._grasping > GRASP_STEPS else 0.0
        return np.array([0.0, 0.0, up, 1.0])

    def towards(self, observation: Any, point: Vector, gripper: float) -> Vector:
        """(4,): the action that moves the hand straight to a point."""
        return _towards(point - _places(observation)[0], gripper)

    def displace(self, offset: Vector) -> None:
        """From now on takes the cube to be (3,) metres away from where it is."""
        self._offset = offset


def _places(observation: Mapping[str, NDArray[Any]]) -> tuple[Vector, Vector]:
    """(3,) of hand and cube."""
    hand = np.asarray(observation["agent_pos"][HAND:], np.float64)
    return hand, np.asarray(observation["environment_state"], np.float64)


def _towards(away: Vector, gripper: float) -> Vector:
    return np.append(np.clip(away / METRES_PER_ACTION, -1.0, 1.0), gripper)

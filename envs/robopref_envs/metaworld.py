"""Meta-World tasks as Gymnasium environments: fixed horizon, fresh goals, restorable states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box, Dict
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from numpy.typing import NDArray

from robopref_envs.demonstrators import Demonstrator
from robopref_envs.distractors import Distractors, check_distractors
from robopref_envs.metaworld_experts import MetaWorldExpert
from robopref_envs.mujoco_state import physics_state, restore_physics
from robopref_envs.rendering import SceneCameras, check_cameras

Observation = NDArray[np.float32] | dict[str, NDArray[Any]]


class MetaWorldEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One Meta-World task with its goal in the observation.

    Observations (39,): hand position, gripper opening, objects' poses (padded), the same one
    step earlier, goal. Actions (4,) in [-1, 1]: hand displacement (1 = 1 cm) and gripper effort.
    Every reset draws a fresh goal. The episode never terminates; it is truncated after `horizon`
    steps, also after success, which is in `info["success"]` (Meta-World counts success at any
    step). `info` also holds Meta-World's own signals, such as `obj_to_target` in metres.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 80}

    def __init__(
        self,
        task: str,
        horizon: int = 200,
        render_mode: str | None = None,
        camera: str = "corner2",
        render_size: int = 224,
        reward_function_version: str = "v2",
        cameras: Sequence[str] = (),
        image_size: int = 84,
        distractors: Sequence[str] = (),
    ) -> None:
        """
        Args:
            task: Meta-World name such as `drawer-open-v3`.
            horizon: steps until truncation.
            render_mode: `rgb_array` or None.
            camera: whose pictures `render` takes.
            render_size: width and height of those pictures, in pixels.
            reward_function_version: Meta-World's reward version, `v1` or `v2`.
            cameras: cameras whose pictures become observations.
            image_size: width and height of those pictures, in pixels.
            distractors: names of `robopref_envs.distractors.DISTRACTORS` that the pictures show.

        Raises:
            InputError: if the scene has no such camera, or there is no such distractor.
        """
        self.task = task
        self.horizon = horizon
        self.render_mode = render_mode
        self.camera = camera
        self.render_size = render_size
        self.cameras = tuple(cameras)
        self.image_size = image_size
        self.reward_function_version = reward_function_version
        env = ALL_V3_ENVIRONMENTS[task](reward_function_version=reward_function_version)
        # These four are what Meta-World's own `set_task` would set from its pickled task: goals
        # are drawn at every reset from the environment's generator and shown to the policy.
        env._set_task_called = True
        env._freeze_rand_vec = False
        env.seeded_rand_vec = True
        env._partially_observable = False
        env.__dict__.pop("sawyer_observation_space", None)
        env.max_path_length = 10**9  # the horizon is counted here
        self.sawyer = env
        space = env.sawyer_observation_space
        numbers = Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
        picture = Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space: gymnasium.Space[Any] = (
            Dict({"flat": numbers, **{f"{name}_image": picture for name in cameras}})
            if cameras
            else numbers
        )
        self.action_space = Box(-1.0, 1.0, (4,), np.float32)
        self._steps = 0
        self._frame_before = np.zeros(18)  # second third of the latest observation
        self._placed: NDArray[np.float64] | None = None
        """Goal that `set_state` prepared the scene for, while nothing else has touched it."""
        check_cameras(env.model, (*cameras, camera), f"metaworld/{task}")
        check_distractors(distractors, f"metaworld/{task}")
        self.distractors = tuple(distractors)
        self._scene = SceneCameras(env.model)

    @property
    def env_args(self) -> dict[str, Any]:
        """What a dataset file says about the environment (robomimic's `env_args`)."""
        return {
            "env_name": f"metaworld/{self.task}",
            "type": 2,  # robomimic's EnvType.GYM_TYPE
            "env_version": version("metaworld"),
            "env_kwargs": {
                "horizon": self.horizon,
                "reward_function_version": self.reward_function_version,
                **(
                    {"cameras": list(self.cameras), "image_size": self.image_size}
                    if self.cameras
                    else {}
                ),
                **({"distractors": list(self.distractors)} if self.distractors else {}),
            },
            "entities": {
                "hand": {"key": "flat", "first": 0},
                "object": {"key": "flat", "first": 4},
                "goal": {"key": "flat", "first": 36},
            },
            "mujoco_version": mujoco.__version__,
            "gymnasium_version": gymnasium.__version__,
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode with a fresh goal."""
        super().reset(seed=seed)
        if seed is not None:
            self.sawyer.seed(seed)
        if self.distractors:
            self._scene.distractors = Distractors.draw(self.distractors, self.np_random)
        self._steps, self._placed = 0, None
        self.sawyer.reset()
        return self._reset_in_place(), {"success": False}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Moves one step; actions outside [-1, 1] are clipped."""
        self._frame_before, self._placed = self.sawyer._prev_obs, None
        observation, reward, _, _, info = self.sawyer.step(np.clip(action, -1.0, 1.0))
        self._steps += 1
        info["success"] = bool(info["success"])
        return (
            self._with_pictures(observation.astype(np.float32)),
            float(reward),
            False,
            self._steps >= self.horizon,
            info,
        )

    def get_state(self) -> NDArray[np.float64]:
        """(S,): all that `set_state` needs to continue from this very step."""
        physics = physics_state(self.sawyer.model, self.sawyer.data)
        return np.concatenate(
            [self.sawyer._last_rand_vec, [self._steps], self._frame_before, physics]
        )

    def set_state(self, state: NDArray[np.float64]) -> Observation:
        """Restores a state of `get_state` and returns its observation."""
        goal_size = len(self.sawyer._random_reset_space.low)
        goal, rest = state[:goal_size], state[goal_size:]
        if self._placed is None or not np.array_equal(goal, self._placed):
            # The reset places furniture and goal sites in the model, which the physics state lacks.
            self.sawyer._freeze_rand_vec, self.sawyer._last_rand_vec = True, goal.copy()
            self.sawyer.reset_model()
            self.sawyer._freeze_rand_vec = False
            self._reset_in_place()
            self._placed = goal.copy()
        self._steps = int(rest[0])
        self.sawyer.curr_path_length = self._steps
        restore_physics(self.sawyer.model, self.sawyer.data, rest[19:])
        for site in self.sawyer._target_site_config:
            self.sawyer._set_pos_site(*site)
        return self._observe(frame_before=rest[1:19].copy())

    def _reset_in_place(self) -> Observation:
        """Resets once more to the goal just drawn, and returns the observation.

        Meta-World reads initial positions (for its reward) and the first observation before
        the simulator has seen where the reset put the furniture, so both would be those of the
        episode before. The second reset finds everything in place.
        """
        self.sawyer._freeze_rand_vec = True
        mujoco.mj_resetData(self.sawyer.model, self.sawyer.data)
        self.sawyer.reset_model()
        self.sawyer._freeze_rand_vec = False
        mujoco.mj_forward(self.sawyer.model, self.sawyer.data)
        for site in self.sawyer._target_site_config:
            self.sawyer._set_pos_site(*site)
        self.sawyer.curr_path_length = 0
        return self._observe(frame_before=self.sawyer._get_curr_obs_combined_no_goal())

    def _observe(self, frame_before: NDArray[np.float64]) -> Observation:
        """The observation of this instant, clipped to the space as a step clips it."""
        self._frame_before = self.sawyer._prev_obs = frame_before
        space = self.sawyer.sawyer_observation_space
        flat = np.clip(self.sawyer._get_obs(), space.low, space.high).astype(np.float32)
        return self._with_pictures(flat)

    def _with_pictures(self, flat: NDArray[np.float32]) -> Observation:
        if not self.cameras:
            return flat
        pictures = {
            f"{name}_image": self._scene.picture(self.sawyer.data, name, self.image_size)
            for name in self.cameras
        }
        return {"flat": flat, **pictures}

    def demonstrator(self, mix: Mapping[str, Any], rng: np.random.Generator) -> Demonstrator:
        """Draws one scripted demonstrator for the episode that follows.

        Args:
            mix: fields of `robopref_envs.mix.Mix`.
            rng: source of all its randomness.
        """
        return Demonstrator.draw(MetaWorldExpert(self.task), self.horizon, mix, rng)

    def render(self) -> NDArray[np.uint8]:
        """(render_size, render_size, 3): the scene, upright."""
        return self._scene.picture(self.sawyer.data, self.camera, self.render_size)

    def close(self) -> None:
        """Frees the renderer."""
        self._scene.close()
        self.sawyer.close()

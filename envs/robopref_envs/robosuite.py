"""robosuite tasks as Gymnasium environments: fixed horizon, fresh placements, restorable states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import robosuite
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray
from robosuite.controllers import load_composite_controller_config

from robopref.errors import InputError
from robopref_envs.demonstrators import Demonstrator
from robopref_envs.distractors import Distractors, check_distractors
from robopref_envs.rendering import SceneCameras, check_cameras
from robopref_envs.robosuite_experts import EXPERTS
from robopref_envs.robosuite_state import StateKeeper

Observation = dict[str, NDArray[Any]]

HORIZONS: Mapping[str, int] = {"Lift": 100, "PickPlaceCan": 300, "NutAssemblySquare": 300}
"""Steps of an episode by default: two to three times what the scripted expert needs."""
OTHER_HORIZON = 500
OBJECT_OF: Mapping[str, str] = {
    "Lift": "cube", "Stack": "cubeA", "PickPlaceCan": "Can", "PickPlaceMilk": "Milk",
    "PickPlaceBread": "Bread", "PickPlaceCereal": "Cereal", "NutAssemblySquare": "SquareNut",
    "NutAssemblyRound": "RoundNut", "Door": "door", "ToolHang": "tool",
}  # fmt: skip
"""The object that a task is about, as its observables are called (`<name>_pos`)."""
SETTLED_STEPS = 5
"""Steps after which objects, which robosuite drops from up to 6 cm, lie on the table."""
VELOCITIES = ("eef_vel_lin", "eef_vel_ang")
MODEL_SEED = 0
"""Sizes of objects are drawn when the model is made; with one seed all processes get the same."""


class RobosuiteEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One robosuite task with robomimic's observation keys.

    Observations are a dictionary: `robot0_eef_pos` (3,) in metres, `robot0_eef_quat` (4,) xyzw,
    `robot0_gripper_qpos` (2,), `object` (task by task), `<camera>_image` (H, W, 3) uint8. Actions
    are those of the controller in [-1, 1]; Panda's has (7,): displacement of the hand (1 = 5 cm),
    rotation vector (1 = 0.5 rad), gripper (above 0 closes). Every reset draws a fresh placement.
    The episode never terminates; it is truncated after `horizon` steps, also after success, which
    is in `info["success"]`.

    Steps are robosuite's own, bit for bit, but observations and reward are read after the
    simulator has brought positions up to date. robosuite itself reads some of them one to
    twenty-five simulator steps too early, so that its own observations cannot be restored from a
    state; robomimic reads them from restored states, as here.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        task: str,
        horizon: int | None = None,
        robots: str | Sequence[str] = "",
        controller: Mapping[str, Any] | None = None,
        reward_shaping: bool = True,
        control_freq: int = 20,
        lite_physics: bool = True,
        observation_keys: Sequence[str] = (),
        cameras: Sequence[str] = (),
        image_size: int = 84,
        render_mode: str | None = None,
        camera: str = "agentview",
        render_size: int = 224,
        distractors: Sequence[str] = (),
    ) -> None:
        """
        Args:
            task: robosuite's class name, such as `PickPlaceCan`.
            horizon: steps until truncation, the task's own by default.
            robots: robosuite's names of robots, `Panda` (two for tasks of two arms) by default.
            controller: robosuite's composite controller configuration, the robot's default when
                None.
            reward_shaping: whether the true reward grades progress. Scripted teachers compare
                segments by it, and without shaping nearly all comparisons would be ties.
            control_freq: actions per second.
            lite_physics: robosuite's faster stepping; False repeats robosuite 1.4.
            observation_keys: low-dimensional keys, those in the class docstring by default.
            cameras: cameras whose pictures become observations.
            image_size: width and height of those pictures, in pixels.
            render_mode: `rgb_array` or None.
            camera: whose pictures `render` takes.
            render_size: width and height of those pictures, in pixels.
            distractors: names of `robopref_envs.distractors.DISTRACTORS` that the pictures show.

        Raises:
            InputError: if robosuite does not know the task, a robot, a camera or a key, or there
                is no such distractor.
        """
        self.task = task
        self.horizon = horizon or HORIZONS.get(task, OTHER_HORIZON)
        self.render_mode = render_mode
        self.camera = camera
        self.cameras = tuple(cameras)
        check_distractors(distractors, f"robosuite/{task}")
        self.distractors = tuple(distractors)
        self.image_size = image_size
        self.render_size = render_size
        two = task.startswith("TwoArm")
        names = [robots] if isinstance(robots, str) and robots else list(robots)
        names = names or ["Panda"] * (1 + two)
        for name in names:
            if name not in robosuite.ALL_ROBOTS:
                close = ", ".join(get_close_matches(name, robosuite.ALL_ROBOTS, cutoff=0.0))
                raise InputError(
                    f"env=robosuite/{task}: has no robot {name!r}; did you mean {close}?"
                )
        self._arguments: dict[str, Any] = {
            "robots": names,
            "reward_shaping": reward_shaping,
            "control_freq": control_freq,
            "lite_physics": lite_physics,
            "hard_reset": False,  # a model made anew takes 0.7 s; placements are fresh all the same
            "ignore_done": True,
            "has_renderer": False,
            "has_offscreen_renderer": False,
            "use_camera_obs": False,
            "use_object_obs": True,
        }
        self._arguments["controller_configs"] = dict(
            controller or load_composite_controller_config(robot=names[0])
        )
        self.suite = robosuite.make(task, **self._arguments, seed=MODEL_SEED)
        self._bind()
        check_cameras(self._model, (*self.cameras, camera), f"robosuite/{task}")
        self._steps = 0
        self._seeded = False
        self._proprioception = tuple(
            f"robot{index}_{name}"
            for index in range(len(self.suite.robots))
            for name in ("eef_pos", "eef_quat", "gripper_qpos")
            if f"robot{index}_{name}" in self.suite._observables
        )
        self.keys = tuple(observation_keys) or (*self._proprioception, "object")
        self.arrange_parts: Callable[[Sequence[str]], tuple[str, ...]] = tuple
        self.negated_parts: frozenset[str] = frozenset()
        self.scene_version = robosuite.__version__
        self.observation_space = self._space()
        low, high = (np.asarray(limit, dtype=np.float32) for limit in self.suite.action_spec)
        self.action_space = Box(low, high, dtype=np.float32)

    def _bind(self) -> None:
        """Looks up what belongs to the present scene."""
        self._model, self._data = self.suite.sim.model._model, self.suite.sim.data._data
        self._scene = SceneCameras(self._model, hidden_groups=(0,))
        self._states = StateKeeper(self.suite)

    @property
    def env_args(self) -> dict[str, Any]:
        """What a dataset file says about the environment, in robomimic's form."""
        picture = {"camera_names": list(self.cameras), "camera_depths": False}
        picture |= {"camera_heights": self.image_size, "camera_widths": self.image_size}
        return {
            "env_name": self.task,
            "type": 1,  # robomimic's EnvType.ROBOSUITE_TYPE
            "env_version": robosuite.__version__,
            "env_kwargs": {
                **self._arguments,
                "horizon": self.horizon,
                **(picture | {"use_camera_obs": True} if self.cameras else {}),
                **({"distractors": list(self.distractors)} if self.distractors else {}),
            },
            "entities": self._entities(),
            "mujoco_version": mujoco.__version__,
            "gymnasium_version": gymnasium.__version__,
        }

    @property
    def episode_attributes(self) -> dict[str, str]:
        """What robomimic keeps with each episode: the scene, without this machine's folders."""
        folder = Path(robosuite.__file__).parent.parent
        return {"model_file": self.suite.sim.model.get_xml().replace(f"{folder}/", "")}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode with a fresh placement."""
        super().reset(seed=seed)
        if self.distractors:
            self._scene.distractors = Distractors.draw(self.distractors, self.np_random)
        if seed is not None or not self._seeded:
            # Placement samplers and robots hold this generator, so it is reseeded in place.
            self._seeded = True
            fresh = np.random.default_rng(seed)
            self.suite.rng.bit_generator.state = fresh.bit_generator.state
        self.suite.reset()
        self._states.forget_commands()
        self._data.qacc_warmstart[:] = 0.0  # else it is that of the episode before
        self._steps = 0
        # Controllers have read the arm before the reset was complete; restored, they read it anew,
        # so that an episode and its replay from the first state are the same.
        return self.set_state(self.get_state()), {"success": False}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Moves one step; actions outside [-1, 1] are clipped."""
        suite, sim = self.suite, self.suite.sim
        action = np.clip(
            np.asarray(action, np.float32), self.action_space.low, self.action_space.high
        )
        begin, end = (sim.step1, sim.step2) if suite.lite_physics else (sim.forward, sim.step)
        suite.timestep += 1
        for substep in range(int(suite.control_timestep / suite.model_timestep)):
            begin()
            suite._pre_action(action, substep == 0)
            end()
        suite.cur_time += suite.control_timestep
        observation = self._observe()
        reward, _, info = suite._post_action(action)
        self._steps += 1
        info = {**info, "success": bool(suite._check_success())}
        return observation, float(reward), False, self._steps >= self.horizon, info

    def get_state(self) -> NDArray[np.float64]:
        """(S,): all that `set_state` needs to continue from this very step."""
        return self._states.save(self._steps)

    def set_state(self, state: NDArray[np.float64]) -> Observation:
        """Restores a state of `get_state`, or robosuite's own of a reset, and observes it."""
        self._steps = self._states.restore(state)
        return self._observe()

    def load_model(self, xml: str) -> None:
        """Takes the scene of one recorded episode, whose objects may have other sizes.

        Args:
            xml: `model_file` of an episode of a robomimic file. Scenes of earlier versions of
                robosuite do not fit this one, and the present scene stays.
        """
        known = xml == self.episode_attributes["model_file"]
        if self.scene_version == robosuite.__version__ and not known:
            self._scene.close()
            self.suite.reset_from_xml_string(self.suite.edit_model_xml(xml))
            self._bind()

    def demonstrator(self, mix: Mapping[str, Any], rng: np.random.Generator) -> Demonstrator:
        """Draws one scripted demonstrator for the episode that follows.

        Args:
            mix: fields of `robopref_envs.mix.Mix`.
            rng: source of all its randomness.

        Raises:
            InputError: if the task has no scripted expert or the mix is wrong.
        """
        if self.task not in EXPERTS:
            raise InputError(
                f"env=robosuite/{self.task}: has no scripted expert; choose from "
                f"{', '.join(EXPERTS)}, or record data instead"
            )
        return Demonstrator.draw(EXPERTS[self.task](), self.horizon, mix, rng)

    def render(self) -> NDArray[np.uint8]:
        """(render_size, render_size, 3): the scene, upright."""
        return self._scene.picture(self._data, self.camera, self.render_size)

    def close(self) -> None:
        """Frees the renderer."""
        self._scene.close()
        self.suite.close()

    def _observe(self) -> Observation:
        """Brings positions up to date and reads the observations, without touching the motion."""
        warmstart = self._data.qacc_warmstart.copy()
        mujoco.mj_forward(self._model, self._data)
        self._data.qacc_warmstart[:] = warmstart
        # Some sensors read others that are computed after them; the second pass finds them fresh.
        self.suite._update_observables(force=True)
        values = self.suite._get_observations(force_update=True)
        observation = {key: self._value(values, key) for key in self.keys}
        pictures = {
            f"{name}_image": self._scene.picture(self._data, name, self.image_size)
            for name in self.cameras
        }
        return observation | pictures

    def _space(self) -> Dict:
        self.suite.reset()
        mujoco.mj_forward(self._model, self._data)
        values = self.suite._get_observations(force_update=True)
        spaces: dict[str, gymnasium.Space[Any]] = {
            key: Box(-np.inf, np.inf, self._value(values, key).shape, np.float32)
            for key in self.keys
        }
        shape = (self.image_size, self.image_size, 3)
        spaces |= {f"{name}_image": Box(0, 255, shape, np.uint8) for name in self.cameras}
        return Dict(spaces)

    def _entities(self) -> dict[str, Any]:
        """Where hand, object and goal are, as far as the observations tell."""
        entities: dict[str, Any] = {}
        if self._proprioception[0] in self.keys:
            entities["hand"] = {"key": self._proprioception[0], "first": 0}
        first = self._object_index()
        if "object" in self.keys and first is not None:
            entities["object"] = {"key": "object", "first": first, "settled": SETTLED_STEPS}
        if self.task in EXPERTS:
            entities["goal"] = EXPERTS[self.task].goal
        return entities

    @property
    def object_parts(self) -> tuple[str, ...]:
        """Names of robosuite's observations that are side by side in `object`."""
        return self.arrange_parts(
            [
                name
                for name, observable in self.suite._observables.items()
                if observable.modality == "object" and observable.is_active()
            ]
        )

    def _object_index(self) -> int | None:
        """First index of the object's position in the key `object`."""
        name, parts = f"{OBJECT_OF.get(self.task)}_pos", self.object_parts
        if name not in parts:
            return None
        before = parts[: parts.index(name)]
        return sum(int(np.size(self.suite._observables[part].obs)) for part in before)

    def _value(self, values: Mapping[str, Any], key: str) -> NDArray[np.float32]:
        """(D,): one observation, given all of robosuite's."""
        robot, _, name = key.partition("_")
        if key == "object":
            value = np.concatenate(
                [
                    -values[part] if part in self.negated_parts else np.ravel(values[part])
                    for part in self.object_parts
                ]
            )
        elif name in VELOCITIES and f"{robot}_eef_pos" in values:
            value = self._velocity(int(robot.removeprefix("robot")), name)
        elif key in values:
            value = np.ravel(values[key])
        else:
            known = ", ".join(sorted(known for known in values if not known.endswith("-state")))
            raise InputError(
                f"env=robosuite/{self.task}: has no observation {key!r}; choose from object, "
                f"{known}"
            )
        return np.asarray(value, dtype=np.float32)

    def _velocity(self, robot: int, name: str) -> NDArray[np.float64]:
        """(3,): velocity of the hand in the world, which robosuite 1.4 told and 1.5 does not."""
        (body, *_) = self.suite.robots[robot].robot_model.eef_name.values()
        data = self.suite.sim.data
        return data.get_body_xvelp(body) if name == "eef_vel_lin" else data.get_body_xvelr(body)

"""Environments as robomimic files describe them, of this and earlier versions of robosuite.

Versions 1.2 to 1.4 are translated where that is exact: the arm's controller becomes one part of a
composite controller, stepping is that of 1.4, and `object` has its parts in the old order and
direction. What cannot be translated is refused with the way out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import robosuite
from robosuite.controllers.composite.composite_controller_factory import (
    is_part_controller_config,
    refactor_composite_controller_config,
)

from robopref.errors import InputError
from robopref_envs.robosuite import RobosuiteEnv

IRRELEVANT = frozenset(
    (
        "has_renderer has_offscreen_renderer ignore_done use_object_obs hard_reset camera_depths "
        "camera_widths camera_segmentations render_camera render_collision_mesh "
        "render_visual_mesh render_gpu_device_id renderer renderer_config seed"
    ).split()
)
"""Recorded arguments of robosuite that change nothing here."""
OLD_PARTS = ("pos", "quat", "to_robot0_eef_pos", "to_robot0_eef_quat")
"""Order of an object's observations up to robosuite 1.4; 1.5 begins with the last two."""
NEGATED = frozenset({"gripper_to_cube_pos"})
"""Differences that robosuite 1.4 took the other way round."""
REORDERED = ("PickPlace", "NutAssembly", "ToolHang")
"""Beginnings of tasks whose observations of objects consist of those four."""


def from_recorded(task: str, recorded_version: str = "", **arguments: Any) -> RobosuiteEnv:
    """Makes the environment that a robomimic file describes.

    Args:
        task: robosuite's class name.
        recorded_version: version of robosuite that wrote the file, this one when empty.
        **arguments: `env_kwargs` of the file, or arguments of `RobosuiteEnv`; those that only
            concern robosuite's windows and renderers are passed over.

    Raises:
        InputError: if the version or an argument has no exact counterpart here.
    """
    given = {name: value for name, value in arguments.items() if name not in IRRELEVANT}
    cameras, height = given.pop("camera_names", ()), given.pop("camera_heights", 84)
    if given.pop("use_camera_obs", False):
        given["cameras"] = [cameras] if isinstance(cameras, str) else cameras
    given.setdefault("image_size", height if isinstance(height, int) else height[0])
    controller = given.pop("controller_configs", None)
    given["controller"] = controller[0] if isinstance(controller, list) else controller
    _check_version(task, recorded_version, given["controller"])
    if _is_old(recorded_version):
        given["lite_physics"] = False
        if given["controller"] is not None:
            given["controller"] = _composite(task, given["controller"], given.get("robots", ()))
    unknown = sorted(set(given) - set(inspect.signature(RobosuiteEnv).parameters))
    if unknown:
        raise InputError(
            f"env=robosuite/{task}: the recorded argument {unknown[0]!r} is not supported; remove "
            "it from env_args['env_kwargs'] of the file if it has robosuite's default value"
        )
    env = RobosuiteEnv(task, **given)
    if _is_old(recorded_version):
        env.arrange_parts = partial(_old_order, task)
        env.negated_parts = NEGATED
        env.scene_version = recorded_version
    return env


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _is_old(version: str) -> bool:
    return bool(version) and _number(version) < (1, 5)


def _check_version(task: str, version: str, controller: Any) -> None:
    """Refuses files of versions that nothing is known about."""
    installed = _number(robosuite.__version__)
    if version and not (1, 2) <= _number(version) <= installed:
        raise InputError(
            f"env=robosuite/{task}: the file was recorded with robosuite {version}, and "
            f"{robosuite.__version__} is installed, which cannot play it; make an environment of "
            f"its own for it (pip install 'robosuite=={version}')"
        )
    if _is_old(version) and not task.startswith((*REORDERED, "Lift")):
        raise InputError(
            f"env=robosuite/{task}: the file was recorded with robosuite {version}, whose 'object' "
            f"has its parts in another order than that of {robosuite.__version__}; record it again "
            f"or play it in an environment of its own (pip install 'robosuite=={version}')"
        )
    if isinstance(controller, Mapping) and "type" not in controller:
        raise InputError(
            f"env=robosuite/{task}: the recorded controller has no 'type'; write robosuite's "
            "configuration to env_args['env_kwargs']['controller_configs']"
        )


def _composite(task: str, controller: Mapping[str, Any], robots: str | Sequence[str]) -> Any:
    """The controller in robosuite 1.5's form."""
    if not is_part_controller_config(dict(controller)):
        raise InputError(
            f"env=robosuite/{task}: robosuite {robosuite.__version__} has no controller "
            f"{controller['type']!r}; record with one of OSC_POSE, OSC_POSITION, JOINT_POSITION, "
            "JOINT_VELOCITY, JOINT_TORQUE"
        )
    part = dict(controller)
    # 1.4 said with a truth value what 1.5 says with two words; it moved in the world's frame.
    part["input_type"] = "delta" if part.pop("control_delta", True) else "absolute"
    part["input_ref_frame"] = "world"
    robot = robots if isinstance(robots, str) else (list(robots) or ["Panda"])[0]
    return refactor_composite_controller_config(part, robot, ["right"])


def _old_order(task: str, parts: Sequence[str]) -> tuple[str, ...]:
    """Names of the parts of `object` in the order of robosuite 1.4."""
    if not task.startswith(REORDERED):
        return tuple(parts)
    objects = [name.removesuffix("_pos") for name in parts if name.endswith("_pos")]
    objects = [name for name in objects if f"{name}_quat" in parts and "_to_" not in name]
    moved = [f"{name}_{part}" for name in objects for part in OLD_PARTS]
    return (*moved, *(name for name in parts if name not in moved))

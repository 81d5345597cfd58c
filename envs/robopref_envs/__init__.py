"""Simulators and robots for robopref, registered by id; none is imported before it is made.

`gymnasium.make("robopref_envs:metaworld/drawer-open-v3")` imports this package, then the
adapter, then the simulator.
"""

from __future__ import annotations

import logging
import os
from ctypes.util import find_library

import gymnasium


def headless_backend() -> str:
    """MuJoCo's name of the library that renders with no screen, EGL where there is one."""
    return "osmesa" if find_library("OSMesa") and not find_library("EGL") else "egl"


if "MUJOCO_GL" not in os.environ:
    os.environ["MUJOCO_GL"] = headless_backend()  # before mujoco is imported
# robosuite warns on import about optional packages and macros that nothing here uses.
logging.getLogger("robosuite_logs").addFilter(lambda record: record.levelno >= logging.ERROR)

METAWORLD_TASKS = tuple(
    f"{name}-v3"
    for name in (
        "assembly basketball bin-picking box-close button-press-topdown "
        "button-press-topdown-wall button-press button-press-wall coffee-button coffee-pull "
        "coffee-push dial-turn disassemble door-close door-lock door-open door-unlock "
        "hand-insert drawer-close drawer-open faucet-open faucet-close hammer "
        "handle-press-side handle-press handle-pull-side handle-pull lever-pull "
        "pick-place-wall pick-out-of-hole pick-place plate-slide plate-slide-side "
        "plate-slide-back plate-slide-back-side peg-insert-side peg-unplug-side soccer "
        "stick-push stick-pull push push-wall push-back reach reach-wall shelf-place "
        "sweep-into sweep window-open window-close"
    ).split()
)

ROBOSUITE_TASKS = {
    "lift": "Lift",
    "stack": "Stack",
    "pick-place": "PickPlace",
    "pick-place-single": "PickPlaceSingle",
    "pick-place-milk": "PickPlaceMilk",
    "pick-place-bread": "PickPlaceBread",
    "pick-place-cereal": "PickPlaceCereal",
    "pick-place-can": "PickPlaceCan",
    "nut-assembly": "NutAssembly",
    "nut-assembly-single": "NutAssemblySingle",
    "nut-assembly-square": "NutAssemblySquare",
    "nut-assembly-round": "NutAssemblyRound",
    "door": "Door",
    "wipe": "Wipe",
    "tool-hang": "ToolHang",
    "two-arm-lift": "TwoArmLift",
    "two-arm-peg-in-hole": "TwoArmPegInHole",
    "two-arm-handover": "TwoArmHandover",
    "two-arm-transport": "TwoArmTransport",
}
"""Name in the Gymnasium id to robosuite's own, which robomimic files use as `env_name`."""

for _task in METAWORLD_TASKS:
    gymnasium.register(
        id=f"metaworld/{_task}",
        entry_point="robopref_envs.metaworld:MetaWorldEnv",
        kwargs={"task": _task},
        disable_env_checker=True,
    )
for _name, _task in ROBOSUITE_TASKS.items():
    gymnasium.register(
        id=f"robosuite/{_name}",
        entry_point="robopref_envs.robosuite:RobosuiteEnv",
        kwargs={"task": _task},
        disable_env_checker=True,
    )
    gymnasium.register(
        id=f"robosuite/{_task}",
        entry_point="robopref_envs.robosuite_files:from_recorded",
        kwargs={"task": _task},
        disable_env_checker=True,
    )
for _task in ("avoid", "group"):
    gymnasium.register(
        id=f"xmagical/{_task}",
        entry_point="robopref_envs.xmagical:XMagicalEnv",
        kwargs={"task": _task},
        disable_env_checker=True,
    )
gymnasium.register(
    id="gym_hil/pick-cube",
    entry_point="robopref_envs.gym_hil:PickCubeEnv",
    disable_env_checker=True,
)
gymnasium.register(
    id="toy/point-mass-v0",
    entry_point="robopref_envs.toy:PointMassEnv",
    disable_env_checker=True,
)

"""Simulators and robots for robopref, registered by id; none is imported before it is made.

`gymnasium.make("robopref_envs:metaworld/drawer-open-v3")` imports this package, then the
adapter, then the simulator.
"""

from __future__ import annotations

import os

import gymnasium

os.environ.setdefault("MUJOCO_GL", "egl")  # before mujoco is imported: rendering with no screen

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

for _task in METAWORLD_TASKS:
    gymnasium.register(
        id=f"metaworld/{_task}",
        entry_point="robopref_envs.metaworld:MetaWorldEnv",
        kwargs={"task": _task},
        disable_env_checker=True,
    )
gymnasium.register(
    id="toy/point-mass-v0",
    entry_point="robopref_envs.toy:PointMassEnv",
    disable_env_checker=True,
)

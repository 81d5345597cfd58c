"""MuJoCo's state, kept and restored: what follows a restored one is the same bit by bit."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION


def physics_state(model: mujoco.MjModel, data: mujoco.MjData) -> NDArray[np.float64]:
    """(P,): all that the simulation continues from."""
    state = np.empty(mujoco.mj_stateSize(model, PHYSICS))
    mujoco.mj_getState(model, data, state, PHYSICS)
    return state


def restore_physics(model: mujoco.MjModel, data: mujoco.MjData, state: NDArray[np.float64]) -> None:
    """Restores what `physics_state` gave, and computes what follows from it, such as positions."""
    mujoco.mj_setState(model, data, state, PHYSICS)
    mujoco.mj_forward(model, data)
    # mj_forward rewrote the solver's warm start, which the next step reads.
    mujoco.mj_setState(model, data, state, PHYSICS)

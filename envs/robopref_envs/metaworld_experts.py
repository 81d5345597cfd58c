"""Meta-World's own scripted experts, as demonstrators drive them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from robopref_envs.demonstrators import ScriptedExpert, Vector

USUAL_STEPS: Mapping[str, int] = {
    "assembly": 90, "basketball": 91, "bin-picking": 105, "box-close": 109, "button-press": 61,
    "button-press-topdown": 71, "button-press-topdown-wall": 60, "button-press-wall": 68,
    "coffee-button": 40, "coffee-pull": 82, "coffee-push": 54, "dial-turn": 77,
    "disassemble": 113, "door-close": 64, "door-lock": 63, "door-open": 72, "door-unlock": 45,
    "drawer-close": 77, "drawer-open": 91, "faucet-close": 66, "faucet-open": 60, "hammer": 68,
    "hand-insert": 59, "handle-press": 37, "handle-press-side": 48, "handle-pull": 91,
    "handle-pull-side": 84, "lever-pull": 83, "peg-insert-side": 80, "peg-unplug-side": 105,
    "pick-out-of-hole": 115, "pick-place": 52, "pick-place-wall": 84, "plate-slide": 51,
    "plate-slide-back": 46, "plate-slide-back-side": 53, "plate-slide-side": 45, "push": 62,
    "push-back": 77, "push-wall": 77, "reach": 45, "reach-wall": 42, "shelf-place": 88,
    "soccer": 47, "stick-pull": 106, "stick-push": 72, "sweep": 96, "sweep-into": 51,
    "window-close": 83, "window-open": 91,
}  # fmt: skip
"""Steps that the scripted expert of each task needs until success (median of four episodes)."""


class MetaWorldExpert(ScriptedExpert):
    """The scripted policy that Meta-World has for a task."""

    noise_scale = np.ones(4)
    waypoint_steps = (30, 60)
    reach = (np.array([-0.35, 0.45, 0.06]), np.array([0.35, 0.85, 0.35]))

    def __init__(self, task: str) -> None:
        """
        Args:
            task: Meta-World name such as `drawer-open-v3`.
        """
        self.usual_steps = USUAL_STEPS[task.removesuffix("-v3")]
        self._policy = ENV_POLICY_MAP[task]()
        self._offset = np.zeros(3)

    def act(self, observation: Any) -> Vector:
        """(4,): the scripted policy's action."""
        seen = _numbers(observation)
        seen[4:7] += self._offset  # the object
        seen[36:39] += self._offset  # the goal
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experts warn that their own constants are high
            action = self._policy.get_action(seen)
        return np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)

    def towards(self, observation: Any, point: Vector, gripper: float) -> Vector:
        """(4,): the action that moves the hand straight to a point."""
        direction = np.clip(10.0 * (point - _numbers(observation)[:3]), -1.0, 1.0)
        return np.append(direction, gripper)

    def displace(self, offset: Vector) -> None:
        """From now on takes object and goal to be (3,) metres away from where they are."""
        self._offset = offset


def _numbers(observation: Any) -> Vector:
    """(39,): the numbers of an observation with or without pictures, as a copy."""
    flat = observation["flat"] if isinstance(observation, Mapping) else observation
    return np.array(flat, dtype=np.float64)

"""Scripted demonstrators that push blocks in X-MAGICAL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BEHAVIOURS: Mapping[str, str] = {
    "expert": "does the task as people want it done",
    "direct": "does the task the shortest way: through the zone, or block by block",
    "stop": "the expert for a part of the episode, then holds still",
    "stop_direct": "the same of the shortest way",
    "wander": "drives between random points",
}
GOAL = 1.0
"""Height to which blocks are pushed."""
BEHIND = 0.24
"""Distance from a block at which a push begins."""

Vector = NDArray[np.float64]


class Pusher:
    """Acts for one episode; `act` once per step from the first."""

    def __init__(self, env: Any, behaviour: str, noise: float, rng: np.random.Generator) -> None:
        """
        Args:
            env: an `XMagicalEnv`, whose positions it reads.
            behaviour: one of `BEHAVIOURS`.
            noise: standard deviation of the action noise.
            rng: source of all randomness.
        """
        self.behaviour = behaviour
        self._env = env
        self._noise = noise
        self._rng = rng
        self._steps = 0
        self._stop = int(rng.uniform(0.1, 0.7) * env.horizon)
        self._way: list[tuple[tuple[int, ...], Vector]] | None = None
        self._pushing = False
        self._point = rng.uniform(-0.9, 0.9, 2)
        robot = env.scene.robot_cls(radius=env.scene.ROBOT_RAD, init_pos=(0, 0), init_angle=0.0)
        self._half_width = getattr(robot, "width", 2.0 * robot.radius) / 2.0
        # Far enough to turn there without touching the block.
        self._behind = max(BEHIND, self._half_width + 0.16)

    def act(self, observation: Any) -> NDArray[np.float32]:
        """(A,): the action, noise included, in [-1, 1]."""
        action = np.zeros(self._env.action_space.shape[0])
        action[:2] = self._intended()
        action[:2] += self._rng.normal(0.0, 1.0, 2) * self._noise
        self._steps += 1
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def _intended(self) -> Vector:
        if self.behaviour == "wander":
            if np.linalg.norm(self._env.robot_position - self._point) < 0.15:
                self._point = self._rng.uniform(-0.9, 0.9, 2)
            return self._drive(self._point)
        if self.behaviour.startswith("stop") and self._steps >= self._stop:
            return np.zeros(2)
        if self._way is None:
            self._way = self._plan()
        while self._way:
            blocks, target = self._way[0]
            place = self._env.block_positions[list(blocks)].mean(0)
            if np.linalg.norm(target - place) < 0.08 or self._reached(blocks, place, target):
                self._way.pop(0)
                self._pushing = False
                continue
            return self._push(place, target)
        return np.zeros(2)

    def _reached(self, blocks: tuple[int, ...], place: Vector, target: Vector) -> bool:
        """Whether a block that is pushed against another one touches it."""
        positions = self._env.block_positions
        if target[1] >= GOAL or len(positions) == 1:
            return bool(target[1] >= GOAL and place[1] > GOAL - 0.1)
        return bool(np.linalg.norm(positions[0] - positions[1]) < 0.26)

    def _plan(self) -> list[tuple[tuple[int, ...], Vector]]:
        """Which blocks go where, in turn."""
        positions = self._env.block_positions
        wanted = self.behaviour in ("expert", "stop")
        if self._env.task == "avoid":
            x, y = positions[0]
            if not wanted:
                return [((0,), np.array([x, GOAL]))]
            zone = self._env.scene.zone_centre
            side = 1.0 if x > zone[0] else -1.0
            around = zone[0] + side * 0.56
            return [((0,), np.array([around, y + 0.3])), ((0,), np.array([around, GOAL]))]
        if not wanted:
            order = self._rng.permutation(2)
            return [((int(each),), np.array([positions[each][0], GOAL])) for each in order]
        first = int(self._rng.integers(2))
        return [((first,), positions[1 - first]), ((0, 1), np.array([np.nan, GOAL]))]

    def _push(self, block: Vector, target: Vector) -> Vector:
        """(2,): drives behind the block, then pushes it towards the target."""
        target = np.where(np.isnan(target), block, target)
        ahead = (target - block) / max(float(np.linalg.norm(target - block)), 1e-6)
        aside = np.array([-ahead[1], ahead[0]])
        away = self._env.robot_position - block
        along, lateral = float(away @ ahead), float(away @ aside)
        facing = abs(self._turn_to(ahead)) < 0.35
        if self._pushing:
            self._pushing = along < -0.05 and abs(lateral) < 0.16
        else:
            self._pushing = -self._behind - 0.2 < along < -0.14 and abs(lateral) < 0.05 and facing
        if self._pushing:
            # Steers the stick's middle behind the block's.
            return self._steer(ahead - 2.0 * lateral * aside, fast=1.0)
        start = block - self._behind * ahead
        if along > -0.16 or abs(lateral) > 1.5 * -along:
            # Round the block first.
            side = np.sign(lateral) or 1.0
            if abs(lateral) < 0.2 + self._half_width:
                clear = 0.3 + self._half_width
                return self._drive(block + clear * side * aside + min(along, 0.0) * ahead)
            start = block - (self._behind + 0.16) * ahead + (0.15 + self._half_width) * side * aside
        if np.linalg.norm(self._env.robot_position - start) > 0.06:
            return self._drive(start)
        return np.array([0.0, np.clip(self._turn_to(ahead) / 1.5, -1.0, 1.0)])

    def _drive(self, point: Vector) -> Vector:
        """(2,): drives to a point, backwards where that is behind."""
        return self._steer(point - self._env.robot_position, fast=1.0)

    def _steer(self, direction: Vector, fast: float) -> Vector:
        turn = self._turn_to(direction)
        if abs(turn) > 2.2 and not self._pushing:
            back = (turn + np.pi + np.pi) % (2.0 * np.pi) - np.pi
            speed, turn = -np.cos(back) * fast, back
        else:
            speed = max(np.cos(turn), 0.0) ** 2 * fast
        near = min(float(np.linalg.norm(direction)) / 0.1, 1.0)
        return np.array([speed * max(near, 0.3), np.clip(turn / 1.5, -1.0, 1.0)])

    def _turn_to(self, direction: Vector) -> float:
        """Angle in radians from where the robot faces to a direction."""
        wanted = np.arctan2(-direction[0], direction[1])
        angle = wanted - self._env.scene.robot.body.angle
        return float((angle + np.pi) % (2.0 * np.pi) - np.pi)

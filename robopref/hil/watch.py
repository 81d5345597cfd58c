"""What a session looks like from outside: who drives, how often a person has to, what succeeds."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.hil.steps import Steps

RECENT = 20
"""Episodes that running means are over."""
SHOWN = 200
"""Episodes that curves go back to."""
SILENT_S = 5.0
"""Without a sign of life for so long, an actor counts as away."""


@dataclass
class _Robot:
    steps: int = 0
    by_hand: int = 0
    success: bool = False
    person: bool = False
    heard: float = field(default_factory=time.monotonic)
    total: int = 0
    picture: NDArray[np.uint8] | None = None
    """(C, H, W) of all cameras, the latest."""


class Watch:
    """Counts what arrives, episode by episode. Safe to use from several threads."""

    def __init__(self) -> None:
        self._robots: dict[str, _Robot] = {}
        self._episodes: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self.paused = False
        """Whether robots are to wait before their next episode."""
        self.ending = False
        """Whether somebody asked for the session's end."""

    def alive(self, actor: str) -> None:
        """A sign of life."""
        with self._lock:
            self._robots.setdefault(actor, _Robot()).heard = time.monotonic()

    def see(self, actor: str, steps: Steps) -> None:
        """Steps of an actor, in order."""
        with self._lock:
            robot = self._robots.setdefault(actor, _Robot())
            robot.heard = time.monotonic()
            if steps.next_images.size:
                robot.picture = steps.next_images[-1]
            for row in range(len(steps)):
                if steps.starts[row] and robot.steps:
                    self._end(actor, robot)
                robot.steps += 1
                robot.total += 1
                robot.by_hand += int(steps.intervened[row])
                robot.success |= bool(steps.success[row])
                robot.person = bool(steps.intervened[row])
                if steps.terminated[row] or steps.truncated[row]:
                    self._end(actor, robot)

    def picture(self, actor: str) -> NDArray[np.uint8] | None:
        """(H, W, 3): what an actor's cameras saw last, side by side; None without any."""
        with self._lock:
            found = self._robots[actor].picture if actor in self._robots else None
        if found is None:
            return None
        return np.concatenate(np.split(np.moveaxis(found, 0, -1), len(found) // 3, axis=2), axis=1)

    def state(self) -> dict[str, Any]:
        """For the page: JSON."""
        now = time.monotonic()
        with self._lock:
            recent = self._episodes[-RECENT:]
            return {
                "paused": self.paused,
                "ending": self.ending,
                "episodes": len(self._episodes),
                "success": _mean([episode["success"] for episode in recent]),
                "intervention_rate": _mean([episode["rate"] for episode in recent]),
                "curve": self._episodes[-SHOWN:],
                "robots": [
                    {
                        "name": name,
                        "connected": now - robot.heard < SILENT_S,
                        "control": "person" if robot.person else "policy",
                        "steps": robot.total,
                        "episode_steps": robot.steps,
                        "sees": robot.picture is not None,
                    }
                    for name, robot in sorted(self._robots.items())
                ],
            }

    def _end(self, actor: str, robot: _Robot) -> None:
        self._episodes.append({
            "robot": actor,
            "steps": robot.steps,
            "rate": round(robot.by_hand / robot.steps, 4),
            "success": robot.success,
        })  # fmt: skip
        robot.steps = robot.by_hand = 0
        robot.success = robot.person = False


def _mean(values: list[Any]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None

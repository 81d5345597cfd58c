"""Serves a robot to actors, at its own rate, within limits, with a watchdog.

A simulated arm, reached over the same network path as a real one. It does not start without limits.

Usage:
  robopref hil robot OPTIONS      serves a robot
  robopref hil stop OPTIONS       emergency stop; it stands still until it is released
  robopref hil release OPTIONS    lets it be driven again

Examples:
  robopref hil robot env=metaworld/drawer-open-v3 limits.low=[-0.5,0.3,0] limits.high=[0.5,1,0.5]
      limits.speed=0.25 limits.step=2 limits.metres_per_action=0.01
  robopref hil actor env=metaworld/drawer-open-v3 robot.address=127.0.0.1:50052 operator=keyboard
  robopref hil stop link.address=127.0.0.1:50052
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from robopref.cli.config import run
from robopref.cli.stopping import stopped_gently
from robopref.environments import environment_options, make_env
from robopref.errors import InputError
from robopref.hil.link import LinkConfig
from robopref.hil.remote_robot import emergency_stop
from robopref.hil.robot import LimitsConfig, RobotServer
from robopref.processes import one_thread

ADDRESS = "127.0.0.1:50052"


@dataclass
class HilRobotConfig:
    """Options of `robopref hil robot`, `stop` and `release`."""

    env: str = ""
    """Gymnasium id of the simulated arm."""
    horizon: int = 0
    """Steps of an episode, the environment's own number when 0."""
    cameras: list[str] = field(default_factory=list)
    """Its cameras, such as [corner2]."""
    image_size: int = 84
    """Width and height of their images in pixels."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    """What the arm may do."""
    rate_hz: float = 20.0
    """Control steps per second."""
    watchdog_s: float = 0.5
    """Longest time without a command before the arm stands still."""
    link: LinkConfig = field(default_factory=lambda: LinkConfig(ADDRESS))
    """Where the robot's server listens, or is."""


def robot(config: HilRobotConfig) -> None:
    """Serves the robot until it is told to stop."""
    one_thread()
    if not config.env:
        raise InputError("env=: must be given, such as metaworld/drawer-open-v3")
    config.limits.check()
    options = environment_options(config.horizon, config.cameras, config.image_size)
    env = make_env(config.env, **options)
    server = RobotServer(env, config.link, config.limits, config.rate_hz, config.watchdog_s)
    print(
        f"{config.env}: at {config.link.address}, {config.rate_hz:g} steps per second", flush=True
    )
    with stopped_gently() as told:
        while not told:
            time.sleep(0.05)
    server.close()
    counts = ", ".join(f"{name} {count}" for name, count in server.limiter.counts.items())
    print(f"limits fired: {counts}; stops: {len(server.stops)}")
    env.close()


def stop(config: HilRobotConfig) -> None:
    """Emergency stop."""
    emergency_stop(config.link)
    print(f"{config.link.address}: stopped; robopref hil release lets it be driven again")


def release(config: HilRobotConfig) -> None:
    """Takes the emergency stop off."""
    emergency_stop(config.link, release=True)
    print(f"{config.link.address}: released; it moves when it is reset")


PARTS: Mapping[str, Callable[[HilRobotConfig], None]] = {
    "robot": robot,
    "stop": stop,
    "release": release,
}


def main(part: str, arguments: Sequence[str]) -> None:
    """Runs one of them."""
    run("hil-robot", HilRobotConfig, arguments, PARTS[part])

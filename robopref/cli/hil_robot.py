"""Serves a robot to actors, at its own rate, within limits, with a watchdog.

A simulated arm (env=), or a real one (arm=) with cameras; both are reached over the same network
path, and neither starts without limits.

Usage:
  robopref hil robot OPTIONS      serves a robot
  robopref hil stop OPTIONS       emergency stop; it stands still until it is released
  robopref hil release OPTIONS    lets it be driven again

Examples:
  robopref hil robot env=metaworld/drawer-open-v3 limits.low=[-0.5,0.3,0] limits.high=[0.5,1,0.5]
      limits.speed=0.25 limits.step=2 limits.per_action=0.01
  robopref hil robot arm=franka franka.url=http://nuc:5000 franka.home=[0.5,0,0.3]
      +camera_sources.wrist=0 +camera_sources.front=4
      limits.low=[0.35,-0.2,0.05] limits.high=[0.65,0.2,0.4] limits.speed=0.1 limits.step=1
      limits.per_action=0.01 rate_hz=10
  robopref hil robot arm=lerobot lerobot.type=so101_follower +lerobot.settings.port=/dev/ttyACM0
      +lerobot.settings.id=blue lerobot.home=[0,-60,60,40,0,10] limits.per_action=3
      limits.low=[-60,-100,-10,-90,-150,0] limits.high=[60,50,95,90,150,60] limits.speed=60
      limits.step=2 rate_hz=10
  robopref hil actor env=metaworld/drawer-open-v3 robot.address=127.0.0.1:50052 operator=keyboard
  robopref hil stop link.address=127.0.0.1:50052
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from robopref.cli.config import run
from robopref.cli.stopping import stopped_gently
from robopref.environments import environment_options, make_env
from robopref.errors import InputError
from robopref.hil.arms import Arm, ArmEnv
from robopref.hil.cameras import Camera
from robopref.hil.franka import FrankaArm, FrankaConfig
from robopref.hil.lerobot_devices import LeRobotArm, LeRobotConfig
from robopref.hil.link import LinkConfig
from robopref.hil.remote_robot import emergency_stop
from robopref.hil.robot import LimitsConfig, RobotServer
from robopref.processes import ahead_of_others, one_thread

ADDRESS = "127.0.0.1:50052"
HORIZON = 100
"""Steps of a real arm's episode unless `horizon` says otherwise, as HIL-SERL has it."""


@dataclass
class HilRobotConfig:
    """Options of `robopref hil robot`, `stop` and `release`."""

    env: str = ""
    """Gymnasium id of the simulated arm."""
    arm: str = ""
    """A real arm in its place: franka, or lerobot for any arm of LeRobot's."""
    franka: FrankaConfig = field(default_factory=FrankaConfig)
    """Of arm=franka: where its server is, and where an episode begins."""
    lerobot: LeRobotConfig = field(default_factory=LeRobotConfig)
    """Of arm=lerobot: which one, its settings as LeRobot has them, and where an episode begins."""
    camera_sources: dict[str, str] = field(default_factory=dict)
    """Cameras of a real arm: name to a device's number, a file or an address, such as
    +camera_sources.wrist=0."""
    horizon: int = 0
    """Steps of an episode, the environment's own number when 0."""
    cameras: list[str] = field(default_factory=list)
    """Cameras of the simulated arm, such as [corner2]."""
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
    ahead_of_others()
    if bool(config.env) == bool(config.arm):
        raise InputError(
            "env=, arm=: give one of them, such as env=metaworld/drawer-open-v3 or arm=franka"
        )
    env = _real(config) if config.arm else _simulated(config)
    server = RobotServer(env, config.link, config.limits, config.rate_hz, config.watchdog_s)
    name, address = config.env or config.arm, config.link.address
    print(f"{name}: at {address}, {config.rate_hz:g} steps per second", flush=True)
    with stopped_gently() as told:
        while not told:
            time.sleep(0.05)
    server.close()
    counts = ", ".join(f"{name} {count}" for name, count in server.limiter.counts.items())
    print(f"limits fired: {counts}; stops: {len(server.stops)}")
    env.close()


def _simulated(config: HilRobotConfig) -> gymnasium.Env[Any, Any]:
    config.limits.check()
    if config.camera_sources:
        raise InputError("camera_sources=: are a real arm's; give cameras= of the simulation")
    return make_env(
        config.env, **environment_options(config.horizon, config.cameras, config.image_size)
    )


def _real(config: HilRobotConfig) -> gymnasium.Env[Any, Any]:
    if config.arm not in ARMS:
        raise InputError(f"arm={config.arm}: no such arm; choose from {', '.join(ARMS)}")
    if config.cameras:
        raise InputError("cameras=: are a simulation's; give camera_sources= of the real ones")
    arm, home = ARMS[config.arm](config)
    cameras: dict[str, Camera] = {}
    try:
        for name, source in config.camera_sources.items():
            cameras[name] = Camera(name, str(source), config.image_size)
    except InputError:
        arm.close()
        for camera in cameras.values():
            camera.close()
        raise
    horizon = config.horizon or HORIZON
    return ArmEnv(arm, np.array(home, np.float32), horizon, cameras, config.image_size)


def _franka(config: HilRobotConfig) -> tuple[Arm, Sequence[float]]:
    """The arm, and where its episodes begin."""
    config.limits.check()
    config.franka.check()
    _check_home(config, config.franka.home)
    return FrankaArm(config.franka, config.limits.per_action), config.franka.home


def _lerobot(config: HilRobotConfig) -> tuple[Arm, Sequence[float]]:
    """As `_franka`; which joints there are to be limited, the arm alone knows."""
    arm = LeRobotArm(config.lerobot, config.limits.per_action)
    try:
        config.limits.check(arm.joints)
        _check_home(config, config.lerobot.home)
    except InputError:
        arm.close()
        raise
    return arm, config.lerobot.home


ARMS: Mapping[str, Callable[[HilRobotConfig], tuple[Arm, Sequence[float]]]] = {
    "franka": _franka,
    "lerobot": _lerobot,
}


def _check_home(config: HilRobotConfig, home: Sequence[float]) -> None:
    limits = config.limits
    fits = len(home) == len(limits.low) and all(
        low <= place <= high for low, place, high in zip(limits.low, home, limits.high, strict=True)
    )
    if not fits:
        raise InputError(
            f"{config.arm}.home={list(home)}: lies outside the box of limits.low={limits.low} and "
            f"limits.high={limits.high}"
        )


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

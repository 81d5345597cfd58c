"""Robot and operator of `robopref hil`: the options that its parts share, and what they make."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
from gymnasium.spaces import Box, Dict
from gymnasium.vector.utils import create_empty_array

from robopref.data.images import camera_images, named_images
from robopref.environments import environment_options, make_env
from robopref.errors import InputError
from robopref.evaluation.rollout import flatten
from robopref.hil.actor import ActingConfig, Actor, EpisodeOutcome, Judge
from robopref.hil.gamepad import GamepadOperator
from robopref.hil.keyboard import KeyboardOperator
from robopref.hil.lerobot_devices import LeRobotConfig, LeRobotOperator
from robopref.hil.link import LinkConfig
from robopref.hil.operators import (
    BrowserConfig,
    EmergencyStopError,
    NoOperator,
    SyntheticOperator,
    SyntheticOperatorConfig,
    Teleoperator,
)
from robopref.hil.remote_robot import RemoteRobot
from robopref.hil.spacemouse import SpaceMouseOperator
from robopref.hil.steps import Sizes
from robopref.rewards.classifier import SuccessClassifier
from robopref.seeding import numpy_generator

OPERATORS = ("none", "synthetic", "keyboard", "gamepad", "spacemouse", "browser", "lerobot")
STOPPED = "emergency stop: the robot stands still until robopref hil release lets it go on"


@dataclass
class DrivingConfig:
    """What drives which robot."""

    env: str = ""
    """Gymnasium id of the robot, or of the simulation that a policy is tried in; without one, a
    robot behind a network is all there is, and nobody tries the policy."""
    horizon: int = 0
    """Steps of an episode, the environment's own number when 0."""
    cameras: list[str] = field(default_factory=list)
    """Cameras that the policy looks through, such as [corner2]; none when empty."""
    image_size: int = 84
    """Width and height of their images in pixels."""
    classifier: str = ""
    """Folder of a success classifier (robopref train-reward reward=classifier) that says when the
    task is done, in the environment's place; a person's word counts more."""
    operator: str = "none"
    """Who corrects: none, synthetic (a scripted person), keyboard (of the terminal), gamepad,
    spacemouse, browser (a page for a phone or laptop), or lerobot (a teleoperator of LeRobot's)."""
    synthetic: SyntheticOperatorConfig = field(default_factory=SyntheticOperatorConfig)
    """How the scripted person behaves."""
    browser: BrowserConfig = field(default_factory=BrowserConfig)
    """Where the page of operator=browser is served, by whoever drives the robot."""
    lerobot: LeRobotConfig = field(default_factory=LeRobotConfig)
    """Of operator=lerobot: which one, and its settings as LeRobot has them."""
    acting: ActingConfig = field(default_factory=ActingConfig)
    """How the robot is driven."""
    robot: LinkConfig = field(default_factory=lambda: LinkConfig(""))
    """A robot behind a network that is driven, if it has an address."""

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise InputError(
                f"operator={self.operator}: no such operator; choose from {', '.join(OPERATORS)}"
            )
        if not (self.env or self.robot.address):
            raise InputError("env=: must be given, or robot.address=; see --help")
        if self.operator == "synthetic" and not self.env:
            raise InputError("operator=synthetic: is scripted for simulations; give env=")
        if self.horizon < 0 or self.image_size < 1:
            raise InputError(
                f"horizon={self.horizon}, image_size={self.image_size}: must be at least 0 and 1"
            )


def driven_robot(config: DrivingConfig, driver: str) -> gymnasium.Env[Any, Any]:
    """What the actor drives; with pictures, where the operator sees it by them alone."""
    if config.robot.address:
        robot = RemoteRobot(config.robot, driver)
        if [f"{name}_image" for name in sorted(config.cameras)] != list(camera_names(robot)):
            raise InputError(
                f"cameras={list(config.cameras)}: the robot at {config.robot.address} has "
                f"{[name.removesuffix('_image') for name in camera_names(robot)]}; give both the "
                "same cameras= and image_size="
            )
        return robot
    env = environment(config)
    if config.operator != "browser" or "rgb_array" not in env.metadata["render_modes"]:
        return env
    env.close()
    return environment(config, render_mode="rgb_array")


def environment(config: DrivingConfig, **more: Any) -> gymnasium.Env[Any, Any]:
    """The environment of the options."""
    env = make_env(config.env, **environment_arguments(config), **more)
    space = env.action_space
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise InputError(f"env={config.env}: has actions {space}; choose one with a vector of them")
    return env


def environment_arguments(config: DrivingConfig) -> dict[str, Any]:
    """Of `environment`."""
    return environment_options(config.horizon, config.cameras, config.image_size)


def sizes(env: gymnasium.Env[Any, Any]) -> Sizes:
    """Of the steps that are made there."""
    assert env.action_space.shape is not None
    # A robot is not to move only because somebody asks how large its observations are.
    one = create_empty_array(env.observation_space, n=1)
    observation = {name: one[name][0] for name in one} if isinstance(one, Mapping) else one
    images = camera_images(observation).shape if camera_names(env) else (0,)
    return Sizes(len(flatten(observation)), env.action_space.shape[0], images)


def camera_names(env: gymnasium.Env[Any, Any]) -> Sequence[str]:
    """Names of the observations that are images, as `camera_images` puts them side by side."""
    space = env.observation_space
    return list(named_images(space.spaces)) if isinstance(space, Dict) else []


def judge(config: DrivingConfig) -> Judge | None:
    """Who says when the task is done, if not the environment."""
    return SuccessClassifier.load(config.classifier).judge if config.classifier else None


def played(actor: Actor) -> EpisodeOutcome | None:
    """What came of an episode; None, once it was told, if the operator stopped the robot."""
    try:
        return actor.play()
    except EmergencyStopError:
        print(STOPPED, flush=True)
        return None


@contextlib.contextmanager
def chosen_operator(config: DrivingConfig, env: gymnasium.Env[Any, Any]) -> Iterator[Teleoperator]:
    """Who corrects, while the context lasts."""
    if config.operator == "synthetic":
        rng = numpy_generator(config.acting.seed, "operator")
        # An expert reads observations alone; where the robot is remote, its own twin knows how.
        expert = environment(config) if config.robot.address else env
        yield SyntheticOperator(config.synthetic, expert, rng)
    elif config.operator == "keyboard":
        with KeyboardOperator(sizes(env).action_dim) as keyboard:
            yield keyboard
    elif config.operator == "gamepad":
        with GamepadOperator(sizes(env).action_dim) as gamepad:
            yield gamepad
    elif config.operator == "spacemouse":
        with SpaceMouseOperator(sizes(env).action_dim) as spacemouse:
            yield spacemouse
    elif config.operator == "browser":
        from robopref.hil.browser import BrowserOperator

        with BrowserOperator(sizes(env).action_dim, config.browser) as browser:
            yield browser
    elif config.operator == "lerobot":
        arguments = getattr(env.unwrapped, "env_args", {})
        per_action = arguments.get("per_action") if arguments.get("joints") else None
        with LeRobotOperator(config.lerobot, sizes(env).action_dim, per_action) as device:
            yield device
    else:
        yield NoOperator()

"""Robot and operator of `robopref hil`: the options that its parts share, and what they make."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gymnasium
from gymnasium.spaces import Box
from omegaconf import MISSING

from robopref.environments import environment_options, make_env
from robopref.errors import InputError
from robopref.evaluation.rollout import flatten
from robopref.hil.actor import ActingConfig, Actor, EpisodeOutcome
from robopref.hil.gamepad import GamepadOperator
from robopref.hil.keyboard import KeyboardOperator
from robopref.hil.link import LinkConfig
from robopref.hil.operators import (
    BrowserConfig,
    EmergencyStopError,
    NoOperator,
    SyntheticOperator,
    SyntheticOperatorConfig,
    Teleoperator,
)
from robopref.hil.robot import RemoteRobot
from robopref.seeding import numpy_generator

OPERATORS = ("none", "synthetic", "keyboard", "gamepad", "browser")
STOPPED = "emergency stop: the robot stands still until robopref hil release lets it go on"


@dataclass
class DrivingConfig:
    """What drives which robot."""

    env: str = MISSING
    """Gymnasium id of the robot, simulated or not."""
    horizon: int = 0
    """Steps of an episode, the environment's own number when 0."""
    operator: str = "none"
    """Who corrects: none, synthetic (a scripted person), keyboard (of the terminal), gamepad, or
    browser (a page for a phone or laptop)."""
    synthetic: SyntheticOperatorConfig = field(default_factory=SyntheticOperatorConfig)
    """How the scripted person behaves."""
    browser: BrowserConfig = field(default_factory=BrowserConfig)
    """Where the page of operator=browser is served, by whoever drives the robot."""
    acting: ActingConfig = field(default_factory=ActingConfig)
    """How the robot is driven."""
    robot: LinkConfig = field(default_factory=lambda: LinkConfig(""))
    """A robot behind a network that is driven, if it has an address; env= is then what a learner
    tries the policy in."""

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise InputError(
                f"operator={self.operator}: no such operator; choose from {', '.join(OPERATORS)}"
            )
        if self.horizon < 0:
            raise InputError(f"horizon={self.horizon}: must be at least 0")


def driven_robot(config: DrivingConfig, driver: str) -> gymnasium.Env[Any, Any]:
    """What the actor drives; with pictures, where the operator sees it by them alone."""
    if not config.robot.address:
        env = environment(config)
        if config.operator != "browser" or "rgb_array" not in env.metadata["render_modes"]:
            return env
        env.close()
        return environment(config, render_mode="rgb_array")
    return RemoteRobot(config.robot, driver)


def environment(config: DrivingConfig, **more: Any) -> gymnasium.Env[Any, Any]:
    """The environment of the options."""
    env = make_env(config.env, **environment_options(config.horizon), **more)
    space = env.action_space
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise InputError(f"env={config.env}: has actions {space}; choose one with a vector of them")
    return env


def sizes(env: gymnasium.Env[Any, Any]) -> tuple[int, int]:
    """Of a flat observation and of an action."""
    assert env.action_space.shape is not None
    space = env.observation_space
    # A robot is not to move only because somebody asks how large its observations are.
    flat = isinstance(space, Box) and len(space.shape) == 1
    size = space.shape[0] if flat and space.shape else len(flatten(env.reset(seed=0)[0]))
    return size, env.action_space.shape[0]


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
        with KeyboardOperator(sizes(env)[1]) as keyboard:
            yield keyboard
    elif config.operator == "gamepad":
        with GamepadOperator(sizes(env)[1]) as gamepad:
            yield gamepad
    elif config.operator == "browser":
        from robopref.hil.browser import BrowserOperator

        with BrowserOperator(sizes(env)[1], config.browser) as browser:
            yield browser
    else:
        yield NoOperator()

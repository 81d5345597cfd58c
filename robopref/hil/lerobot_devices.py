"""Arms and teleoperators of LeRobot (Cadene et al. 2024, github.com/huggingface/lerobot).

Anything that LeRobot's registries know by its `type` and settings: its own followers, leaders,
gamepad and keyboard, and those of packages that add to them. Followers are moved joint by joint, in
LeRobot's unit (degrees, or hundredths of a joint's range).
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref.evaluation.rollout import flatten
from robopref.hil.arms import ArmError
from robopref.hil.operators import Action, HandDevice

JOINT = ".pos"
"""How names of joints end in what LeRobot's devices show and take."""
TROUBLE = (OSError, RuntimeError, ValueError, KeyError)
"""What drivers raise when a cable is loose, a motor is missing or an answer is broken."""
BEGIN, STILL = 3.0, 1.0
"""How far a leader moves to take over, and less than which it is held still, in its unit."""
STILL_S = 1.0
"""How long a leader is held still to let go."""


@dataclass
class LeRobotConfig:
    """Which device, as LeRobot's own commands are told."""

    type: str = ""
    """Such as so101_follower for an arm, so101_leader or gamepad for a teleoperator."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of LeRobot's configuration of that type, such as +lerobot.settings.port=/dev/ttyACM0
    +lerobot.settings.id=blue."""
    home: list[float] = field(default_factory=list)
    """Where an arm's joints go before an episode, one number each."""
    lead: float = 10.0
    """How far a joint's goal may be ahead of the joint, which bounds how hard an arm presses."""
    near: float = 4.0
    """How near to its home a joint has to come; small servos stop short under load."""

    def __post_init__(self) -> None:
        if self.lead <= 0.0 or self.near <= 0.0:
            raise InputError(f"lerobot.lead={self.lead}, near={self.near}: must be positive")


class LeRobotArm:
    """See `Arm`."""

    def __init__(self, config: LeRobotConfig, per_action: float) -> None:
        """
        Args:
            config: which one.
            per_action: how far an action of 1 moves a joint in one step.

        Raises:
            InputError: if LeRobot or the arm cannot be had, or the arm is not calibrated.
        """
        self._robot = _made("robot", config)
        _connect(self._robot, "robot", config)
        self.name, self.per_action, self.near = config.type, per_action, config.near
        self.joints = _joints(self._robot)
        if not self.joints:
            self._robot.disconnect()
            raise InputError(f"lerobot.type={config.type}: has no joints that can be commanded")
        self.action_dim, self.state_dim = len(self.joints), 2 * len(self.joints)
        self._lead = config.lead
        self._goal: NDArray[np.float64] | None = None
        self._seen: tuple[float, NDArray[np.float64]] | None = None

    def state(self) -> NDArray[np.float32]:
        """(2J,): where the joints are, and how fast they moved since asked last, per second."""
        now, place = time.monotonic(), self._place()
        before, former = self._seen or (now, place)
        self._seen = now, place
        speed = (place - former) / max(now - before, 1e-3)
        state: NDArray[np.float32] = np.concatenate([place, speed]).astype(np.float32)
        return state

    def reference(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """(J,): the goal before. A weak servo never gets there, so that its arm would sag if
        commands started from where it is; but the goal is no farther ahead than `lead`.
        """
        place = np.asarray(state[: len(self.joints)], np.float64)
        goal = place if self._goal is None else self._goal
        return np.clip(goal, place - self._lead, place + self._lead).astype(np.float32)

    def command(self, action: NDArray[np.float32]) -> None:
        """Moves the goal of every joint."""
        place = self._place() if self._seen is None else self._seen[1]
        start = self.reference(place.astype(np.float32)).astype(np.float64)
        self._send(start + self.per_action * action.astype(np.float64))

    def stop(self) -> None:
        """Holds where the joints are."""
        with contextlib.suppress(ArmError):  # a motor that does not answer holds its last goal
            self._send(self._place())

    def prepare(self) -> None:
        """Holds where the joints are; goals start from there."""
        self._seen = None
        self._send(self._place())

    def close(self) -> None:
        """Ends the connection; the motors go limp unless LeRobot's settings say otherwise."""
        with contextlib.suppress(*TROUBLE):
            self._robot.disconnect()

    def _place(self) -> NDArray[np.float64]:
        try:
            found = self._robot.get_observation()
            place = np.array([found[joint + JOINT] for joint in self.joints], np.float64)
        except TROUBLE as error:
            raise ArmError(f"{self.name} does not answer ({error})") from error
        if not np.isfinite(place).all():
            raise ArmError(f"{self.name}: says that its joints are at {place.tolist()}")
        return place

    def _send(self, goal: NDArray[np.float64]) -> None:
        try:
            self._robot.send_action({
                joint + JOINT: float(value)
                for joint, value in zip(self.joints, goal, strict=True)
            })  # fmt: skip
        except TROUBLE as error:
            raise ArmError(f"{self.name} takes no command ({error})") from error
        self._goal = goal


class LeRobotOperator(HandDevice):
    """A teleoperator of LeRobot's.

    Devices that move a hand (gamepad, keyboard_ee) say themselves when a person drives. A leader
    arm cannot: it takes over when it is moved, the robot then moves as the leader does from where
    both were, and it lets go when it has been held still for a second.
    """

    def __init__(self, config: LeRobotConfig, action_dim: int, per_action: float | None) -> None:
        """
        Args:
            config: which one.
            action_dim: `A` of the robot.
            per_action: how far an action of 1 moves one of the robot's joints; None if the robot is
                not moved by its joints.

        Raises:
            InputError: if LeRobot is missing, has no such device, or it does not fit the robot.
        """
        super().__init__(f"lerobot ({config.type})", action_dim)
        self._config, self._per_action = config, per_action
        self._device = _made("teleoperator", config)
        self._joints = _joints(self._device)
        if self._joints and (per_action is None or len(self._joints) != action_dim):
            raise InputError(
                f"lerobot.type={config.type}: moves {len(self._joints)} joints one by one, and "
                "this robot is not moved so; choose a device that moves a hand, or a robot "
                "with arm=lerobot"
            )
        if not (self._joints or hasattr(self._device, "get_teleop_events")):
            raise InputError(
                f"lerobot.type={config.type}: neither moves joints nor says when a person drives "
                "(get_teleop_events); choose a leader arm, gamepad or keyboard_ee"
            )
        self._gripper, self._ends = 0.0, (False, False)
        self._robot_place: NDArray[np.float32] | None = None
        self._anchors: tuple[NDArray[Any], NDArray[Any]] | None = None
        self._rest: NDArray[Any] | None = None
        self._moved_at = 0.0

    def open(self) -> None:
        """Connects to it.

        Raises:
            InputError: if it is not there. LeRobot's gamepad says so only when it is read.
        """
        _connect(self._device, "teleoperator", self._config)
        try:
            self._device.get_action()
        except (AttributeError, TypeError, *TROUBLE) as error:
            self.close()
            raise InputError(
                f"lerobot.type={self._config.type}: gives no action ({error}); is it plugged in?"
            ) from error

    def close(self) -> None:
        """Lets it go."""
        with contextlib.suppress(*TROUBLE):
            self._device.disconnect()

    def start(self, observation: Any) -> None:
        """An episode begins; a leader is where it is, and nobody drives."""
        self._anchors = self._rest = None
        self._robot_place = flatten(observation)[: len(self._joints)]

    def watch(self, observation: Any, reward: float, success: bool) -> None:
        """Where the robot is now."""
        self._robot_place = flatten(observation)[: len(self._joints)]

    def read(self) -> Action | None:
        """What the person does; None while nobody drives, and when the device does not answer."""
        try:
            said = self._device.get_action()
            return self._follow(said) if self._joints else self._hand(said)
        except TROUBLE:
            self._anchors = self._rest = None
            return None

    def _hand(self, said: Mapping[str, Any]) -> Action | None:
        events = {
            getattr(name, "value", name): bool(value)
            for name, value in self._device.get_teleop_events().items()
        }
        ends = events.get("success", False), events.get("terminate_episode", False)
        if ends != self._ends and any(ends):  # LeRobot tells it for as long as a button is held
            self._verdict = ends[0]
        self._ends = ends
        if not events.get("is_intervention"):
            return None
        if "gripper" in said:  # LeRobot's 0 closes, 1 leaves it, 2 opens
            self._gripper = {0: 1.0, 2: -1.0}.get(int(said["gripper"]), self._gripper)
        return self.hand_action([said[f"delta_{axis}"] for axis in "xyz"], self._gripper)

    def _follow(self, said: Mapping[str, Any]) -> Action | None:
        place = np.array([said[joint + JOINT] for joint in self._joints], np.float64)
        now = time.monotonic()
        if self._rest is None:
            self._rest = place
        if self._anchors is None:
            if np.abs(place - self._rest).max() < BEGIN or self._robot_place is None:
                return None
            self._anchors = place, self._robot_place.astype(np.float64)
            self._rest, self._moved_at = place, now
        elif np.abs(place - self._rest).max() > STILL:
            self._rest, self._moved_at = place, now
        elif now - self._moved_at > STILL_S:
            self._anchors, self._rest = None, place
            return None
        leader, robot = self._anchors
        assert self._robot_place is not None and self._per_action is not None
        wanted = robot + (place - leader) - self._robot_place
        action: Action = np.clip(wanted / self._per_action, -1.0, 1.0).astype(np.float32)
        return action


def _joints(device: Any) -> tuple[str, ...]:
    """Names of the joints that it moves, in LeRobot's order."""
    names = tuple(device.action_features)
    return tuple(name.removesuffix(JOINT) for name in names if name.endswith(JOINT))


def _made(kind: str, config: LeRobotConfig) -> Any:
    """A device of LeRobot's, not connected; `kind` is robot or teleoperator."""
    try:
        draccus = importlib.import_module("draccus")
        package = importlib.import_module(f"lerobot.{kind}s")
        configs = importlib.import_module(f"lerobot.{kind}s.config")
        factory = importlib.import_module(f"lerobot.{kind}s.utils")
    except ImportError as error:
        raise InputError(
            f"lerobot.type={config.type}: needs LeRobot ({error}); pip install 'robopref[lerobot]'"
        ) from error
    for module in pkgutil.iter_modules(package.__path__):  # each tells its type when imported
        if module.ispkg:
            with contextlib.suppress(ImportError):
                importlib.import_module(f"{package.__name__}.{module.name}")
    known = getattr(configs, f"{kind.capitalize()}Config")
    if config.type not in known.get_known_choices():
        raise InputError(
            f"lerobot.type={config.type}: LeRobot has no such {kind}; choose from "
            f"{', '.join(sorted(known.get_known_choices()))}"
        )
    try:
        settings = draccus.decode(known, {"type": config.type, **config.settings})
        return getattr(factory, f"make_{kind}_from_config")(settings)
    except (draccus.utils.DecodingError, ImportError, TypeError, *TROUBLE) as error:
        raise InputError(f"lerobot.settings={dict(config.settings)}: {error}") from error


def _connect(device: Any, kind: str, config: LeRobotConfig) -> None:
    # LeRobot would ask at the terminal for a calibration.
    arguments = inspect.signature(device.connect).parameters
    try:
        device.connect(**({"calibrate": False} if "calibrate" in arguments else {}))
    except (ImportError, *TROUBLE) as error:
        raise InputError(f"lerobot.type={config.type}: cannot be connected ({error})") from error
    calibrated = device.is_calibrated
    if not (calibrated() if callable(calibrated) else calibrated):
        device.disconnect()
        short = "robot" if kind == "robot" else "teleop"
        settings = " ".join(f"--{short}.{name}={value}" for name, value in config.settings.items())
        raise InputError(
            f"lerobot.type={config.type}: is not calibrated; run lerobot-calibrate "
            f"--{short}.type={config.type} {settings}"
        )

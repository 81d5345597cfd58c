"""Arms and teleoperators of LeRobot, through its own drivers: made-up servos on a serial line."""

from __future__ import annotations

import json
import os
import pty
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robopref.cli.main import main
from robopref.errors import InputError
from robopref.hil.arms import ArmEnv, ArmError
from robopref.hil.lerobot_devices import STILL_S, LeRobotArm, LeRobotConfig, LeRobotOperator
from robopref.hil.link import LinkConfig
from robopref.hil.remote_robot import RemoteRobot
from robopref.hil.robot import LimitsConfig, RobotServer

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
MODEL, LIMITS_AT, GOAL, PRESENT = 3, 9, 42, 56
"""Addresses of the STS3215's registers."""
DEGREE = 4095 / 360
PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 1, 2, 3, 0x82, 0x83


class Servos:
    """Six STS3215 on one line, as Feetech's protocol has them; goals are reached at once."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(self._master)
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self.memory = {number: bytearray(256) for number in range(1, 7)}
        self.sag = 0.0
        """How far the second joint hangs below its goal, in degrees."""
        self.silent = False
        for number, memory in self.memory.items():
            memory[MODEL : MODEL + 2] = (777).to_bytes(2, "little")
            memory[0], memory[1] = 3, 10  # firmware
            memory[LIMITS_AT : LIMITS_AT + 4] = bytes([0, 0]) + (4095).to_bytes(2, "little")
            self._set(number, PRESENT, 2048)
        threading.Thread(target=self._serve, daemon=True).start()

    def move(self, joint: str, degrees: float) -> None:
        """As a hand does."""
        number = JOINTS.index(joint) + 1
        self._set(number, PRESENT, round(2047.5 + degrees * DEGREE))

    def goal(self, joint: str) -> float:
        """In degrees."""
        memory = self.memory[JOINTS.index(joint) + 1]
        return (int.from_bytes(memory[GOAL : GOAL + 2], "little") - 2047.5) / DEGREE

    def _set(self, number: int, at: int, value: int) -> None:
        self.memory[number][at : at + 2] = int(value).to_bytes(2, "little")

    def _serve(self) -> None:
        pending = b""
        while True:
            try:
                pending += os.read(self._master, 1024)
            except OSError:
                return
            while len(pending) >= 4 and len(pending) >= 4 + pending[3]:
                packet, pending = pending[: 4 + pending[3]], pending[4 + pending[3] :]
                if not self.silent:
                    self._answer(packet[2], packet[4], packet[5:-1])

    def _answer(self, number: int, instruction: int, said: bytes) -> None:
        if instruction == PING:
            self._send(number)
        elif instruction == READ:
            self._send(number, self.memory[number][said[0] : said[0] + said[1]])
        elif instruction == WRITE:
            self._write(number, said[0], said[1:])
            self._send(number)
        elif instruction == SYNC_READ:
            at, size, *numbers = said
            for each in numbers:
                self._send(each, self.memory[each][at : at + size])
        elif instruction == SYNC_WRITE:
            at, size = said[:2]
            for first in range(2, len(said), size + 1):
                self._write(said[first], at, said[first + 1 : first + 1 + size])

    def _write(self, number: int, at: int, values: bytes) -> None:
        self.memory[number][at : at + len(values)] = values
        if at == GOAL:
            hanging = self.sag * DEGREE if number == 2 else 0.0
            self._set(number, PRESENT, int.from_bytes(values[:2], "little") - round(hanging))

    def _send(self, number: int, values: bytes | bytearray = b"") -> None:
        if number not in self.memory:
            return
        body = bytes([number, len(values) + 2, 0, *values])
        os.write(self._master, b"\xff\xff" + body + bytes([~sum(body) & 0xFF]))


class Stick:
    """A gamepad as pygame shows it."""

    def __init__(self) -> None:
        self.axes = dict.fromkeys(range(4), 0.0)
        self.pressed: set[int] = set()

    def init(self) -> None:
        """Nothing."""

    def quit(self) -> None:
        """Nothing."""

    def get_name(self) -> str:
        return "made-up"

    def get_axis(self, axis: int) -> float:
        return self.axes[axis]

    def get_button(self, button: int) -> bool:
        return button in self.pressed


@pytest.fixture
def lerobot() -> None:
    pytest.importorskip("lerobot", reason="needs pip install 'robopref[lerobot]'")


@pytest.fixture
def calibration(tmp_path: Path) -> dict[str, Any]:
    """Settings of a device that has been calibrated: every joint turns all the way."""
    whole = {"drive_mode": 0, "homing_offset": 0, "range_min": 0, "range_max": 4095}
    values = {joint: {"id": number, **whole} for number, joint in enumerate(JOINTS, 1)}
    (tmp_path / "blue.json").write_text(json.dumps(values))
    return {"id": "blue", "calibration_dir": str(tmp_path)}


@pytest.fixture
def follower(lerobot: None, calibration: dict[str, Any]) -> Iterator[tuple[Servos, LeRobotArm]]:
    servos = Servos()
    settings = {"port": servos.port, **calibration}
    arm = LeRobotArm(LeRobotConfig("so101_follower", settings), per_action=2.0)
    yield servos, arm
    arm.close()


def test_joints_are_commanded_from_their_goals(follower: tuple[Servos, LeRobotArm]) -> None:
    servos, arm = follower
    assert arm.joints == JOINTS
    assert (arm.action_dim, arm.state_dim) == (6, 12)
    servos.sag = 3.0
    arm.prepare()
    action = np.array([1.0, 0.0, -0.5, 0.0, 0.0, 0.0], np.float32)
    for _ in range(5):
        arm.state()
        arm.command(action)
    state = arm.state()
    np.testing.assert_allclose(state[[0, 2, 3]], [10.0, -5.0, 0.0], atol=0.3)
    # The second joint hangs below its goal, and does not sink farther with every command.
    np.testing.assert_allclose(servos.goal("shoulder_lift"), 0.0, atol=0.3)
    np.testing.assert_allclose(state[1], -3.0, atol=0.3)
    servos.move("shoulder_pan", -50.0)  # held fast: the goal does not run away
    np.testing.assert_allclose(arm.reference(arm.state())[0], -40.0, atol=0.3)
    arm.stop()
    arm.state()  # servos answer no goals; when they answer this, they have read them
    np.testing.assert_allclose(servos.goal("shoulder_pan"), -50.0, atol=0.3)


def test_a_line_that_is_silent_is_an_arm_that_does_not_answer(
    follower: tuple[Servos, LeRobotArm],
) -> None:
    servos, arm = follower
    servos.silent = True
    with pytest.raises(ArmError, match="so101_follower does not answer"):
        arm.state()
    arm.stop()  # never raises
    servos.silent = False
    assert arm.state().shape == (12,)


def test_limits_hold_for_joints_and_a_session_begins_at_home(
    follower: tuple[Servos, LeRobotArm],
) -> None:
    servos, arm = follower
    home = np.array([20.0, 0.0, 0.0, 0.0, 0.0, 50.0], np.float32)
    limits = LimitsConfig([-30.0] * 5 + [0.0], [30.0] * 5 + [100.0], 400.0, 2.0, per_action=2.0)
    env = ArmEnv(arm, home, 100, {}, 16)
    server = RobotServer(env, LinkConfig("127.0.0.1:0"), limits, 30.0, 1.0)
    robot = RemoteRobot(LinkConfig(f"127.0.0.1:{server.port}"), "arm")
    found, _ = robot.reset(seed=0)
    np.testing.assert_allclose(found[:6], home, atol=4.0)
    for _ in range(15):
        found, *_, info = robot.step(np.array([1.0, 0, 0, 0, 0, 0], np.float32))
    assert found[0] == pytest.approx(30.0, abs=0.3)
    assert info["executed_action"][0] == pytest.approx(0.0, abs=1e-3)
    assert server.limiter.counts["box"] > 0
    assert (robot.env_args["joints"], robot.env_args["per_action"]) == (list(JOINTS), 2.0)
    robot.close()
    server.close()


def test_a_leader_takes_over_when_it_is_moved_and_lets_go_when_held_still(
    lerobot: None, calibration: dict[str, Any]
) -> None:
    servos = Servos()
    settings = {"port": servos.port, **calibration}
    robot = np.array([40.0, 0.0, 0.0, 0.0, 0.0, 50.0] + [0.0] * 6, np.float32)
    with LeRobotOperator(LeRobotConfig("so101_leader", settings), 6, 2.0) as leader:
        leader.start(robot)
        assert leader.read() is None
        servos.move("shoulder_pan", 2.0)  # a touch
        assert leader.read() is None
        servos.move("shoulder_pan", 5.0)
        action = leader.read()  # takes over, and the robot stays where it is
        assert action is not None
        np.testing.assert_allclose(action, 0.0, atol=1e-6)
        servos.move("shoulder_pan", 6.0)
        action = leader.read()
        assert action is not None
        np.testing.assert_allclose(action, [0.5, 0, 0, 0, 0, 0], atol=0.1)
        robot[0] += 1.0  # the robot did as it was told
        leader.watch(robot, 0.0, False)
        action = leader.read()
        assert action is not None
        np.testing.assert_allclose(action, 0.0, atol=0.1)
        time.sleep(STILL_S + 0.1)
        assert leader.read() is None
        servos.silent = True  # a cable came loose: hands off
        assert leader.read() is None


def test_a_gamepad_of_lerobots_says_itself_who_drives(
    lerobot: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    operator = LeRobotOperator(LeRobotConfig("gamepad"), 4, None)
    with pytest.raises(InputError, match="gives no action"), operator:
        pass
    stick = Stick()
    monkeypatch.setattr(pygame.joystick, "get_count", lambda: 1)
    monkeypatch.setattr(pygame.joystick, "Joystick", lambda index: stick)
    said: list[Any] = []
    monkeypatch.setattr(pygame.event, "get", lambda: [said.pop(0)] if said else [])
    with operator:
        assert operator.read() is None
        stick.pressed = {5}
        stick.axes[1] = -0.5  # forward
        said.append(pygame.event.Event(pygame.JOYBUTTONDOWN, button=5))
        operator.read()
        action = operator.read()
        assert action is not None
        np.testing.assert_allclose(action, [0.5, 0.0, 0.0, 0.0])
        said.append(pygame.event.Event(pygame.JOYBUTTONDOWN, button=6))  # closes the gripper
        operator.read()
        action = operator.read()
        assert action is not None and action[3] == 1.0
        said.append(pygame.event.Event(pygame.JOYBUTTONDOWN, button=3))
        operator.read()
        operator.read()
        assert operator.verdict() is True
        operator.read()  # still held: told once
        assert operator.verdict() is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LeRobotConfig("so999"), "no such robot; choose from .*so101_follower"),
        (LeRobotConfig("so101_follower", {"prt": "x"}), "lerobot.settings"),
        (LeRobotConfig("so101_follower", {"port": "/dev/nowhere"}), "cannot be connected"),
    ],
)
def test_an_arm_that_cannot_be_had(lerobot: None, config: LeRobotConfig, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LeRobotArm(config, 1.0)


def test_an_arm_that_is_not_calibrated_says_which_command_does_it(
    lerobot: None, tmp_path: Path
) -> None:
    servos = Servos()
    settings = {"port": servos.port, "id": "new", "calibration_dir": str(tmp_path)}
    with pytest.raises(InputError, match=r"lerobot-calibrate --robot\.type=so101_follower"):
        LeRobotArm(LeRobotConfig("so101_follower", settings), 1.0)


def test_a_leader_and_a_robot_that_is_moved_by_its_hand_do_not_fit(lerobot: None) -> None:
    config = LeRobotConfig("so101_leader", {"port": "/dev/nowhere"})
    with pytest.raises(InputError, match="this robot is not moved so"):
        LeRobotOperator(config, 4, None)


def test_without_lerobot_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "draccus", None)
    limits = [f"limits.{name}=1" for name in ("speed", "step", "per_action")]
    assert main(["hil", "robot", "arm=lerobot", "lerobot.type=so101_follower", *limits]) == 2
    assert "pip install 'robopref[lerobot]'" in capsys.readouterr().err

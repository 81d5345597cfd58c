"""Real arms and cameras, through their real drivers: HTTP and OpenCV, with made-up hardware."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from robopref.cli.main import main
from robopref.errors import InputError
from robopref.hil.arms import ArmEnv, ArmError
from robopref.hil.cameras import Camera, StaleFrameError
from robopref.hil.franka import GRIPPER_S, FrankaArm, FrankaConfig
from robopref.hil.link import LinkConfig
from robopref.hil.remote_robot import RemoteRobot, emergency_stop
from robopref.hil.robot import LimitsConfig, RobotServer
from robopref.hil.steps import Sizes

HOME = np.array([0.5, 0.0, 0.3], np.float32)
LIMITS = LimitsConfig([0.4, -0.1, 0.2], [0.6, 0.1, 0.4], speed=0.5, step=2.0, per_action=0.02)
RATE_HZ, WATCHDOG_S = 50.0, 1.0
ANSWER_S = 0.9
"""Long enough for a busy machine, and shorter than a server's silence here."""


class FakeFranka(http.server.ThreadingHTTPServer):
    """Answers as SERL's `franka_server.py` does; a pose that is asked for is reached at once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pose = [0.45, 0.05, 0.25, 1.0, 0.0, 0.0, 0.0]
        self.asked: list[tuple[str, float]] = []
        self.silent = self.mad = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def said(self, *names: str) -> list[str]:
        return [name for name, _ in self.asked if name in names]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeFranka

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.strip("/")
        self.server.asked.append((path, time.monotonic()))
        if self.server.silent:
            time.sleep(1.0)
        answer = b"done"
        if path == "pose":
            self.server.pose = json.loads(body)["arr"]
        elif path == "getstate":
            pose = self.server.pose if not self.server.mad else [float("nan")] * 7
            answer = json.dumps({
                "pose": pose, "vel": [0.0] * 6, "force": [0.0] * 3, "torque": [0.0] * 3,
                "q": [0.0] * 7, "dq": [0.0] * 7, "jacobian": [[0.0] * 7] * 6, "gripper_pos": 1.0,
            }).encode()  # fmt: skip
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def franka() -> Iterator[FakeFranka]:
    found = FakeFranka()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def server(franka: FakeFranka, request: pytest.FixtureRequest) -> Iterator[RobotServer]:
    arm = FrankaArm(FrankaConfig(franka.url, HOME.tolist(), ANSWER_S), LIMITS.per_action)
    env = ArmEnv(arm, HOME, 1000, {}, 16)
    rate_hz = getattr(request, "param", RATE_HZ)
    served = RobotServer(env, LinkConfig("127.0.0.1:0"), LIMITS, rate_hz, WATCHDOG_S)
    yield served
    served.close()


def driven(server: RobotServer) -> RemoteRobot:
    return RemoteRobot(LinkConfig(f"127.0.0.1:{server.port}"), "arm")


def act(x: float = 0.0, gripper: float = 0.0) -> Any:
    return np.array([x, 0.0, 0.0, gripper], np.float32)


def test_an_episode_begins_at_home_within_the_limits(
    franka: FakeFranka, server: RobotServer
) -> None:
    robot = driven(server)
    found, _ = robot.reset(seed=0)
    assert found.shape == (20,)
    np.testing.assert_allclose(found[:3], HOME, atol=0.011)
    assert franka.said("clearerr", "open_gripper")[:2] == ["clearerr", "open_gripper"]
    # No pose on the way is farther from the one before than the speed allows: 1 cm in a step.
    assert server.limiter.counts["speed"] > 0
    robot.close()


# So slow that on a busy machine too no command comes late, which moves by the one before.
@pytest.mark.parametrize("server", [5.0], indirect=True)
def test_a_step_is_what_came_of_its_own_action(franka: FakeFranka, server: RobotServer) -> None:
    robot = driven(server)
    before, _ = robot.reset(seed=0)
    for _ in range(5):
        after, reward, *_, info = robot.step(act(0.25))
        np.testing.assert_allclose(after[:3] - before[:3], [0.005, 0.0, 0.0], atol=1e-5)
        np.testing.assert_allclose(info["executed_action"], act(0.25))
        assert reward == 0.0
        before = after
    # The orientation is the one that it had.
    assert franka.pose[3:] == [1.0, 0.0, 0.0, 0.0]
    robot.close()


def test_the_box_holds_for_a_real_arm_too(server: RobotServer) -> None:
    robot = driven(server)
    robot.reset(seed=0)
    for _ in range(30):
        found, *_ = robot.step(act(1.0))
    assert found[0] <= 0.6 + 1e-5
    assert server.limiter.counts["box"] > 0
    robot.close()


def test_the_gripper_is_not_hurried(franka: FakeFranka, server: RobotServer) -> None:
    robot = driven(server)
    robot.reset(seed=0)
    end = time.monotonic() + 2.5 * GRIPPER_S
    sign = 1.0
    while time.monotonic() < end:
        robot.step(act(gripper=sign))
        sign = -sign
    moved = [at for name, at in franka.asked if name in ("close_gripper", "open_gripper")]
    assert len(moved) >= 3
    assert min(np.diff(moved)) >= GRIPPER_S - 0.05
    assert not franka.said("close_gripper") == []
    robot.step(act(gripper=0.3))  # no command
    robot.close()


def test_silence_and_the_emergency_stop_hold_the_pose(
    franka: FakeFranka, server: RobotServer
) -> None:
    robot = driven(server)
    robot.reset(seed=0)
    robot.step(act(0.5))
    time.sleep(WATCHDOG_S + 0.2)
    assert server.stopped.startswith("no command")
    assert franka.asked[-1][0] == "pose"  # where it is
    stood = list(franka.pose)
    time.sleep(0.2)
    assert franka.pose == stood
    robot.reset(seed=1)
    emergency_stop(LinkConfig(f"127.0.0.1:{server.port}"))
    *_, truncated, info = robot.step(act(0.5))
    assert truncated and "emergency" in info["stopped"]
    with pytest.raises(InputError, match="emergency stop is on"):
        robot.reset(seed=2)
    robot.close()


@pytest.mark.parametrize(
    ("trouble", "message"), [("silent", "does not answer"), ("mad", "without a sound pose")]
)
def test_an_arm_in_trouble_ends_the_episode(
    trouble: str, message: str, franka: FakeFranka, server: RobotServer
) -> None:
    robot = driven(server)
    robot.reset(seed=0)
    setattr(franka, trouble, True)
    info: dict[str, Any] = {}
    for _ in range(3):
        *_, truncated, info = robot.step(act(0.1))
        if truncated:
            break
    assert message in info["stopped"]
    with pytest.raises(InputError, match="cannot be reset"):
        robot.reset(seed=1)
    setattr(franka, trouble, False)
    robot.reset(seed=2)
    robot.close()


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match="start franka_server.py"):
        FrankaArm(FrankaConfig("http://127.0.0.1:9", [0.0, 0.0, 0.0]), 0.01)
    with pytest.raises(InputError, match="three metres"):
        FrankaConfig().check()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten frames of 40 by 30, each of one grey."""
    path = tmp_path / "camera.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (40, 30))
    for number in range(10):
        writer.write(np.full((30, 40, 3), 20 * number, np.uint8))
    writer.release()
    return path


def test_a_camera_gives_its_newest_picture_and_says_when_it_is_old(video: Path) -> None:
    camera = Camera("wrist", str(video), 16, old_s=0.3)
    time.sleep(0.1)
    picture = camera.read()
    assert picture.shape == (16, 16, 3)
    assert abs(int(picture[0, 0, 0]) - 180) < 6  # the last frame: the file is at its end
    time.sleep(0.4)
    with pytest.raises(StaleFrameError, match="camera wrist has shown nothing new"):
        camera.read()
    camera.close()
    with pytest.raises(InputError, match="camera front: cannot open"):
        Camera("front", "nowhere.avi", 16)


def test_a_frozen_camera_stops_the_arm(franka: FakeFranka, video: Path) -> None:
    arm = FrankaArm(FrankaConfig(franka.url, HOME.tolist(), ANSWER_S), LIMITS.per_action)
    camera = Camera("wrist", str(video), 16, old_s=1.5)
    env = ArmEnv(arm, HOME, 1000, {"wrist": camera}, 16)
    served = RobotServer(env, LinkConfig("127.0.0.1:0"), LIMITS, RATE_HZ, WATCHDOG_S)
    robot = driven(served)
    first, _ = robot.reset(seed=0)
    assert first["wrist_image"].shape == (16, 16, 3)
    info: dict[str, Any] = {}
    for _ in range(200):
        *_, truncated, info = robot.step(act(0.0))
        if truncated:
            break
    assert "camera wrist has shown nothing new" in info["stopped"]
    robot.close()
    served.close()
    with pytest.raises(ArmError):
        env.observe()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of them"),
        (["arm=ur5"], "no such arm; choose from franka"),
        (["arm=franka"], "three metres where an episode begins"),
        (["arm=franka", "franka.home=[0,0,0]"], "lies outside the box"),
        (["arm=franka", "cameras=[wrist]"], "give camera_sources="),
        (["env=metaworld/reach-v3", "+camera_sources.wrist=0"], "are a real arm's"),
    ],
)
def test_wrong_options(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    limits = [
        "limits.low=[0.4,-0.1,0.2]", "limits.high=[0.6,0.1,0.4]", "limits.speed=0.5",
        "limits.step=2", "limits.per_action=0.02",
    ]  # fmt: skip
    assert main(["hil", "robot", *arguments, *limits]) == 2
    assert message in capsys.readouterr().err


def test_a_session_on_a_real_arm_needs_no_simulation(
    server: RobotServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session = [
        "hil", "local", f"robot.address=127.0.0.1:{server.port}", "rlpd.hidden=[16]",
        "learning.batch_size=16", "learning.start_steps=10", "steps=30", "device=cpu", "name=a",
    ]  # fmt: skip
    server._env.unwrapped._horizon = 20  # type: ignore[attr-defined]
    assert main(session) == 0
    metrics = json.loads((tmp_path / "runs/hil/a/metrics.json").read_text())
    assert metrics["steps"] >= 30 and metrics["updates"] > 0
    assert Sizes(20, 4) == Sizes(*json.loads(_policy(tmp_path)))


def _policy(folder: Path) -> str:
    found = json.loads((folder / "runs/hil/a/policy/policy.json").read_text())
    return json.dumps([found["observation_dim"], found["action_dim"]])

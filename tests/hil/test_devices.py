"""Devices through the libraries that drive them, and what an actor makes of what people say."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robopref.environments import make_env
from robopref.errors import InputError
from robopref.hil.actor import ActingConfig, Actor
from robopref.hil.gamepad import BACK, CLOSE, FAILURE, LEFT_X, LEFT_Y, SUCCESS, GamepadOperator
from robopref.hil.keyboard import KeyboardOperator
from robopref.hil.log import StepLog
from robopref.hil.operators import Action, BrowserConfig, EmergencyStopError, Teleoperator
from robopref.hil.spacemouse import SpaceMouseOperator
from robopref.policies.registry import new_policy
from robopref.policies.rlpd import RLPDConfig


class Said(Teleoperator):
    """A person who says something at one step."""

    def __init__(self, step: int, verdict: bool | None = None) -> None:
        self._step, self._verdict, self._reads = step, verdict, 0

    def read(self) -> Action | None:
        self._reads += 1
        if self._reads == self._step and self._verdict is None:
            raise EmergencyStopError
        return None

    def verdict(self) -> bool | None:
        return self._verdict if self._reads == self._step else None


def actor(folder: Path, operator: Teleoperator) -> Actor:
    env = make_env("toy/point-mass-v0")
    policy = new_policy(RLPDConfig(hidden=[8], critics=2), 4, 2, seed=0)
    log = StepLog(folder / "mine.steps", 4, 2)
    return Actor(env, policy, 1, operator, log, ActingConfig())


@pytest.mark.parametrize("verdict", [True, False])
def test_what_a_person_says_of_an_episode_ends_it_and_is_its_reward(
    verdict: bool, tmp_path: Path
) -> None:
    playing = actor(tmp_path, Said(5, verdict))
    outcome = playing.play()
    assert (outcome.steps, outcome.success) == (5, verdict)
    steps = playing.log.all()  # type: ignore[attr-defined]
    assert steps.rewards.tolist() == [0.0] * 4 + [float(verdict)]
    assert steps.terminated.tolist() == [False] * 4 + [True]
    assert steps.success[-1] == verdict


def test_an_emergency_stop_reaches_the_robot_before_the_next_step(tmp_path: Path) -> None:
    playing = actor(tmp_path, Said(4))
    reasons: list[str] = []
    playing.env.emergency_stop = reasons.append  # type: ignore[attr-defined]
    with pytest.raises(EmergencyStopError):
        playing.play()
    assert reasons == ["the operator's device"]
    assert playing.log.last == 3  # what was done before is kept


def test_the_keyboard_calls_episodes_and_stops() -> None:
    keyboard = KeyboardOperator(4)
    assert keyboard.verdict() is None
    keyboard.press("y")
    assert keyboard.read() is None and keyboard.verdict() is True and keyboard.verdict() is None
    keyboard.press("n")
    assert keyboard.verdict() is False
    keyboard.press(" ")
    with pytest.raises(EmergencyStopError):
        keyboard.read()


def test_a_gamepad_through_pygame(monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    gamepad = GamepadOperator(4)
    with pytest.raises(InputError, match="none is connected"):
        gamepad.__enter__()
    pygame.init()  # SDL's queue, with no device behind it

    def post(kind: int, **values: Any) -> None:
        pygame.event.post(pygame.event.Event(kind, **values))

    try:
        assert gamepad.read() is None
        post(pygame.JOYAXISMOTION, axis=LEFT_X, value=0.05)  # a stick that does not rest quite
        assert gamepad.read() is None
        post(pygame.JOYAXISMOTION, axis=LEFT_X, value=0.5)
        post(pygame.JOYAXISMOTION, axis=LEFT_Y, value=-1.0)
        post(pygame.JOYBUTTONDOWN, button=CLOSE)
        np.testing.assert_allclose(gamepad.read(), [0.5, 1.0, 0.0, 1.0])  # type: ignore[arg-type]
        post(pygame.JOYBUTTONUP, button=CLOSE)
        post(pygame.JOYDEVICEREMOVED, instance_id=0)
        assert gamepad.read() is None  # its cable is out: hands off
        post(pygame.JOYBUTTONDOWN, button=SUCCESS)
        assert gamepad.read() is None and gamepad.verdict() is True
        post(pygame.JOYBUTTONDOWN, button=FAILURE)
        assert gamepad.read() is None and gamepad.verdict() is False
        post(pygame.JOYBUTTONDOWN, button=BACK)
        with pytest.raises(EmergencyStopError):
            gamepad.read()
    finally:
        pygame.quit()


class FakeHID:
    """A SpaceMouse Compact on the bus, by its reports."""

    vendor_id, product_id = 9583, 50741
    product_string, manufacturer_string, serial_number, release_number = "Compact", "3D", "1", 1

    def __init__(self) -> None:
        self.reports: list[bytes] = []
        self.unplugged = False

    def find(self) -> list[FakeHID]:
        return [self]

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def set_nonblocking(self, nonblocking: bool) -> None:
        assert nonblocking

    def read(self, size: int) -> bytes:
        if self.unplugged:
            raise OSError("Failed to read from HID device: -1")
        return self.reports.pop(0) if self.reports else b""

    def move(self, x: int, y: int, z: int) -> None:
        self.reports.append(b"\x01" + np.array([x, y, z], "<i2").tobytes())

    def press(self, *buttons: int) -> None:
        self.reports.append(bytes([3, sum(1 << button for button in buttons), 0]))


def test_a_spacemouse_through_pyspacemouse(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspacemouse")
    monkeypatch.setattr("pyspacemouse.api.Enumeration", lambda: SimpleNamespace(find=list))
    with pytest.raises(InputError, match="plug it in by USB"):
        SpaceMouseOperator(4).__enter__()
    device = FakeHID()
    monkeypatch.setattr("pyspacemouse.api.Enumeration", lambda: device)
    with SpaceMouseOperator(4) as mouse:
        assert mouse.read() is None
        for _ in range(50):  # reports pile up where nobody reads them
            device.move(350, 0, 0)
        device.move(175, -350, 10)  # right, away, and hardly down
        wait_for(lambda: not device.reports)
        time.sleep(0.02)
        np.testing.assert_allclose(mouse.read(), [0.5, 1.0, 0.0, 0.0])  # type: ignore[arg-type]
        device.move(0, 0, 0)
        device.press(0)
        wait_for(lambda: not device.reports)
        time.sleep(0.02)
        np.testing.assert_allclose(mouse.read(), [0.0, 0.0, 0.0, 1.0])  # type: ignore[arg-type]
        device.press(0, 1)
        wait_for(lambda: not device.reports)
        time.sleep(0.02)
        with pytest.raises(EmergencyStopError):
            mouse.read()
        device.press()
        device.move(350, 0, 0)
        wait_for(lambda: not device.reports)
        device.unplugged = True
        time.sleep(0.05)
        assert mouse.read() is None  # its cable is out: hands off


pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from robopref.hil.browser import (  # noqa: E402
    LONGEST_MESSAGE,
    SILENT_S,
    TAKEN,
    BrowserOperator,
    application,
)


def client(operator: BrowserOperator) -> Any:
    testclient = pytest.importorskip("fastapi.testclient")
    return testclient.TestClient(application(operator), "http://localhost:1")


ORIGIN = {"origin": "http://localhost:1", "host": "localhost:1"}


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_page_drives_while_something_is_held() -> None:
    now = [0.0]
    operator = BrowserOperator(4, BrowserConfig(), clock=lambda: now[0])
    path = f"/drive/{operator.secret}/ws"
    with client(operator).websocket_connect(path, headers=ORIGIN) as page:
        page.send_text(json.dumps({"move": [0.5, -2.0, 0.0], "gripper": 1}))
        wait_for(lambda: operator.read() is not None)
        np.testing.assert_array_equal(operator.read(), [0.5, -1.0, 0.0, 1.0])
        now[0] = SILENT_S + 0.01
        assert operator.read() is None  # nothing came for a while
        page.send_text(json.dumps({"move": [1, 0, 0], "gripper": 0}))
        wait_for(lambda: operator.read() is not None)
        page.send_text(json.dumps({"verdict": True}))
        wait_for(lambda: operator.read() is None)  # let go
        assert operator.verdict() is True and operator.verdict() is None
        page.send_text(json.dumps({"move": [1, 0, 0], "gripper": 0}))
        wait_for(lambda: operator.read() is not None)
    wait_for(lambda: operator.read() is None)  # the connection broke
    assert not operator.driving


def test_one_person_drives_and_nobody_from_elsewhere() -> None:
    operator = BrowserOperator(4, BrowserConfig())
    served, path = client(operator), f"/drive/{operator.secret}/ws"
    testclient = pytest.importorskip("starlette.websockets")
    with served.websocket_connect(path, headers=ORIGIN):
        wait_for(lambda: operator.driving)
        with pytest.raises(testclient.WebSocketDisconnect) as closed:
            with served.websocket_connect(path, headers=ORIGIN) as second:
                second.receive_text()
        assert closed.value.code == TAKEN
    wait_for(lambda: not operator.driving)
    for headers in ({**ORIGIN, "origin": "http://evil.example"}, {"host": "localhost:1"}):
        with pytest.raises(testclient.WebSocketDisconnect):
            with served.websocket_connect(path, headers=headers) as other:
                other.receive_text()
    assert served.get("/drive/guess").status_code == 404
    assert "Drive the robot" in served.get(f"/drive/{operator.secret}").text


@pytest.mark.parametrize(
    "message",
    ["no json", "[]", '{"move": [1, 2]}', '{"move": [1, 2, NaN]}', '{"run": 1}', '{"move": "abc"}',
     '{"move": [1, 2, "x"]}'],
)  # fmt: skip
def test_malformed_messages_end_the_connection_with_hands_off(message: str) -> None:
    operator = BrowserOperator(4, BrowserConfig())
    with client(operator).websocket_connect(f"/drive/{operator.secret}/ws", headers=ORIGIN) as page:
        page.send_text(json.dumps({"move": [1, 0, 0], "gripper": 0}))
        wait_for(lambda: operator.read() is not None)
        page.send_text(message)
        wait_for(lambda: not operator.driving)
        assert operator.read() is None
    assert len(message) < LONGEST_MESSAGE


def test_other_machines_need_a_certificate() -> None:
    with pytest.raises(InputError, match="others can reach it"):
        BrowserOperator(4, BrowserConfig("0.0.0.0:8060"))
    with pytest.raises(InputError, match="give both"):
        BrowserOperator(4, BrowserConfig(certificate="c.pem"))
    with pytest.raises(InputError, match="must be host:port"):
        BrowserOperator(4, BrowserConfig("8060"))
    with pytest.raises(InputError, match="at least 4 dimensions"):
        BrowserOperator(2, BrowserConfig())


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_real_browser(capsys: pytest.CaptureFixture[str]) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    with (
        BrowserOperator(4, BrowserConfig("127.0.0.1:0")) as operator,
        sync_api.sync_playwright() as playwright,
    ):
        link = capsys.readouterr().out.split()[-1]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 780})
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.goto(link)
        page.locator("#status.policy").wait_for()
        assert operator.read() is None
        box = page.locator("#pad").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x, y - box["height"] / 2)  # away
        wait_for(lambda: operator.read() is not None and operator.read()[1] > 0.9)  # type: ignore[index]
        time.sleep(2 * SILENT_S)  # held still, it says so again and again
        assert operator.read() is not None
        assert page.locator("#status").inner_text() == "you are driving"
        page.mouse.up()
        wait_for(lambda: operator.read() is None)
        page.keyboard.down("f")
        wait_for(lambda: operator.read() is not None and operator.read()[2] == -1.0)  # type: ignore[index]
        page.keyboard.up("f")
        assert page.locator("#view").is_hidden()
        operator.show(np.full((64, 64, 3), 128, np.uint8))
        page.locator("#view").wait_for()
        wait_for(lambda: page.locator("#view").evaluate("image => image.naturalWidth") == 64)
        page.locator("#yes").click()
        wait_for(lambda: operator.verdict() is True)
        page.locator("#stop").click()
        with pytest.raises(EmergencyStopError):
            for _ in range(200):
                operator.read()
                time.sleep(0.01)
        assert not problems
        browser.close()

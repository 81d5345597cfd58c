"""The session's page: what it shows, who may change anything, and the page in a browser."""

import dataclasses
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from robopref.errors import InputError
from robopref.hil.steps import Steps
from robopref.hil.watch import Watch
from tests.hil.steps import episode

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from robopref.hil.page import application, serve_page  # noqa: E402

FIGURES = {
    "name": "arm", "steps": 9, "updates": 1200, "version": 4, "updates_per_second": 31.25,
}  # fmt: skip


def watched() -> Watch:
    watch = Watch()
    good = episode(1, 5, people=(1, 2))
    good.success[4] = True
    watch.see("left", Steps.join([good, episode(6, 4, people=(3,), ended=False)]))
    return watch


def test_episodes_are_counted_as_they_end() -> None:
    state = watched().state()
    assert state["episodes"] == 1
    assert (state["success"], state["intervention_rate"]) == (1.0, 0.4)
    robot = state["robots"][0]
    assert (robot["name"], robot["control"], robot["connected"]) == ("left", "person", True)
    assert (robot["steps"], robot["episode_steps"]) == (9, 4)
    watch = watched()
    watch.see("left", episode(10, 2))  # the one before was broken off
    assert watch.state()["episodes"] == 3


def client(watch: Watch) -> Any:
    testclient = pytest.importorskip("fastapi.testclient")
    return testclient.TestClient(application(watch, lambda: FIGURES), "http://localhost:1")


def test_the_page_and_its_state() -> None:
    page = client(watched())
    assert "robopref session" in page.get("/").text
    for path in ("/session.js", "/session.css"):
        assert page.get(path).status_code == 200
    reply = page.get("/state")
    assert reply.json()["updates"] == 1200
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert page.get("/../link.py").status_code == 404


def test_what_the_cameras_see() -> None:
    watch = watched()
    page = client(watch)
    assert page.get("/picture/left").status_code == 404
    assert page.get("/picture/nobody").status_code == 404
    steps = episode(10, 3, looks=True)
    pictures = np.concatenate([steps.next_images, 2 * steps.next_images], axis=1)  # two cameras
    watch.see("left", dataclasses.replace(steps, next_images=pictures))
    assert watch.state()["robots"][0]["sees"]
    found = cv2.imdecode(np.frombuffer(page.get("/picture/left").content, np.uint8), 1)
    assert found.shape == (16, 32, 3)
    assert (found[:, :16] == 13).all() and (found[:, 16:] == 26).all()


def test_only_the_page_itself_changes_anything() -> None:
    watch = watched()
    page = client(watch)
    for path in ("/pause", "/end"):
        assert page.post(path).status_code == 403
        assert page.get(path).status_code == 405
    assert not (watch.paused or watch.ending)
    assert page.post("/pause", headers={"X-Robopref": "1"}).json()["paused"]
    assert not page.post("/resume", headers={"X-Robopref": "1"}).json()["paused"]
    assert page.post("/end", headers={"X-Robopref": "1"}).json()["ending"]
    # A name of another site that leads here by its own DNS.
    assert page.get("/state", headers={"Host": "evil.example:1"}).status_code == 403


def test_addresses_that_others_reach_are_refused() -> None:
    for address in ("0.0.0.0:8050", "robot.lab:8050", "8050"):
        with pytest.raises(InputError):
            serve_page(address, Watch(), dict)


def test_the_page_in_a_browser(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium; on Debian or Ubuntu run 'apt-get install chromium'")
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    watch = watched()
    end = serve_page(address, watch, lambda: FIGURES)
    stop = threading.Event()

    def play() -> None:
        number = 10
        while not stop.wait(0.05):
            found = episode(number, 5, people=tuple(range(max(5 - number // 30, 0))))
            found.success[4] = number % 3 > 0
            watch.see("left", found)
            number += 5

    thread = threading.Thread(target=play)
    thread.start()
    try:
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
            )
            page = browser.new_page(viewport={"width": 1000, "height": 720})
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text))
            page.goto(f"http://{address}/")
            page.get_by_text("running").wait_for()
            time.sleep(2.0)
            page.screenshot(path=str(tmp_path / "desktop.png"))
            page.get_by_role("button", name="Pause").click()
            page.get_by_text("paused").wait_for()
            assert watch.paused
            page.get_by_role("button", name="Go on").click()
            page.get_by_text("running").wait_for()
            page.set_viewport_size({"width": 390, "height": 800})
            page.screenshot(path=str(tmp_path / "phone.png"))
            page.on("dialog", lambda dialog: dialog.accept())
            page.get_by_role("button", name="End session").click()
            page.get_by_text("ending").wait_for()
            assert watch.ending
            end()
            page.get_by_text("no connection to the learner").wait_for()
            browser.close()
    finally:
        stop.set()
        thread.join()
    assert [text for text in complaints if "ERR_CONNECTION" not in text] == []

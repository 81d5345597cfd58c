"""The page in a real browser: what is exported is exactly what was acknowledged."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from robopref.label.export import ANSWERS, PREFERENCES
from robopref.preferences.dataset import load_preferences

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


class Served:
    """A `robopref label` process in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.log = folder, folder / "log.txt"
        self._start(*options, "name=session", "port=0")

    def _start(self, *options: str) -> None:
        program = str(Path(sys.executable).parent / "robopref")
        before = len(self.log.read_text()) if self.log.exists() else 0
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [program, "label", *options], cwd=self.folder, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 60
        while not (found := re.findall(r"http://\S+", self.log.read_text()[before:])):
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)
        time.sleep(0.3)
        self.links = re.findall(r"http://\S+", self.log.read_text()[before:])
        self.port = int(found[0].split(":")[2].split("/")[0])

    @property
    def run(self) -> Path:
        """The session's folder."""
        return self.folder / "runs" / "label" / "session"

    def kill(self) -> None:
        """As a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def resume(self) -> None:
        """Serves the same session again, at the same address."""
        self._start("resume=runs/label/session", f"port={self.port}")

    def stop(self) -> list[dict[str, Any]]:
        """Ends it as Ctrl-C does; returns the exported answers."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0, self.log.read_text()
        return self.exported()

    def exported(self) -> list[dict[str, Any]]:
        """The answers in the file."""
        return pq.read_table(self.run / ANSWERS).to_pylist()  # type: ignore[no-any-return]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    """Starts servers, and ends them."""
    started: list[Served] = []

    def start(*options: str) -> Served:
        started.append(Served(tmp_path, *options))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a screen."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("no Chromium; on Debian or Ubuntu run 'apt-get install chromium'")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


class Person:
    """A page in a browser of its own, with what the server acknowledged to it."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        self.page = self.context.new_page()
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.errors: list[str] = []
        self.loading, self.most_loading = 0, 0
        self.page.on("response", self._note)
        self.page.on("request", lambda request: self._count(request, 1))
        self.page.on("requestfinished", lambda request: self._count(request, -1))
        self.page.on("requestfailed", lambda request: self._count(request, -1))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.wait("")

    def _note(self, response: Any) -> None:
        if response.url.endswith("/api/answers") and response.status == 200:
            sent = response.request.post_data_json
            self.acknowledged[sent["client_id"]] = {
                "place": sent["place"], "answer": sent["answer"], "reason": sent["reason"]
            }  # fmt: skip

    def _count(self, request: Any, change: int) -> None:
        """Counts the connections that videos take."""
        if "/videos/" in request.url:
            self.loading += change
            self.most_loading = max(self.most_loading, self.loading)

    @property
    def place(self) -> str:
        """The question on the screen, once its videos are."""
        return self.page.get_attribute("body", "data-ready") or ""

    def wait(self, before: str) -> None:
        """Waits for another question than `before`."""
        self.page.wait_for_selector(
            f"body[data-ready]:not([data-ready='{before}'])", timeout=40_000
        )

    def press(self, *keys: str) -> None:
        """Presses keys, the last of which answers."""
        before = self.place
        for key in keys:
            self.page.keyboard.press(key)
        self.wait(before)


def answers_of(exported: list[dict[str, Any]]) -> list[str]:
    return sorted(row["answer"] for row in exported)


def sent(*people: Person) -> list[str]:
    return sorted(json.dumps(a["answer"]) for p in people for a in p.acknowledged.values())


def label_fifty(served: Served, browser: Any) -> None:
    """50 pairs by keys, with undos, a reason, and a reload in the middle."""
    person = Person(browser, served.links[0])
    pattern = ["ArrowLeft", "ArrowRight", "ArrowDown", "ArrowLeft", "s"]
    for number in range(50):
        key = pattern[number % 5]
        if number == 10:
            person.page.keyboard.press("r")
            person.page.keyboard.type("sooner there <b>")
            person.page.keyboard.press("Enter")
        person.press(key)
        if number % 20 == 7:  # takes the last one back, and answers otherwise
            undone = list(person.acknowledged)[-1]
            before = person.place
            person.page.keyboard.press("u")
            person.wait(before)
            del person.acknowledged[undone]
            person.press("ArrowRight")
        if number == 25:
            before = person.place
            person.page.reload()
            person.wait("")
            assert person.place == before
    assert "50 answered" in person.page.text_content("#count")
    exported = served.stop()
    assert answers_of(exported) == sent(person) and len(exported) == 50
    assert [row["reason"] for row in exported if row["reason"]] == ["sooner there <b>"]
    labels = load_preferences(served.run / PREFERENCES)
    assert len(labels) == sum("choice" in row["answer"] for row in exported)
    assert not person.errors
    # A browser opens six connections to a server; an answer must not wait for a video.
    assert 2 <= person.most_loading <= 5
    person.context.close()


def test_fifty_pairs_by_keys(points: Path, serve: Any, browser: Any) -> None:
    label_fifty(serve(str(points), "questions=60", "learning.every=0"), browser)


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize("task", ["metaworld/button-press-v3", "robosuite/lift"])
def test_fifty_pairs_of_simulated_robots(
    task: str, serve: Any, browser: Any, tmp_path: Path
) -> None:
    program = str(Path(sys.executable).parent / "robopref")
    collect = [program, "collect", f"env={task}", "mix=mixed", "episodes=14", "horizon=60"]
    subprocess.run([*collect, "output=robots.hdf5"], cwd=tmp_path, check=True)
    label_fifty(serve("robots.hdf5", "questions=60", "learning.every=0"), browser)


def test_every_kind_of_question(points: Path, serve: Any, browser: Any) -> None:
    kinds = "ask.kinds=[ranking,score,success,triplet,attribute]"
    served = serve(str(points), kinds, "ask.ranking_size=3", "questions=6", "learning.every=0")
    person = Person(browser, served.links[0])
    assert person.page.is_disabled("#send")
    person.press("3", "1", "Enter")  # the last place follows
    person.press("8", "Enter")
    person.page.keyboard.press("Space")  # a still picture, so that the moment is known
    person.page.keyboard.press("y")
    person.wait("3")
    assert person.page.locator("video").count() == 3
    person.press("ArrowRight")
    assert person.page.text_content("#question") == "Which robot is gentler?"
    person.press("ArrowDown")
    first = person.page.locator("figure").nth(1)
    first.drag_to(person.page.locator("figure").nth(0))
    person.press("Enter")
    assert person.place == "done" and "Thank you" in person.page.text_content("#question")
    found = [json.loads(row["answer"]) for row in served.stop()]
    assert found[0] == {"order": [2, 0, 1]} and found[1] == {"score": 8}
    assert found[2]["success"] is True and 0 <= found[2]["step"] <= 12
    assert found[3:] == [{"choice": "second"}, {"choice": "equal"}, {"order": [1, 0, 2]}]
    assert len(load_preferences(served.run / PREFERENCES)) == 6  # two rankings of three
    assert not person.errors


def test_three_people_at_once(points: Path, serve: Any, browser: Any) -> None:
    served = serve(
        str(points), "host=0.0.0.0", "people=[ana,ben,cem]", "questions=24", "ask.repeat_share=0",
        "learning.every=0",
    )  # fmt: skip
    links = [re.sub(r"//[^:]+:", "//127.0.0.1:", link) for link in served.links]
    assert len(links) == 4  # the owner's is the first
    stranger = browser.new_context().new_page()
    stranger.goto(links[0].rsplit("/a/", 1)[0])
    stranger.wait_for_selector("text=Open the link that you were sent")
    people = [Person(browser, link) for link in links[1:]]
    while any(person.place != "done" for person in people):
        for person in people:
            if person.place != "done":
                person.press("ArrowLeft")
    exported = served.stop()
    assert len(exported) == 24 and answers_of(exported) == sent(*people)
    assert len({row["pieces"] for row in exported}) == 24
    assert {row["annotator"] for row in exported} == {"ana", "ben", "cem"}


def test_killed_server_and_killed_browser(points: Path, serve: Any, browser: Any) -> None:
    served = serve(str(points), "questions=40", "ask.repeat_share=0", "learning.every=0")
    person = Person(browser, served.links[0])
    for _ in range(5):
        person.press("ArrowLeft")
    served.kill()
    before = person.place
    person.page.keyboard.press("ArrowRight")
    person.page.wait_for_selector("text=your answer is kept here")
    served.resume()
    person.wait(before)  # delivered without anybody's doing
    for _ in range(3):
        person.press("ArrowDown")
    # The browser is killed with an answer under way; then it is opened again.
    state = person.context.storage_state()
    person.page.keyboard.press("ArrowLeft")
    person.context.close()
    again = Person(browser, served.links[0], storage_state=state)
    again.press("ArrowRight")
    served.kill()
    served.resume()
    exported = served.stop()
    found = answers_of(exported)
    for answer in (*sent(person), *sent(again)):
        found.remove(answer)  # each acknowledged one is there
    assert len(found) <= 1  # the one that was under way, if it had arrived
    assert len({row["pieces"] for row in exported}) == len(exported)

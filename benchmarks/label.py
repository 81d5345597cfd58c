"""The label page under load, and how soon a person sees something.

200 simulated people answer 10,000 questions over HTTP at a real server, on SQLite and on a real
PostgreSQL. Each comes within half a minute and thinks for a while, 5 s on average. Latency is that
of a stored answer together with the next question. What the server exports is compared with what it
acknowledged. Then a real browser opens a session over 200 episodes of Meta-World.

    python benchmarks/label.py [--quick] [--json results/label.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from results import ROBOPREF, argument_parser, write_results

THINKING_S, ARRIVING_S = 5.0, 30.0
STARTS = 5
BROWSER = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def collect(folder: Path, env: str, episodes: int, horizon: int, mix: str) -> Path:
    """Records a dataset."""
    path = folder / f"{env.split('/')[-1]}.hdf5"
    options = [f"env={env}", mix, f"episodes={episodes}", f"horizon={horizon}", f"output={path}"]
    subprocess.run([ROBOPREF, "collect", *options], check=True, stdout=subprocess.DEVNULL)
    return path


class Server:
    """A `robopref label` process."""

    def __init__(self, folder: Path, name: str, *options: str, addresses: int = 1) -> None:
        self.folder, log = folder / "runs" / "label" / name, folder / f"{name}.log"
        command = [ROBOPREF, "label", *options, f"name={name}", "port=0", "learning.every=0"]
        self.begun = time.time()
        with log.open("w") as output:
            self._process = subprocess.Popen(
                command, cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )
        while len(links := re.findall(r"http://\S+", log.read_text())) < addresses:
            if self._process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.01)
        self.start_s = time.time() - self.begun
        self.links = [re.sub(r"//[^:]+:", "//127.0.0.1:", link) for link in links]

    def stop(self) -> list[dict[str, Any]]:
        """Ends it; returns the exported answers."""
        self._process.send_signal(signal.SIGINT)
        if self._process.wait():
            raise RuntimeError(f"{self.folder}: ended with {self._process.returncode}")
        answers: list[dict[str, Any]] = pq.read_table(self.folder / "answers.parquet").to_pylist()
        return answers


async def person(
    link: str, seed: int, acknowledged: list[int], times: list[float]
) -> NDArray[np.int64]:
    """One person: answers until no question is left.

    Returns (2,): answers that were refused, and connections that broke, where the answer was sent
    again, as the page does.
    """
    rng, errors = np.random.default_rng(seed), np.zeros(2, dtype=np.int64)
    address = link.rsplit("/a/", 1)[0]
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=60.0) as client:
        await asyncio.sleep(rng.uniform(0.0, ARRIVING_S))
        await client.get(link)
        question = (await client.post("/api/next", json={})).json()["next"]
        while question:
            await asyncio.sleep(rng.exponential(THINKING_S))
            choice = str(rng.choice(["first", "second", "equal"]))
            body = {
                "place": question["place"], "client_id": f"person-{seed}-{question['place']}",
                "answer": {"choice": choice}, "response_time_s": 1.0,
            }  # fmt: skip
            begun = time.perf_counter()
            try:
                response = await client.post("/api/answers", json=body)
            except httpx.TransportError:
                errors[1] += 1
                response = await client.post("/api/answers", json=body)
            times.append(time.perf_counter() - begun)
            if response.status_code == 200:
                acknowledged.append(question["place"])
                question = response.json()["next"]
            else:
                errors[0] += 1
                question = (await client.post("/api/next", json={})).json()["next"]
    return errors


def load(folder: Path, dataset: Path, database: str, people: int, questions: int) -> dict[str, Any]:
    """Lets everybody answer everything; returns a row of figures."""
    name = "postgresql" if database else "sqlite"
    names = ",".join(f"p{number}" for number in range(people))
    options = [f"people=[{names}]", "host=0.0.0.0", f"questions={questions}", "ask.repeat_share=0"]
    options += [f"database={database}"] if database else []
    server = Server(folder, name, str(dataset), *options, addresses=people + 1)
    acknowledged: list[int] = []
    times: list[float] = []

    async def everybody() -> NDArray[np.int64]:
        links = server.links[1:]
        found = [person(link, seed, acknowledged, times) for seed, link in enumerate(links)]
        return np.sum(await asyncio.gather(*found), axis=0)

    begun = time.monotonic()
    errors = asyncio.run(everybody())
    seconds = time.monotonic() - begun
    exported = Counter(row["question"] for row in server.stop())
    # Without overlap a question has one place, of the same number.
    lost = len(set(acknowledged) - set(exported))
    doubled = sum(count - 1 for count in exported.values()) + len(acknowledged) - len(exported)
    milliseconds = 1_000.0 * np.percentile(times, [50, 99, 100])
    return {
        "database": name,
        "people": people,
        "answers": sum(exported.values()),
        "errors": int(errors[0]),
        "broken_connections": int(errors[1]),
        "lost_or_doubled": lost + doubled,
        "median_ms": round(float(milliseconds[0]), 1),
        "p99_ms": round(float(milliseconds[1]), 1),
        "longest_ms": round(float(milliseconds[2]), 1),
        "answers_per_second": round(len(times) / seconds, 1),
    }


def see(folder: Path, episodes: int) -> dict[str, float]:
    """Seconds from the command to the page's address, to the first video on the screen and to both
    of the first question, medians of several starts; and milliseconds from a key to the next
    question's videos.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    dataset = collect(folder, "metaworld/button-press-v3", episodes, 100, "mix=mixed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER)
        page = browser.new_page()
        page.add_init_script(WATCH)
        starts = []
        for number in range(STARTS):
            server = Server(folder, f"seen-{number}", str(dataset), "questions=60")
            page.goto(server.links[0])
            page.wait_for_selector("body[data-ready]", timeout=60_000)
            seen = page.evaluate("[window.firstVideo, window.question]")
            starts.append([server.start_s, *(moment - server.begun for moment in seen)])
            if number + 1 < STARTS:
                page.goto("about:blank")
                server.stop()
        following = []
        for _ in range(30):
            page.wait_for_timeout(1_500)  # a person looks
            following.append(page.evaluate(NEXT_QUESTION_MS))
        browser.close()
        server.stop()
    address, first, question = np.median(starts, axis=0).round(2)
    return {
        "start_s": address,
        "first_video_s": first,
        "first_question_s": question,
        "next_question_ms": round(np.median(following), 1),
    }


WATCH = """
const look = () => {
  const videos = [...document.querySelectorAll("#stage video")];
  const now = Date.now() / 1000;
  if (videos.some((video) => video.readyState >= 2)) window.firstVideo ??= now;
  if (document.body?.dataset.ready) window.question = now; else requestAnimationFrame(look);
};
look();
"""
"""Notes in the page, in seconds of the clock, when videos show."""
NEXT_QUESTION_MS = """() => new Promise((done) => {
  const before = document.body.dataset.ready, begun = performance.now();
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
  const look = () => document.body.dataset.ready === before
    ? requestAnimationFrame(look) : done(performance.now() - begun);
  look();
})"""
"""From the key until the next question's videos show."""


def main() -> None:
    """Measures and writes."""
    options = argument_parser(__doc__.splitlines()[0], "label").parse_args()
    people, questions = (20, 400) if options.quick else (200, 10_000)
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.label.postgres import PrivatePostgres

    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        walks = collect(folder, "toy/point-mass-v0", 150, 12, "mix=expert")
        table.append(load(folder, walks, "", people, questions))
        print(table[-1], flush=True)
        with PrivatePostgres() as database:
            table.append(load(folder, walks, database, people, questions))
        print(table[-1], flush=True)
        seen = see(folder, 50 if options.quick else 200)
    headline = {
        "answers": min(row["answers"] for row in table),
        "errors": sum(row["errors"] for row in table),
        "lost_or_doubled": sum(row["lost_or_doubled"] for row in table),
        "p99_ms": max(row["p99_ms"] for row in table),
        **seen,
    }
    for metric, value in headline.items():
        print(f"{metric}: {value}")
    write_results(options.json, headline, table, ["fastapi", "sqlalchemy", "uvicorn"])


if __name__ == "__main__":
    main()

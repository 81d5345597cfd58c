"""A person corrects a robot while it learns, beside learning without corrections and cloning.

A scripted person, who is slow and strays (half the expert's speed, an error of 0.3 that lasts a
second), gives five demonstrations and takes over when there is no progress. `hil` is RLPD with
corrections, `rlpd` without, `hgdagger` clones demonstrations and the corrections of its own session
(Kelly et al. 2019, arXiv 1810.02890), `bc` the demonstrations. Success, in 100 steps, is the
policy's own, without corrections. Then actor and learner as processes at 20 Hz, and under kills.

    python benchmarks/hil.py [--quick] [--steps 8000] [--json results/hil.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import json
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from results import ROBOPREF, argument_parser, success_of_seeds, write_results
from robopref.data.robomimic import load_dataset
from robopref.evaluation.statistics import interquartile_mean
from robopref.hil.log import StepLog

TASKS = ("metaworld/drawer-close-v3", "metaworld/coffee-button-v3")
HORIZON, DEMONSTRATIONS, EPISODES = 100, 5, 50
PERSON = ("synthetic.speed=0.5", "synthetic.drift=0.3")
RLPD = "learning.updates_per_step=2"
ARMS: dict[str, tuple[str, ...]] = {
    "hil": ("operator=synthetic", RLPD),
    "rlpd": ("operator=none", RLPD),
    "hgdagger": (
        "operator=synthetic", "policy=behavior_cloning", "learning.pretraining_updates=2000",
    ),
    "bc": (),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One session, or one cloning."""

    folder: Path
    task: str
    arm: str
    seed: int
    steps: int
    episodes: int

    @property
    def run_folder(self) -> Path:
        """Where it lies."""
        command = "train" if self.arm == "bc" else "hil"
        return self.folder / "runs" / command / f"{self.task.split('/')[1]}-{self.arm}-{self.seed}"

    def demonstrations(self) -> Path:
        """Recorded by `record`."""
        name = f"{self.task.split('/')[1]}-{self.seed}"
        return self.folder / "runs" / "hil-record" / name / "demonstrations.hdf5"

    def record(self) -> None:
        """The person's demonstrations for this seed."""
        if not self.demonstrations().exists():
            shutil.rmtree(self.demonstrations().parent, ignore_errors=True)
            self._robopref(
                "hil", "record", f"env={self.task}", f"horizon={HORIZON}", "operator=synthetic",
                "synthetic.patience=1", "synthetic.delay=0", f"synthetic.hold={HORIZON}", *PERSON,
                f"episodes={DEMONSTRATIONS}", f"acting.seed={self.seed}",
                f"name={self.demonstrations().parent.name}",
            )  # fmt: skip

    def make(self) -> None:
        """Runs it, unless it is there."""
        if (self.run_folder / "metrics.json").exists():
            return
        shutil.rmtree(self.run_folder, ignore_errors=True)
        common = [
            f"dataset={self.demonstrations()}", f"evaluation.episodes={self.episodes}",
            "device=cpu", f"name={self.run_folder.name}",
        ]  # fmt: skip
        if self.arm == "bc":
            self._robopref(
                "train", "policy=behavior_cloning", "training.updates=5000",
                "evaluation.episodes_on_the_way=0", f"training.seed={self.seed}", *common,
            )  # fmt: skip
        else:
            self._robopref(
                "hil", "local", f"env={self.task}", f"horizon={HORIZON}", f"steps={self.steps}",
                f"learning.seed={self.seed}", f"acting.seed={self.seed}", *ARMS[self.arm], *PERSON,
                *common,
            )  # fmt: skip
        print(f"{self.run_folder.name}: {self.row()['success']:.2f}", flush=True)

    def row(self) -> dict[str, Any]:
        """Its figures; a session's also hold the share of each episode that was corrected."""
        row: dict[str, Any] = json.loads((self.run_folder / "metrics.json").read_text())
        if self.arm != "bc":
            lines = (self.run_folder / "metrics.jsonl").read_text().splitlines()
            row["rates"] = [json.loads(line)["episode/intervention_rate"] for line in lines]
            episodes = [json.loads(line) for line in lines]
            row["takeovers"] = sum(each["episode/takeovers"] for each in episodes)
            good = [each["episode/steps"] for each in episodes if each["episode/success"]]
            row["steps_to_success"] = float(np.mean(good[-20:])) if good else float("nan")
        return row

    def _robopref(self, *arguments: str) -> None:
        with (self.folder / "output.log").open("a") as output:
            subprocess.run(
                [ROBOPREF, *arguments], check=True, cwd=self.folder, stdout=output, stderr=output
            )


class Pair:
    """Actor and learner as processes."""

    def __init__(self, folder: Path, *options: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            link = f"link.address=127.0.0.1:{found.getsockname()[1]}"
        common = ["env=metaworld/drawer-open-v3", "horizon=100", link, "steps=0"]
        self._actor = ["actor", *common, "operator=synthetic", "acting.rate_hz=20", *options]
        self._learner = ["learner", *common, "name=arm", "evaluation.episodes=0", "device=cpu"]
        self.learner = self._start(self._learner)
        self.actor = self._start(self._actor)

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{arguments[0]}.log").open("a") as output:
            return subprocess.Popen(
                [ROBOPREF, "hil", *arguments], cwd=self.folder, stdout=output, stderr=output
            )

    def stored(self) -> int:
        """Steps on the learner's disk."""
        path = self.folder / "runs/hil/arm/steps/robot.steps"
        return StepLog(path, 39, 4, writes=False).last if path.exists() else 0

    def wait_for(self, steps: int) -> None:
        """Until the learner has so many more."""
        wanted, end = self.stored() + steps, time.monotonic() + 120.0
        while self.stored() < wanted:
            if time.monotonic() > end:
                raise RuntimeError((self.folder / "learner.log").read_text()[-2000:])
            time.sleep(0.2)

    def kill(self, rng: random.Random) -> int:
        """Kills one of them and starts it again; steps that were stored and are not any more."""
        time.sleep(rng.uniform(0.0, 2.0))
        before = self.stored()
        if rng.random() < 0.5:
            self.actor.kill()
            self.actor.wait()
            self.actor = self._start(self._actor)
        else:
            self.learner.kill()
            self.learner.wait()
            self.learner = self._start(["learner", "resume=runs/hil/arm"])
        lost = max(before - self.stored(), 0)
        self.wait_for(20)
        return lost

    def finish(self) -> tuple[float, int]:
        """Ends both; the actor's 99th percentile of lateness in ms, and steps lost or doubled."""
        for process in (self.actor, self.learner):
            process.send_signal(signal.SIGTERM)
            process.wait(120)
        spool = StepLog(self.folder / "runs/hil/robot-actor/robot.steps", 39, 4, writes=False).all()
        kept = StepLog(self.folder / "runs/hil/arm/steps/robot.steps", 39, 4, writes=False).all()
        assert spool is not None
        assert kept is not None
        same = np.array_equal(spool.sequence, kept.sequence)
        same = same and np.array_equal(spool.observations, kept.observations)
        late = re.findall(r"late by ([\d.]+) ms", (self.folder / "actor.log").read_text())
        assert load_dataset(self.folder / "runs/hil/arm/session.hdf5").num_steps == len(kept)
        return float(late[-1]), 0 if same else abs(len(spool) - len(kept)) or 1


def main() -> None:
    """Sessions first, two at a time, then the processes."""
    parser = argument_parser(__doc__.splitlines()[0], "hil")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-hil"))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8_000)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    tasks, seeds, steps = options.tasks.split(","), options.seeds, options.steps
    episodes, kills, pace_s = EPISODES, options.kills, 60.0
    folder = options.folder
    if options.quick:
        tasks, seeds, steps, episodes, kills, pace_s = tasks[:1], 1, 600, 5, 2, 10.0
        folder = folder / "quick"
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    runs = [
        Run(folder, task, arm, seed, steps, episodes)
        for seed in range(seeds)
        for task in tasks
        for arm in ARMS
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(Run.record, [run for run in runs if run.arm == "bc"]))
        list(pool.map(Run.make, runs))
    table: list[dict[str, Any]] = []
    headline: dict[str, float] = {}
    for arm in ARMS:
        scores = np.array([
            [run.row()["success"] for run in runs if (run.arm, run.task) == (arm, task)]
            for task in tasks
        ]).T  # fmt: skip
        name = "success_iqm" if arm == "hil" else f"{arm}_success_iqm"
        headline[name] = round(interquartile_mean(scores).value, 4)
        for task in tasks:
            own = [run.row() for run in runs if (run.arm, run.task) == (arm, task)]
            row = {"task": task, "arm": arm, "steps": steps}
            row |= success_of_seeds(np.array([each["success"] for each in own]))
            if arm != "bc":
                row["corrected_first_10"] = round(
                    float(np.mean([np.mean(each["rates"][:10]) for each in own])), 3
                )
                row["corrected_last_10"] = round(
                    float(np.mean([np.mean(each["rates"][-10:]) for each in own])), 3
                )
                row["takeovers"] = round(float(np.mean([each["takeovers"] for each in own])), 1)
                row["steps_to_success"] = round(
                    float(np.mean([each["steps_to_success"] for each in own])), 1
                )
            else:
                shown = [load_dataset(run.demonstrations()) for run in runs if run.task == task]
                row["steps_demonstrated"] = round(
                    float(np.mean([np.mean(dataset.lengths) for dataset in shown])), 1
                )
            table.append(row)
            print(row, flush=True)
    pair = Pair(folder / "pace")
    pair.wait_for(round(pace_s * 20))
    headline["p99_period_error_ms"], lost = pair.finish()
    pair, rng = Pair(folder / "kills"), random.Random(0)
    pair.wait_for(40)
    for _ in range(kills):
        lost += pair.kill(rng)
    _, more = pair.finish()
    headline |= {"kills": kills, "lost_steps": lost + more}
    for name, value in headline.items():
        print(f"{name}: {value}")
    write_results(options.json, headline, table, ["torch", "metaworld", "mujoco", "grpcio"])


if __name__ == "__main__":
    main()

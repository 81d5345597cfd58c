"""A person corrects a robot while it learns, beside learning without corrections and cloning.

A scripted person, slow and unsteady, gives five demonstrations and takes over when there is no
progress, to the end of the task. `hil` is robopref's default with smaller networks, `hilserl` the
same with HIL-SERL's published settings alone, `rlpd` the default without corrections; `hgdagger`
clones demonstrations and the corrections of its own session (Kelly et al. 2019, arXiv 1810.02890),
`bc` the demonstrations. Beside `hil` on the first task: `taught` pays a reward that its corrections
teach, `started` one that was transferred from another task's labels. Success is the policy's own,
without corrections, every 2,000 steps. Then actor and learner as processes at 20 Hz, and under
kills.

    pip install gym-hil
    python benchmarks/hil.py [--quick] [--steps 20000] [--arms hil,bc] [--json results/hil.json]
    python benchmarks/hil.py --figure assets/hil.png    # from what the JSON file has
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import json
import random
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from curves import draw
from hil_processes import Processes
from results import ROBOPREF, argument_parser, success_of_seeds, write_results
from robopref.data.robomimic import load_dataset
from robopref.evaluation.statistics import interquartile_mean
from robopref.files import write_json

DEMONSTRATIONS, EPISODES, EPISODES_ON_THE_WAY, EVERY = 5, 50, 20, 2_000
TASKS = {"metaworld/plate-slide-v3": (150, 0.5), "gym_hil/pick-cube": (100, 0.4)}
"""The tasks: steps of an episode, and the person's share of the scripted expert's speed."""
SMALL = "rlpd.hidden=[128,128]"
ARMS: dict[str, tuple[str, ...]] = {
    "hil": ("operator=synthetic", SMALL),
    "hilserl": ("operator=synthetic", SMALL, "learning.n_step=1", "rlpd.cloning_weight=0"),
    "rlpd": ("operator=none", SMALL),
    "hgdagger": (
        "operator=synthetic", "policy=behavior_cloning", "learning.pretraining_updates=2000",
    ),
    "bc": (),
    "taught": ("operator=synthetic", SMALL, "reward.learn_every=5"),
    "started": ("operator=synthetic", SMALL),
}  # fmt: skip
SERVED = {
    "metaworld/plate-slide-v3": (
        (39, 4), "limits.low=[-0.5,0.3,0]", "limits.high=[0.5,1,0.5]", "limits.per_action=0.01",
    ),
    "gym_hil/pick-cube": (
        (21, 4), "limits.low=[0.2,-0.3,0]", "limits.high=[0.6,0.3,0.5]", "limits.per_action=0.025",
    ),
}  # fmt: skip
"""Sizes of observation and action, and limits, of an arm of its own process."""
FASTER = ("rate_hz=60", "limits.speed=3", "limits.step=2")
"""Three times as fast as a real one, so that a session takes six minutes."""
FIRST_TASK_ALONE = ("hilserl", "taught", "started")
STYLES = {
    "hil": ("with corrections", "#1f5fbf"),
    "hilserl": ("with HIL-SERL's settings", "#999999"),
    "rlpd": ("without corrections", "#2a8f4f"),
    "hgdagger": ("HG-DAgger", "#c0392b"),
    "taught": ("corrections teach a reward", "#8e44ad"),
    "started": ("a transferred reward", "#e08e2b"),
}
"""Name and colour of each arm in the figure."""
REACHED = 0.9
LABELLED = "metaworld/sweep-into-v3"
"""What the labels are of that `started` is transferred from."""
RECORDING = threading.Lock()


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
    def horizon(self) -> int:
        """Steps of an episode."""
        return TASKS[self.task][0]

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
                "hil", "record", f"env={self.task}", f"horizon={self.horizon}",
                *self.person(), "synthetic.patience=1", "synthetic.delay=0",
                f"episodes={DEMONSTRATIONS}",
                f"acting.seed={self.seed}", f"name={self.demonstrations().parent.name}",
                "operator=synthetic",
            )  # fmt: skip

    def make(self) -> None:
        """Runs it, or goes on where it was stopped."""
        if self.arm == "bc":
            if not (self.run_folder / "metrics.json").exists():
                shutil.rmtree(self.run_folder, ignore_errors=True)
                self._robopref(
                    "train", "policy=behavior_cloning", "training.updates=5000",
                    "evaluation.episodes_on_the_way=0", f"training.seed={self.seed}",
                    f"evaluation.episodes={self.episodes}", *self._common(),
                )  # fmt: skip
                print(f"{self.run_folder.name}: {self.curve()[-1]['success']:.2f}", flush=True)
            return
        while (done := sum(point["steps"] for point in self.curve()[-1:])) < self.steps:
            block = min(EVERY, self.steps - done)
            last = done + block >= self.steps
            tried = self.episodes if last else min(EPISODES_ON_THE_WAY, self.episodes)
            session = [f"steps={done + block}", f"evaluation.episodes={tried}"]
            if done:
                self._robopref("hil", "local", f"resume={self.run_folder}", *session)
            else:
                shutil.rmtree(self.run_folder, ignore_errors=True)
                started = [f"rewards={self._transferred()}"] if self.arm == "started" else []
                self._robopref(
                    "hil", "local", f"env={self.task}", f"horizon={self.horizon}", *ARMS[self.arm],
                    *self.person(), f"learning.seed={self.seed}", f"acting.seed={self.seed}",
                    *self._common(), *started, *session,
                )  # fmt: skip
            point = {"steps": done + block, "takeovers": sum(self._each("takeovers"))}
            metrics = self._metrics()
            point["success"] = metrics["success"]
            point["steps_to_success"] = metrics.get("steps_to_success")
            write_json(self.run_folder / "curve.json", [*self.curve(), point])
            print(f"{self.run_folder.name}: {point}", flush=True)

    def curve(self) -> list[dict[str, Any]]:
        """Success without corrections, and takeovers so far, after so many steps."""
        if self.arm == "bc":
            return [{"steps": 0, "takeovers": 0, "success": self._metrics()["success"]}]
        path = self.run_folder / "curve.json"
        return list(json.loads(path.read_text())) if path.exists() else []

    def success_within_corrections_of(self, other: Run) -> float:
        """Success when the person had last taken over no more often than in all of another's."""
        most = other.curve()[-1]["takeovers"]
        start = {"steps": 0, "success": 0.0, "takeovers": 0}
        points = [point for point in [start, *self.curve()] if point["takeovers"] <= most]
        return float(max(points, key=lambda point: point["steps"])["success"])

    def figures(self) -> dict[str, float | None]:
        """Of a session: shares of its first and last episodes that were corrected, and so on."""
        rates = self._each("intervention_rate")
        reached = [point for point in self.curve() if point["success"] >= REACHED]
        found = {
            "success_on_the_way": float(np.mean([point["success"] for point in self.curve()])),
            "corrected_first_10": float(np.mean(rates[:10])),
            "corrected_last_10": float(np.mean(rates[-10:])),
            "takeovers": sum(self._each("takeovers")),
            "takeovers_to_0.9": reached[0]["takeovers"] if reached else None,
            "steps_to_0.9": reached[0]["steps"] if reached else None,
            "steps_to_success": self.curve()[-1]["steps_to_success"],
        }
        return {
            name: None if value is None else round(float(value), 3) for name, value in found.items()
        }

    def _metrics(self) -> dict[str, Any]:
        return dict(json.loads((self.run_folder / "metrics.json").read_text()))

    def _each(self, name: str) -> list[float]:
        lines = (self.run_folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)[f"episode/{name}"] for line in lines]

    def person(self) -> list[str]:
        """How the scripted one behaves."""
        return [
            f"synthetic.speed={TASKS[self.task][1]}", "synthetic.drift=0.2",
            f"synthetic.hold={self.horizon}", "synthetic.patience=15",
        ]  # fmt: skip

    def _common(self) -> list[str]:
        return [f"dataset={self.demonstrations()}", "device=cpu", f"name={self.run_folder.name}"]

    def _transferred(self) -> Path:
        """A reward of this task from another one's labels, on mixed data that nobody labelled."""
        made = self.folder / "runs" / "train-reward" / f"transferred-{self.seed}"
        with RECORDING:
            if not (made / "metrics.json").exists():
                shutil.rmtree(made, ignore_errors=True)
                source, target = (f"{name}-{self.seed}" for name in ("labelled", "unlabelled"))
                for name, task in ((source, LABELLED), (target, self.task)):
                    if not (self.folder / f"{name}.hdf5").exists():
                        self._robopref(
                            "collect", f"env={task}", "mix=mixed", "episodes=100",
                            f"seed={self.seed}", f"output={name}.hdf5", "workers=1",
                        )  # fmt: skip
                for name in (source, f"{target}-transferred"):
                    (self.folder / f"{name}.parquet").unlink(missing_ok=True)
                self._robopref(
                    "label", f"dataset={source}.hdf5", "pairs=500", f"output={source}.parquet"
                )
                self._robopref(
                    "transfer", f"source={source}.hdf5", f"preferences={source}.parquet",
                    f"target={target}.hdf5", f"output={target}-transferred.parquet",
                )  # fmt: skip
                self._robopref(
                    "train-reward", f"dataset={target}.hdf5", f"name={made.name}",
                    f"preferences={target}-transferred.parquet",
                )  # fmt: skip
        return made / "reward"

    def _robopref(self, *arguments: str) -> None:
        with (self.folder / "output.log").open("a") as output:
            subprocess.run(
                [ROBOPREF, *arguments], check=True, cwd=self.folder, stdout=output, stderr=output
            )


def paced(folder: Path) -> Processes:
    """A session on Drawer Open at 20 Hz."""
    return Processes(
        folder, (39, 4), ("env=metaworld/drawer-open-v3", "horizon=100"),
        ("operator=synthetic", "acting.rate_hz=20"), ("evaluation.episodes=0",),
    )  # fmt: skip


def held_to(folder: Path, pace_s: float, kills: int) -> dict[str, float]:
    """How well two processes keep time, and what kills cost them."""
    pair = paced(folder / "pace")
    pair.wait_for(round(pace_s * 20))
    late, lost = pair.finish()
    pair, rng = paced(folder / "kills"), random.Random(0)
    pair.wait_for(40)
    for _ in range(kills):
        lost += pair.kill(rng)
    _, more = pair.finish()
    return {"p99_period_error_ms": late, "kills": kills, "lost_steps": lost + more}


def served(run: Run) -> dict[str, float]:
    """The session of `run` with the arm behind its own server: figures of its policy alone."""
    folder = run.folder / f"served-{run.task.split('/')[1]}-{run.seed}"
    sizes, *limits = SERVED[run.task]
    if not (folder / "runs/hil/arm/metrics.json").exists():
        processes = Processes(
            folder, sizes, (f"env={run.task}", f"horizon={run.horizon}"),
            (*run.person(), "operator=synthetic", f"acting.seed={run.seed}"),
            (f"dataset={run.demonstrations()}", SMALL, f"learning.seed={run.seed}",
             f"evaluation.episodes={run.episodes}"),
            (*FASTER, *limits),
        )  # fmt: skip
        processes.wait_for(run.steps)
        processes.finish()
    return dict(json.loads((folder / "runs/hil/arm/metrics.json").read_text()))


def main() -> None:
    """Sessions first, two at a time, then the processes."""
    parser = argument_parser(__doc__.splitlines()[0], "hil")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-hil"))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--figure", type=Path, help="draws what the JSON file has")
    options = parser.parse_args()
    if options.figure:
        rows = json.loads(options.json.read_text())["table"]
        curves = [
            {**row, "curve": [(point["steps"], point["success"]) for point in curve]}
            for row in rows
            for curve in row.get("curves", [])
        ]
        draw(curves, STYLES, options.figure)
        return
    tasks, seeds, steps = options.tasks.split(","), options.seeds, options.steps
    arms, episodes, kills, pace_s = options.arms.split(","), EPISODES, options.kills, 60.0
    folder = options.folder
    if options.quick:
        tasks, seeds, steps, episodes, kills, pace_s = tasks[:1], 1, 600, 5, 2, 10.0
        folder = folder / "quick"
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    runs = [
        Run(folder, task, arm, seed, steps, episodes)
        for seed in range(seeds)
        for arm in arms
        for task in (tasks[:1] if arm in FIRST_TASK_ALONE else tasks)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        first = {(run.task, run.seed): run for run in runs}
        list(pool.map(Run.record, first.values()))
        list(pool.map(Run.make, runs))
    table: list[dict[str, Any]] = []
    headline: dict[str, float] = {}
    for arm in arms:
        rows = [[run for run in runs if (run.arm, run.task) == (arm, task)] for task in tasks]
        scores = [[run.curve()[-1]["success"] for run in own] for own in rows if own]
        name = "success_iqm" if arm == "hil" else f"{arm}_success_iqm"
        headline[name] = round(interquartile_mean(np.array(scores).T).value, 4)
        if arm in ("hil", "rlpd"):
            way = [[run.figures()["success_on_the_way"] for run in own] for own in rows if own]
            name = name.replace("success_iqm", "success_on_the_way")
            headline[name] = round(float(np.mean(way)), 4)
        for own in filter(None, rows):
            row = {"task": own[0].task, "arm": arm, "steps": steps}
            row |= success_of_seeds(np.array([run.curve()[-1]["success"] for run in own]))
            if arm == "bc":
                shown = [np.mean(load_dataset(run.demonstrations()).lengths) for run in own]
                row["steps_demonstrated"] = round(float(np.mean(shown)), 1)
            else:
                row["curves"] = [run.curve() for run in own]
                figures = [run.figures() for run in own]
                row |= {name: [each[name] for each in figures] for name in figures[0]}
            table.append(row)
            print(row, flush=True)
    if {"hil", "hgdagger"} <= set(arms):
        cloned = [run for run in runs if run.arm == "hgdagger"]
        same = [[run.success_within_corrections_of(replace(run, arm="hil")) for run in cloned]]
        headline["hgdagger_same_corrections_iqm"] = round(
            interquartile_mean(np.array(same)).value, 4
        )
    if "hil" in arms:
        successes = []
        for task in tasks:
            found = [
                served(Run(folder, task, "hil", seed, steps, episodes)) for seed in range(seeds)
            ]
            row = {"task": task, "arm": "served", "steps": steps}
            row |= success_of_seeds(np.array([each["success"] for each in found]))
            row |= {
                name: [round(each[name], 3) for each in found]
                for name in ("steps_to_success", "intervention_rate_last_20")
                if all(name in each for each in found)
            }
            successes.append(row["success"])
            table.append(row)
            print(table[-1], flush=True)
        headline["served_success"] = round(float(np.mean(successes)), 4)
    if not (processes := folder / "processes.json").exists():
        write_json(processes, held_to(folder, pace_s, kills))
    headline |= json.loads(processes.read_text())
    for name, value in headline.items():
        print(f"{name}: {value}")
    packages = ["torch", "metaworld", "mujoco", "grpcio"]
    packages += ["gym-hil"] * any(task.startswith("gym_hil/") for task in tasks)
    write_results(options.json, headline, table, packages)


if __name__ == "__main__":
    main()

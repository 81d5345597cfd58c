"""Learning while acting on Meta-World: alone, from answers, from demonstrations, offline first.

Every run is one `robopref train`, or one run of the peer's script, in a folder of its own, so that
the benchmark goes on where it was stopped. Success counts at any step of an episode; the last
evaluation has 20 episodes, those on the way 10. All learners have discount 0.97, since episodes
have 200 steps; robopref's SAC also layer norm, which stable-baselines3 lacks.

    python benchmarks/online.py [--quick] [--arms sac,learned] [--steps 40000] [--json FILE]
    python benchmarks/online.py --figure assets/online.png    # from what the JSON file has
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import json
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from curves import draw
from peers.environments import peer_python
from results import ROBOPREF, argument_parser, write_results

HORIZON, RANDOM_STEPS, EVERY, EPISODES, LAST_EPISODES = 200, 2_000, 5_000, 10, 20
ALONE = ("metaworld/drawer-close-v3", "metaworld/coffee-button-v3")
"""Tasks that SAC solves by itself."""
ASKED = ("metaworld/drawer-close-v3", "metaworld/handle-press-v3")
"""Tasks that it learns from answers."""
HARD = ("metaworld/drawer-open-v3",)
"""Tasks that it does not solve in the same steps, and that mixed data teach in part."""


@dataclass(frozen=True)
class Arm:
    """A way of learning."""

    tasks: tuple[str, ...]
    options: tuple[str, ...] = ()
    """Of `robopref train`, on top of the common ones."""
    data: str = ""
    """Options of `robopref collect` for the dataset that it learns from."""
    steps: int = 0
    """Steps of the environment, as many as the other arms' when 0."""


SAC = ("policy=sac", "sac.discount=0.97", "sac.layer_norm=true")
ANSWERS = (*SAC, "rewards=learned", "ask.session_every=2500", "ask.budget=500")
TEN_EXPERTS = "mix=expert episodes=10"
ARMS = {
    "sac": Arm(ALONE, SAC),
    "sb3": Arm(ALONE),
    "learned": Arm(ASKED, (*ANSWERS, "ask.strategy=uniform"), steps=25_000),
    "disagreement": Arm(ASKED[:1], (*ANSWERS, "ask.strategy=disagreement"), steps=25_000),
    # The true reward in as many steps, where the arms above and below learn without it.
    "paid": Arm(ASKED[1:], SAC, steps=25_000),
    # Nobody is asked: a ranking of factors answers.
    "heron": Arm(
        ASKED,
        (
            *ANSWERS,
            "ask.strategy=uniform",
            "heron.ranking=[success,place,reach,energy]",
            "heron.margins=[0,0.25,0.25,0]",
        ),
        steps=25_000,
    ),
    "alone": Arm(HARD, SAC, steps=25_000),
    # Two critics and one critic step, as SAC has; the entropy as HIL-SERL's learner has it.
    "rlpd": Arm(
        HARD,
        (
            "policy=rlpd",
            "rlpd.discount=0.97",
            "rlpd.critics=2",
            "rlpd.critic_steps=1",
            "rlpd.backup_entropy=false",
            "rlpd.entropy_per_action=-0.5",
        ),
        TEN_EXPERTS,
        25_000,
    ),
    "reset": Arm(
        HARD,
        (*SAC, "online.demonstrations_share=0", "resets.share=0.5", "resets.until=20000"),
        TEN_EXPERTS,
        25_000,
    ),
    "offline_to_online": Arm(
        HARD,
        (
            "policy=iql",
            "online.pretraining_updates=5000",
            # Values have to be there when it begins to act.
            "iql.target_update_rate=0.02",
            "evaluation.every=2500",
            "evaluation.episodes_on_the_way=50",
            "evaluation.episodes=50",
        ),
        "mix=mixed episodes=100",
        10_000,
    ),
}
RECORDING = threading.Lock()
"""Two runs that need the same dataset record it once."""


@dataclass(frozen=True)
class Run:
    """One training."""

    arm: str
    task: str
    seed: int
    steps: int

    @property
    def folder(self) -> Path:
        """Where it lies, under the working directory."""
        return Path("runs") / "train" / f"online-{self.arm}-{self.task.split('/')[-1]}-{self.seed}"

    def finish(self, peers: Path) -> None:
        """Makes the run, or goes on with it."""
        if self.curve():
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        command = self._peer(peers) if self.arm == "sb3" else self._own()
        with self.folder.with_suffix(".log").open("a") as output:
            subprocess.run(command, check=True, stdout=output, stderr=subprocess.STDOUT)
        step, success = self.curve()[-1]
        print(f"{self.arm:12} {self.task:28} seed {self.seed}  {success:.2f} at {step}", flush=True)

    def curve(self) -> list[tuple[int, float]]:
        """Steps and success, the last one after all steps; nothing while it is not finished."""
        if self.arm == "sb3":
            path = self.folder / "curve.json"
            points = json.loads(path.read_text()) if path.exists() else []
        else:
            last, path = self.folder / "evaluation.json", self.folder / "evaluation/metrics.jsonl"
            if not last.exists():
                return []
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            points = [(line["step"], line["success"]) for line in lines]
            steps = int(OmegaConf.load(self.folder / "config.yaml").online.steps)
            points = [point for point in points if point[0] < steps]
            points.append((steps, float(np.mean(json.loads(last.read_text())["success_any"]))))
        finished = bool(points) and points[-1][0] >= self.steps
        # An evaluation comes at the end of the episode in which its step lies.
        return [point for point in points if point[0] < self.steps + EVERY] if finished else []

    def _own(self) -> list[str]:
        program = [ROBOPREF, "train"]
        if (self.folder / "config.yaml").exists():
            return [*program, f"resume={self.folder}", f"online.steps={self.steps}"]
        arm = ARMS[self.arm]
        common = [
            f"env={self.task}", f"horizon={HORIZON}",
            f"online.steps={self.steps}", f"online.random_steps={RANDOM_STEPS}",
            f"online.seed={self.seed}", f"evaluation.episodes={LAST_EPISODES}",
            f"evaluation.every={EVERY}", f"evaluation.episodes_on_the_way={EPISODES}",
            "device=cpu", f"name={self.folder.name}",
        ]  # fmt: skip
        data = [f"dataset={self._dataset()}"] if arm.data else []
        # Of an option given twice the arm's own counts.
        given = [*common, *arm.options, *data]
        options = {option.partition("=")[0]: option for option in given}
        return [*program, *options.values()]

    def _dataset(self) -> Path:
        """The dataset of this run's arm and task, recorded at first use."""
        options = ARMS[self.arm].data.split()
        name = "-".join([self.task.split("/")[-1], *options]).replace("=", "-")
        path = Path("data") / f"{name}.hdf5"
        with RECORDING:
            if not path.exists():
                program = [ROBOPREF, "collect", *options]
                program += [f"env={self.task}", f"horizon={HORIZON}", f"output={path}", "workers=1"]
                subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
        return path

    def _peer(self, peers: Path) -> list[str]:
        self.folder.mkdir(exist_ok=True)
        numbers = [HORIZON, self.steps, RANDOM_STEPS, EVERY, EPISODES, LAST_EPISODES, self.seed]
        script = Path(__file__).parent / "peers" / "sb3_sac.py"
        python = peer_python(peers, "sb3", with_robopref=True)
        return [
            str(python), str(script), self.task, *map(str, numbers), str(self.folder / "curve.json")
        ]  # fmt: skip


def tabulate(runs: Sequence[Run]) -> tuple[list[dict[str, object]], dict[str, float]]:
    """Rows with a curve for each run that is finished, and the mean of the last points."""
    table: list[dict[str, object]] = []
    last: dict[str, list[float]] = {}
    for run in runs:
        if curve := run.curve():
            table.append({"arm": run.arm, "task": run.task, "seed": run.seed, "curve": curve})
            last.setdefault(f"{run.arm}_{run.task.split('/')[-1]}", []).append(curve[-1][1])
    return table, {name: round(float(np.mean(values)), 3) for name, values in last.items()}


STYLES = {
    "sac": ("SAC", "#1f5fbf"),
    "alone": ("SAC", "#1f5fbf"),
    "paid": ("SAC", "#1f5fbf"),
    "sb3": ("stable-baselines3's SAC", "#999999"),
    "learned": ("SAC, 500 answers", "#c0392b"),
    "disagreement": ("the same, by disagreement", "#e08e2b"),
    "heron": ("SAC, a ranking of factors", "#16a085"),
    "rlpd": ("RLPD, 10 demonstrations", "#2a8f4f"),
    "reset": ("SAC, dataset reset", "#8e44ad"),
    "offline_to_online": ("IQL, offline first", "#e67e22"),
}
"""Name and colour of each arm in the figure."""


def main() -> None:
    """Makes the runs, two at a time, and writes what is finished after each."""
    parser = argument_parser(__doc__.splitlines()[0], "online")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--tasks", default=",".join({*ALONE, *ASKED, *HARD}))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers"))
    parser.add_argument("--figure", type=Path, help="draws what the JSON file has")
    options = parser.parse_args()
    if options.figure:
        draw(json.loads(options.json.read_text())["table"], STYLES, options.figure)
        return
    arms, tasks = options.arms.split(","), options.tasks.split(",")
    seeds, steps = (1, 5_000) if options.quick else (options.seeds, options.steps)
    if options.quick:
        arms, tasks = [arm for arm in arms if arm != "sb3"], tasks[:1]
    runs = [
        Run(arm, task, seed, ARMS[arm].steps or steps)
        for seed in range(seeds)
        for arm in arms
        for task in ARMS[arm].tasks
        if task in tasks
    ]
    everything = [
        Run(arm, task, seed, ARMS[arm].steps or steps)
        for arm in ARMS
        for task in ARMS[arm].tasks
        for seed in range(seeds)
    ]
    with ThreadPoolExecutor(options.workers) as pool:
        for _ in pool.map(lambda run: run.finish(options.peers.resolve()), runs):
            table, headline = tabulate(everything)
            write_results(options.json, headline, table, ["torch", "metaworld", "mujoco"])
    for name, value in tabulate(runs)[1].items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()

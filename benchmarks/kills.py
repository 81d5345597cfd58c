"""Trainings killed at random moments and resumed: is the result that of an uninterrupted one?

Every learner trains a few seconds on a toy task, once without interruption. Then the same training
is killed (SIGKILL) at a random moment between its start and its end, resumed, and its policy,
learning curve and last evaluation are compared with the uninterrupted one's, bit for bit.

    python benchmarks/kills.py [--quick] [--kills 50] [--json results/kills.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import json
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from results import ROBOPREF, argument_parser, write_results

ENV, SMALL = "toy/point-mass-v0", "[32,32]"
OFFLINE = (
    "training.updates=1200 training.log_every=100 training.checkpoint_every=200 "
    "evaluation.every=400 evaluation.episodes_on_the_way=3 evaluation.episodes=5"
)
ONLINE = (
    f"env={ENV} horizon=20 online.steps=1500 online.random_steps=100 online.log_every=100 "
    "online.checkpoint_every=200 evaluation.every=400 evaluation.episodes_on_the_way=3 "
    "evaluation.episodes=5"
)
CASES = {
    "iql": f"policy=iql iql.hidden={SMALL} dataset=points.hdf5 {OFFLINE}",
    "behavior_cloning": (
        f"policy=behavior_cloning behavior_cloning.hidden={SMALL} dataset=points.hdf5 {OFFLINE}"
    ),
    "oppo": (
        "policy=oppo oppo.width=16 dataset=points.hdf5 preferences=labels.parquet "
        f"{OFFLINE} training.updates=200 training.log_every=20 training.checkpoint_every=40 "
        "evaluation.every=80"
    ),
    "cpl": (
        f"policy=cpl cpl.hidden={SMALL} cpl.reference=true cpl.cloning_updates=300 "
        f"dataset=points.hdf5 preferences=labels.parquet {OFFLINE}"
    ),
    "ipl": (
        f"policy=ipl ipl.hidden={SMALL} dataset=points.hdf5 preferences=labels.parquet {OFFLINE}"
    ),
    "dppo": (
        f"policy=dppo dppo.hidden={SMALL} dppo.predictor_width=8 dppo.predictor_updates=50 "
        f"dataset=points.hdf5 preferences=labels.parquet {OFFLINE}"
    ),
    "diffusion": f"policy=diffusion diffusion.hidden={SMALL} dataset=points.hdf5 {OFFLINE}",
    "sac": f"policy=sac sac.hidden={SMALL} {ONLINE}",
    "rlpd": f"policy=rlpd rlpd.hidden={SMALL} dataset=points.hdf5 {ONLINE} online.steps=600",
    "learned_reward": (
        f"policy=sac sac.hidden={SMALL} rewards=learned ask.session_every=300 ask.budget=60 "
        f"ask.pairs_per_session=20 ask.segment_length=10 reward.epochs=3 {ONLINE}"
    ),
    "offline_to_online": (
        f"policy=iql iql.hidden={SMALL} dataset=points.hdf5 online.pretraining_updates=400 {ONLINE}"
    ),
    "dataset_reset": (
        f"policy=sac sac.hidden={SMALL} dataset=points.hdf5 resets.share=0.5 resets.until=1000 "
        f"{ONLINE}"
    ),
}
"""Options of `robopref train`; of an option given twice the last counts."""


def last_of_each(options: str) -> list[str]:
    """Options, each once."""
    return list({option.partition("=")[0]: option for option in options.split()}.values())


def start(folder: Path, case: str, name: str) -> subprocess.Popen[bytes]:
    """Starts a training in `folder`, or goes on with it."""
    run = Path("runs") / "train" / name
    command = [ROBOPREF, "train", *last_of_each(CASES[case]), f"name={name}", "device=cpu"]
    if (folder / run / "config.yaml").exists():
        command = [ROBOPREF, "train", f"resume={run}"]
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def outcome(folder: Path, name: str) -> dict[str, Any]:
    """What must not depend on an interruption."""
    run = folder / "runs" / "train" / name
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("updates_per_second")
    return {
        "weights": (run / "policy" / "weights.safetensors").read_bytes(),
        "evaluation": (run / "evaluation.json").read_bytes(),
        "curve": (run / "evaluation" / "metrics.jsonl").read_text(),
        "metrics": lines,
    }


def finish(process: subprocess.Popen[bytes], folder: Path, name: str) -> None:
    """Waits for a training that must succeed."""
    if process.wait():
        raise RuntimeError(f"{name}: ended with {process.returncode}:\n{log_of(folder, name)}")


def log_of(folder: Path, name: str) -> str:
    """The end of what a training printed."""
    return (folder / f"{name}.log").read_text()[-2000:]


def main() -> None:
    """Kills, resumes, compares and writes."""
    parser = argument_parser(__doc__.splitlines()[0], "kills")
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    kills = len(CASES) if options.quick else options.kills
    rng = np.random.default_rng(0)
    table: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        collect = (
            f"collect env={ENV} mix=expert +mix.shares.random=2 episodes=40 horizon=20 "
            "output=points.hdf5 workers=1"
        )
        label = "label dataset=points.hdf5 pairs=60 segment_length=10 output=labels.parquet"
        for command in (collect, label):
            subprocess.run(
                [ROBOPREF, *command.split()], cwd=folder, check=True, stdout=subprocess.DEVNULL
            )
        whole, seconds = {}, {}
        for case in CASES:
            begun = time.monotonic()
            finish(start(folder, case, case), folder, case)
            whole[case], seconds[case] = outcome(folder, case), time.monotonic() - begun
        for index in range(kills):
            case = list(CASES)[index % len(CASES)]
            run, killed = f"{case}-{index}", False
            while not killed:  # a training may end before its moment comes
                process = start(folder, case, run)
                moment = rng.uniform(0.0, seconds[case])
                try:
                    process.wait(moment)
                    run += "x"
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    killed = process.wait() == -signal.SIGKILL
            done = folder / "runs" / "train" / run / "metrics.jsonl"
            lines = len(done.read_text().splitlines()) if done.exists() else 0
            finish(start(folder, case, run), folder, run)
            after = outcome(folder, run)
            differs = [part for part in after if after[part] != whole[case][part]]
            row = {"case": case, "killed_after_s": round(moment, 2), "lines_before": lines}
            table.append({**row, "exact": not differs})
            print(f"{case:18} killed after {moment:5.2f} s, {lines:2} lines: {differs or 'exact'}")
    headline = {"kills": len(table), "exact_resumes": sum(row["exact"] for row in table)}
    for metric, value in headline.items():
        print(f"{metric}: {value}")
    write_results(options.json, headline, table, ["torch"])


if __name__ == "__main__":
    main()

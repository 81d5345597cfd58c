"""Rewards from images: RAPL beside others on the same features and labels, and policies on them.

Videos of mixed quality on X-MAGICAL's two tasks of preference and two tasks before a camera with
distractors. `visual_rewards` tells what is compared, `visual_policies` what is trained. All that
was made once is kept in the folder, so that a broken-off run goes on.

    python benchmarks/visual.py [--quick] [--json results/visual.json]
    python benchmarks/visual.py --figure assets/rapl_labels.png
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import itertools
import json
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import ot
import torch
from torch.nn import functional

from results import argument_parser, write_results
from robopref.data.segments import gather, whole_episodes
from robopref.files import write_json
from robopref.networks.pretrained import SPATIAL, FrozenEncoder
from robopref.optimal_transport.sinkhorn import sinkhorn_plans
from robopref.processes import one_thread
from robopref.rewards.rapl import RaplConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.visual import encoded
from visual_online import ONLINE_TASKS, STEPS, online_runs
from visual_policies import POLICY_TASKS, UPDATES, make_policies, policy_runs, policy_table
from visual_rewards import (
    CURVES,
    EPISODES,
    LABELS,
    MAIN_LABELS,
    TASKS,
    cells,
    labelled,
    tabulate,
)

STYLES = {
    "rapl": ("RAPL", "C0"),
    "rlhf": ("linear Bradley-Terry (RLHF)", "C1"),
    "bradley_terry": ("Bradley-Terry ensemble", "C2"),
    "pixels": ("Bradley-Terry from pixels", "C3"),
}


def sinkhorn_against_pot() -> dict[str, float]:
    """Rate over 64 pairs of 50-frame videos, and the largest difference of the plans."""
    generator = torch.Generator().manual_seed(0)
    videos = torch.randn(2, 64, 50, 32, generator=generator).cumsum(2)
    first, second = functional.normalize(videos, dim=-1)
    costs, masses = torch.cdist(first, second), torch.full((64, 50), 1 / 50)
    exact, even = costs.double().numpy(), np.full(50, 1 / 50)

    def pot(method: str) -> Callable[[], Any]:
        return lambda: np.stack([
            ot.sinkhorn(even, even, cost, 1.0, method=method, stopThr=1e-6, numItermax=2_000)
            for cost in exact
        ])  # fmt: skip

    def seconds(work: Callable[[], Any]) -> float:
        work()
        times = []
        for _ in range(5):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return min(times)

    ours = seconds(lambda: sinkhorn_plans(costs, masses, masses, 1.0))
    plans = sinkhorn_plans(costs, masses, masses, 1.0).double().numpy()
    return {
        "sinkhorn_ratio_vs_pot": round(seconds(pot("sinkhorn_log")) / ours, 1),
        "sinkhorn_ratio_vs_pot_kernel": round(seconds(pot("sinkhorn")) / ours, 1),
        "sinkhorn_max_error": float(np.abs(plans - pot("sinkhorn_log")()).max()),
    }


def alignment_seconds(folder: Path, episodes: int) -> dict[str, float]:
    """Encoding all videos of a task, then aligning with 150 labels; frames/s of the encoder."""
    dataset = TASKS["lift"].recorded(folder, "lift", episodes)
    images = {key: value for key, value in dataset.observations.items() if value.dtype == np.uint8}
    start = time.perf_counter()
    features = encoded(images, FrozenEncoder(SPATIAL))
    looked = time.perf_counter() - start
    preferences = labelled(dataset, MAIN_LABELS, 0, episodes)
    model = make_reward(RaplConfig(), dataset, 0)
    model.fit(preferences, dataset, 0)
    model.predict(gather(dataset, whole_episodes(dataset)[:8]))
    return {
        "align_150_labels_s": round(time.perf_counter() - start, 1),
        "encoder_frames_per_s": round(len(features) / looked, 1),
    }


def fewer_labels(table: Sequence[Mapping[str, Any]], tasks: Sequence[str], other: str) -> float:
    """How many times as many labels another arm needs for what RAPL learns, on every task.

    Of two numbers of labels with which RAPL is at least as good as the other arm, the largest
    ratio of a task; of these the lowest.
    """
    found = {(row["task"], row["arm"], row["labels"]): row["steps"] for row in table}
    return min(
        max(
            more / own
            for own, more in itertools.product(LABELS, LABELS)
            if found[task, "rapl", own] >= found.get((task, other, more), 1.0)
        )
        for task in tasks
    )


def draw(table: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Correlation against labels, a panel for each task."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    tasks = list(dict.fromkeys(row["task"] for row in table if "labels" in row))
    figure, axes = pyplot.subplots(
        1, len(tasks), figsize=(2.9 * len(tasks), 2.8), sharey=True, layout="constrained"
    )
    for axis, task in zip(np.atleast_1d(axes), tasks, strict=True):
        for arm, (name, colour) in STYLES.items():
            rows = [row for row in table if row.get("labels") and row["task"] == task]
            points = [row for row in rows if row["arm"] == arm]
            labels = [row["labels"] for row in points]
            axis.plot(
                labels, [row["steps"] for row in points], "o-", ms=3, color=colour, label=name
            )
            low, high = ([row[end] for row in points] for end in ("low", "high"))
            axis.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)
        axis.set_xscale("log")
        told = [count for count in LABELS if count != 120]  # too near to 150 to be read
        axis.set_xticks(told, [str(count) for count in told], fontsize=7)
        axis.minorticks_off()
        axis.set_title(task.replace("-", " "))
        axis.set_xlabel("labelled pairs")
        axis.spines[["top", "right"]].set_visible(False)
    np.atleast_1d(axes)[0].set_ylabel("rank correlation with the true reward")
    np.atleast_1d(axes)[-1].legend(fontsize=7, loc="lower right", frameon=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measures speed, then rewards, then policies."""
    parser = argument_parser(__doc__.splitlines()[0], "visual")
    parser.add_argument("--folder", type=Path, default=Path("runs/visual"))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure", type=Path, help="draws what the JSON file has")
    options = parser.parse_args()
    if options.figure:
        draw(json.loads(options.json.read_text())["table"], options.figure)
        return
    one_thread()
    folder, tasks, seeds = options.folder, options.tasks.split(","), options.seeds
    labels, episodes, updates, steps, tries = LABELS, EPISODES, UPDATES, STEPS, 50
    if options.quick:
        folder, tasks, seeds = folder / "quick", ["lift"], 1
        labels, episodes, updates, tries = (MAIN_LABELS,), 24, 200, 2
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "speed.json"
    if not kept.exists():  # before all else, while the machine is idle
        write_json(kept, {**sinkhorn_against_pot(), **alignment_seconds(folder, episodes)})
    headline = json.loads(kept.read_text())
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), spawned) as pool:
        # Videos first, one task after the other: two processes must not write one file.
        work = [(folder, task, seed, labels, episodes) for seed in range(seeds) for task in tasks]
        for one in work[: len(tasks)]:
            pool.submit(cells, *one).result()
        for each in [pool.submit(cells, *one) for one in work[len(tasks) :]]:
            each.result()
        trained = [task for task in POLICY_TASKS if task in tasks]
        runs = policy_runs(folder, trained, seeds, episodes, updates, tries)
        acting = [task for task in ONLINE_TASKS if task in tasks]
        runs += online_runs(folder, acting, seeds, episodes, steps, tries)
        make_policies(runs, pool)
    table = tabulate(folder)
    headline |= {
        f"{row['task'].replace('-', '_')}_{row['arm']}": row["steps"]
        for row in table
        if row["labels"] == MAIN_LABELS and row["arm"] in CURVES
    }
    if not options.quick:
        for other in ("rlhf", "pixels"):
            headline[f"labels_of_{other}_for_one"] = round(fewer_labels(table, tasks, other), 1)
    successes = policy_table(runs)
    write_results(
        options.json, headline, [*table, *successes], ["torch", "POT", "metaworld", "robosuite"]
    )
    for entry in [*table, *successes]:
        print(entry)
    for name, value in headline.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()

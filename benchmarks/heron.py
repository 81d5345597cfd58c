"""HERON from a ranking alone, beside the task's shaped reward and a tuned sum of the same factors.

Offline: IQL on data of mixed quality (`scarce`) from the shaped reward, from a Bradley-Terry reward
on HERON's labels of whole episodes, from a weighted sum of the factors, and from nothing. The
weights are tuned on the data: of a grid, those whose sums order episodes most like the shaped
returns. Then one factor comes in another unit, times 100: the labels are the same, the sum is
another. Finished runs are kept.

    python benchmarks/heron.py [--quick] [--updates 3000] [--json results/heron.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from results import argument_parser, shipped_mix, success_of_seeds, write_results
from robopref.data.collect import collect
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset, save_dataset
from robopref.data.segments import whole_episodes
from robopref.policies.iql import IQLConfig
from robopref.preferences.dataset import save_preferences
from robopref.preferences.factors import segment_factors
from robopref.preferences.hierarchy import HierarchyConfig, hierarchy_answers, hierarchy_labels
from robopref.preferences.queries import uniform_pairs
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.seeding import numpy_generator
from robopref.structures import Segments
from robopref.training.arms import ArmRun, run_arms
from robopref.training.evaluated import RESULT_FILE, EvaluationConfig, load_result
from robopref.training.offline import OfflineTrainingConfig

TASKS = ("drawer-open", "door-open", "window-open")
RANKING, MARGINS = ["success", "place", "reach", "energy"], [0.0, 0.25, 0.25, 0.0]
SCALED, SCALE = "reach", 100.0
"""The factor that comes in another unit."""
ARMS = ("shaped", "heron", "sum", "sum_scaled", "zero")
EPISODES, HORIZON, PAIRS = 200, 200, 5_000  # a ranking answers for nothing
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cell:
    """One run of the table."""

    task: str
    seed: int
    run: ArmRun


def cells(
    folder: Path, tasks: Sequence[str], updates: int, seeds: int, episodes: int
) -> Iterator[Cell]:
    """All runs, seed by seed."""
    for seed, task in itertools.product(range(seeds), tasks):
        path = folder / f"{task}.hdf5"
        collect(
            f"metaworld/{task}-v3", {"horizon": HORIZON}, shipped_mix("scarce"), EPISODES, 0, path
        )
        for arm in ARMS:
            yield Cell(task, seed, ArmRun(
                arm=arm,
                folder=folder / "runs" / task / f"{arm}-{seed}",
                dataset=summed(path, arm) if arm.startswith("sum") else path,
                preferences=ranked(path, seed) if arm == "heron" else None,
                reward=BradleyTerryConfig() if arm == "heron" else None,
                policy=IQLConfig(),
                training=OfflineTrainingConfig(
                    updates, seed=seed, log_every=100, checkpoint_every=updates
                ),
                evaluation=EvaluationConfig(episodes=episodes, episodes_on_the_way=0),
                env_id=f"metaworld/{task}-v3",
                env_kwargs={"horizon": HORIZON},
                true_reward=arm in ("shaped", "sum", "sum_scaled"),
            ))  # fmt: skip


def ranked(path: Path, seed: int) -> Path:
    """HERON's labels of random pairs, which another unit of a factor must not change."""
    output = path.with_name(f"{path.stem}-heron-{seed}.parquet")
    if not output.exists():
        dataset, rng = load_dataset(path), numpy_generator(seed, "pairs")
        pairs = uniform_pairs(whole_episodes(dataset), PAIRS, rng)
        config = HierarchyConfig(RANKING, MARGINS)
        labels, _ = hierarchy_labels(dataset, pairs, config, NOW)
        rescaled = replace(
            dataset, factors={SCALED: SCALE * step_factors(dataset)[:, RANKING.index(SCALED)]}
        )
        again, _ = hierarchy_answers(rescaled, pairs, config)
        if not np.array_equal(again[~np.isnan(again)], labels.labels):
            raise RuntimeError(f"{path.stem}: labels change with the unit of {SCALED}")
        save_preferences(output, labels)
    return output


def step_factors(dataset: TrajectoryDataset) -> NDArray[np.float64]:
    """(N, L): every factor of the ranking after every step."""
    steps = np.arange(dataset.num_steps)
    episodes = np.repeat(np.arange(len(dataset)), dataset.lengths)
    single = Segments(episodes, steps - dataset.offsets[episodes], np.ones_like(steps))
    return segment_factors(dataset, single, RANKING)


def summed(path: Path, arm: str) -> Path:
    """The dataset whose reward is the tuned sum of the factors."""
    output = path.with_name(f"{path.stem}-{arm}.hdf5")
    if not output.exists():
        dataset = load_dataset(path)
        factors = step_factors(dataset)
        spread = factors.std(axis=0) + 1e-9
        totals = np.add.reduceat(factors / spread, dataset.offsets[:-1], axis=0)
        grid = list(itertools.product((0.0, 0.1, 0.3, 1.0), repeat=len(RANKING)))
        best = max(
            grid[1:], key=lambda weights: spearmanr(totals @ weights, dataset.returns).statistic
        )
        weights = np.array(best) / spread
        if arm == "sum_scaled":
            factors[:, RANKING.index(SCALED)] *= SCALE
        rewards = (factors @ weights).astype(np.float32)
        save_dataset(output, replace(dataset, rewards=rewards))
    return output


def tabulate(found: Sequence[Cell]) -> tuple[list[dict[str, object]], dict[str, float]]:
    """A row for each task and arm; the headline is success over all tasks."""
    rows: list[dict[str, object]] = []
    for task, arm in itertools.product(dict.fromkeys(cell.task for cell in found), ARMS):
        scores = np.array([
            load_result(cell.run.folder / RESULT_FILE).success_any.mean()
            for cell in found
            if (cell.task, cell.run.arm) == (task, arm) and cell.run.done
        ])  # fmt: skip
        if not len(scores):
            continue
        rows.append({"task": task, "arm": arm} | success_of_seeds(scores))
    headline = {
        f"{arm}_success": round(
            float(np.mean([row["success"] for row in rows if row["arm"] == arm])), 4
        )
        for arm in ARMS
    }
    return rows, headline


def main() -> None:
    """Makes the runs, as many at a time as there are cores, and writes the table."""
    parser = argument_parser(__doc__.splitlines()[0], "heron")
    parser.add_argument("--folder", type=Path, default=Path("runs/heron"))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=3_000)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    tasks, seeds, episodes, folder = options.tasks.split(","), options.seeds, 50, options.folder
    if options.quick:
        tasks, seeds, episodes, folder = tasks[:1], 1, 10, folder / "quick"
    folder.mkdir(parents=True, exist_ok=True)
    found = list(cells(folder, tasks, options.updates, seeds, episodes))
    run_arms([cell.run for cell in found], options.workers)
    rows, headline = tabulate(found)
    for row in rows:
        print(row)
    write_results(options.json, headline, rows, ["torch", "metaworld", "mujoco"])


if __name__ == "__main__":
    main()

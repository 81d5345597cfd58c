"""Rewards from images: RAPL beside others on the same frozen features and labels.

Videos of mixed quality on X-MAGICAL's two tasks of preference and two tasks before a camera with
distractors; oracle labels of pairs of whole episodes. Rewards learn from three quarters of the
episodes and are compared with the true ones on the others: Spearman over all their steps, over
time within each (mean), and of their sums. `transfer` pays one embodiment by labels of another.

    python benchmarks/visual.py [--quick] [--json results/visual.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import ot
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch.nn import functional

from results import argument_parser, shipped_mix, write_results
from robopref.data.collect import collect
from robopref.data.lazy import load_dataset_lazily
from robopref.data.segments import gather, whole_episodes
from robopref.evaluation.statistics import mean
from robopref.files import write_json
from robopref.networks.pretrained import EMBEDDED
from robopref.optimal_transport.sinkhorn import sinkhorn_plans
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.processes import one_thread
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.pearl import PearlConfig
from robopref.rewards.rapl import RaplConfig, RaplReward
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import episode_sums, relabel
from robopref.rewards.visual import SeenDataset, as_seen
from robopref.seeding import numpy_generator, torch_generator

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EPISODES, IMAGE_SIZE = 120, 112
LABELS = (25, 75, 150)
EVERY = 4
"""Steps between two that are compared, as in the authors' code."""
DISTRACTORS = ["lighting", "object", "jitter"]


@dataclass(frozen=True)
class Task:
    """Where videos come from."""

    env_id: str
    kwargs: dict[str, Any]
    mix: str

    def recorded(self, folder: Path, name: str, episodes: int) -> SeenDataset:
        """The videos as the encoder sees them, made when missing."""
        path = folder / f"{name}-{episodes}.hdf5"
        kwargs = {**self.kwargs, "image_size": IMAGE_SIZE}
        collect(self.env_id, kwargs, shipped_mix(self.mix), episodes, 0, path)
        seen = as_seen(load_dataset_lazily(path), RaplConfig())
        assert isinstance(seen, SeenDataset)
        return seen


def _stick(task: str, length: str) -> Task:
    kwargs = {"cameras": ["top"], "horizon": 200, "embodiment": f"{length}stick"}
    return Task(f"xmagical/{task}", kwargs, "xmagical")


TASKS = {
    "avoid": _stick("avoid", "short"),
    "group": _stick("group", "short"),
    "drawer-open": Task(
        "metaworld/drawer-open-v3",
        {"cameras": ["corner2"], "horizon": 200, "distractors": DISTRACTORS},
        "mixed",
    ),
    "lift": Task(
        "robosuite/lift",
        {"cameras": ["agentview"], "horizon": 100, "distractors": DISTRACTORS},
        "mixed",
    ),
}
TRANSFER = {"avoid": _stick("avoid", "medium"), "group": _stick("group", "medium")}
"""Another embodiment of the same task, which is paid by the labels of the first."""
ARMS: dict[str, Any] = {
    "rapl": RaplConfig(),
    "rapl_best_only": RaplConfig(contrast=False),
    "frozen": RaplConfig(aligned=False, contrast=False),
    "time_contrastive": RaplConfig(contrast=False),
    "bradley_terry": BradleyTerryConfig(encoder=EMBEDDED),
    "pearl": PearlConfig(encoder=EMBEDDED),
}


def time_contrastive(model: RaplReward, dataset: SeenDataset, seed: int) -> None:
    """Trains the head without labels: frames near in time together, others of the video apart.

    Sermanet et al. 2018, Time-Contrastive Networks, arXiv 1704.06888, single view, with the
    cross entropy over a batch in the triplets' place (van den Oord et al. 2018).
    """
    generator = torch_generator(seed, "time contrastive")
    model.standardizer.fit(dataset.flat_observations)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-3)
    frames = model.standardizer(torch.from_numpy(dataset.flat_observations))
    for _ in range(1_000):
        episode = int(torch.randint(len(dataset), (1,), generator=generator))
        rows = dataset.row_slice(episode)
        length = rows.stop - rows.start
        anchors = torch.randperm(length - 4, generator=generator)[:32]
        near = anchors + 1 + torch.randint(3, anchors.shape, generator=generator)
        first, second = (
            model.represent(frames[rows.start + each]) for each in (anchors, near)
        )  # fmt: skip
        loss = functional.cross_entropy(first @ second.T / 0.1, torch.arange(len(anchors)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    model.head.requires_grad_(False)


def correlations(
    rewards: NDArray[np.float32], dataset: SeenDataset, episodes: NDArray[np.int64]
) -> dict[str, float]:
    """Spearman with the true reward over the given episodes."""
    steps = np.concatenate([np.arange(dataset.num_steps)[dataset.step_slice(e)] for e in episodes])
    within = []
    for episode in episodes:
        own = np.arange(dataset.num_steps)[dataset.step_slice(episode)][::EVERY]
        if np.ptp(dataset.rewards[own]) > 1e-6 and np.ptp(rewards[own]) > 1e-9:
            within.append(spearmanr(rewards[own], dataset.rewards[own]).statistic)
    sums = episode_sums(rewards, dataset)[episodes]
    return {
        "steps": float(spearmanr(rewards[steps], dataset.rewards[steps]).statistic),
        "time": float(np.mean(within)),
        "sums": float(spearmanr(sums, dataset.returns[episodes]).statistic),
    }


def cells(folder: Path, tasks: list[str], labels: tuple[int, ...], seeds: int, episodes: int,
          ) -> Iterator[dict[str, Any]]:  # fmt: skip
    """A row for each reward that was learned; those on file are not made again."""
    for task in tasks:
        dataset = TASKS[task].recorded(folder, task, episodes)
        other = None
        if task in TRANSFER:
            other = TRANSFER[task].recorded(folder, f"{task}-transfer", episodes)
        training, held_out = np.split(np.arange(episodes), [3 * episodes // 4])
        for seed in range(seeds):
            for count in labels:
                rng = numpy_generator(seed, "pairs")
                pairs = uniform_pairs(whole_episodes(dataset, training), count, rng)
                preferences = scripted_labels(dataset, pairs, TEACHERS["oracle"], rng, NOW)
                for arm, config in ARMS.items():
                    path = folder / "rows" / f"{task}-{arm}-{count}-{seed}-{episodes}.json"
                    if not path.exists():
                        start = time.perf_counter()
                        model = make_reward(config, dataset, seed)
                        if arm == "time_contrastive":
                            assert isinstance(model, RaplReward)
                            time_contrastive(model, dataset, seed)
                        model.fit(preferences, dataset, seed)
                        seconds = time.perf_counter() - start
                        row = {"task": task, "arm": arm, "labels": count, "seed": seed}
                        row |= {"fit_s": round(seconds, 2)}
                        row |= correlations(relabel(dataset, model).mean, dataset, held_out)
                        if other is not None:
                            found = correlations(
                                relabel(other, model).mean, other, np.arange(episodes)
                            )
                            row |= {f"transfer_{name}": value for name, value in found.items()}
                        path.parent.mkdir(parents=True, exist_ok=True)
                        write_json(path, row)
                    yield json.loads(path.read_text())


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
    from robopref.networks.pretrained import FrozenEncoder
    from robopref.rewards.visual import encoded

    dataset = TASKS["lift"].recorded(folder, "lift", episodes)
    images = {key: value for key, value in dataset.observations.items() if value.dtype == np.uint8}
    start = time.perf_counter()
    features = encoded(images, FrozenEncoder(EMBEDDED))
    looked = time.perf_counter() - start
    rng = numpy_generator(0, "pairs")
    pairs = uniform_pairs(whole_episodes(dataset), 150, rng)
    preferences = scripted_labels(dataset, pairs, TEACHERS["oracle"], rng, NOW)
    model = make_reward(RaplConfig(), dataset, 0)
    model.fit(preferences, dataset, 0)
    model.predict(gather(dataset, whole_episodes(dataset)[:8]))
    return {
        "align_150_labels_s": round(time.perf_counter() - start, 1),
        "encoder_frames_per_s": round(len(features) / looked, 1),
    }


def tabulate(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, with intervals of the correlation over steps."""
    table = []
    for task, arm, labels in dict.fromkeys((r["task"], r["arm"], r["labels"]) for r in rows):
        own = [r for r in rows if (r["task"], r["arm"], r["labels"]) == (task, arm, labels)]
        estimate = mean(np.array([[row["steps"]] for row in own]))
        entry = {"task": task, "arm": arm, "labels": labels, "seeds": len(own)}
        for name in own[0].keys() - {"task", "arm", "labels", "seed"}:
            entry[name] = round(float(np.mean([row[name] for row in own])), 3)
        table.append(entry | {"low": round(estimate.low, 3), "high": round(estimate.high, 3)})
    return table


def main() -> None:
    """Measures speed, then quality task by task, and writes what is there after each row."""
    parser = argument_parser(__doc__.splitlines()[0], "visual")
    parser.add_argument("--folder", type=Path, default=Path("runs/visual"))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    one_thread()
    tasks, labels, seeds, episodes = options.tasks.split(","), LABELS, options.seeds, EPISODES
    if options.quick:
        tasks, labels, seeds, episodes = ["lift"], (50,), 1, 24
    options.folder.mkdir(parents=True, exist_ok=True)
    headline = sinkhorn_against_pot()
    headline |= alignment_seconds(options.folder, episodes)
    rows: list[dict[str, Any]] = []
    for row in cells(options.folder, tasks, labels, seeds, episodes):
        rows.append(row)
        write_results(
            options.json, headline, tabulate(rows), ["torch", "POT", "metaworld", "robosuite"]
        )
    for entry in tabulate(rows):
        print(entry)
    for name, value in headline.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()

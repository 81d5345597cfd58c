"""Correlations of the visual benchmark: rewards learned from images, beside the true ones.

Pairs of clips of 50 steps, labelled by an oracle, from three quarters of the videos of a task; the
learned and the true reward are compared over the steps of the others (Spearman). All arms but
`pixels` look through RAPL's frozen encoder:

- `rapl`, `rapl_contrast` (`contrast=true`) and `rapl_views` (`views=4`)
- `frozen`: the encoder's own features, transport to the best clips
- `time_contrastive`: its head trained without labels, then transport
- `rlhf`: a linear head on the features by Bradley and Terry, with the settings of RAPL's authors
- `pixels`: a convolutional network by Bradley and Terry, from scratch
- `bradley_terry`: robopref's ensemble of networks on the features

The same reward is compared on another robot's videos where there are some.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from results import shipped_mix
from robopref.data.collect import collect
from robopref.data.lazy import load_dataset_lazily
from robopref.data.segments import segments_of_length
from robopref.evaluation.statistics import mean
from robopref.files import atomic_path, write_json
from robopref.networks.pretrained import SPATIAL
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.processes import one_thread
from robopref.rewards.base import RewardModel
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.rapl import RaplConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import episode_sums, relabel
from robopref.rewards.visual import SeenDataset, as_seen
from robopref.seeding import numpy_generator
from visual_baselines import LinearReward, PixelReward, time_contrastive

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EPISODES, IMAGE_SIZE, CLIP = 120, 112, 50
MOST_LABELS_FROM_PIXELS = 150
"""A network from pixels takes as long for these as all others together."""
LABELS: tuple[int, ...] = (25, 60, 120, 150, 300, 600)
MAIN_LABELS = 150
"""At which all arms are compared; the others only where `CURVES` says so."""
CURVES = ("rapl", "rlhf", "bradley_terry", "pixels")
EVERY = 4
"""Steps between two that are compared over time, as in the authors' code."""
DISTRACTORS = ["lighting", "object", "jitter"]


@dataclass(frozen=True)
class Task:
    """Where videos come from."""

    env_id: str
    kwargs: dict[str, Any]
    camera: str
    mix: str = "mixed"

    def path(self, folder: Path, name: str, episodes: int) -> Path:
        """The file of videos."""
        return folder / f"{name}-{episodes}.hdf5"

    def recorded(self, folder: Path, name: str, episodes: int) -> SeenDataset:
        """The videos as the encoder sees them, made when missing."""
        path = self.path(folder, name, episodes)
        kwargs = {"cameras": [self.camera], "image_size": IMAGE_SIZE, **self.kwargs}
        if self.mix != "xmagical":
            kwargs["distractors"] = DISTRACTORS
        collect(self.env_id, kwargs, shipped_mix(self.mix), episodes, 0, path)
        seen = as_seen(load_dataset_lazily(path), RaplConfig())
        assert isinstance(seen, SeenDataset)
        return seen


def _stick(task: str, length: str) -> Task:
    kwargs = {"horizon": 200, "embodiment": f"{length}stick"}
    return Task(f"xmagical/{task}", kwargs, "top", "xmagical")


TASKS = {
    "avoid": _stick("avoid", "short"),
    "group": _stick("group", "short"),
    "drawer-open": Task("metaworld/drawer-open-v3", {"horizon": 200}, "corner2"),
    "lift": Task("robosuite/lift", {"horizon": 100}, "agentview"),
}
TRANSFER = {
    "avoid": _stick("avoid", "medium"),
    "group": _stick("group", "medium"),
    "lift": Task("robosuite/lift", {"horizon": 100, "robots": "IIWA"}, "agentview"),
}
"""Another robot at the same task, which is paid by the labels of the first."""

Learner = Callable[[Preferences, SeenDataset, int], RewardModel]


def _fitted(make: Callable[[SeenDataset, int], RewardModel]) -> Learner:
    def learn(preferences: Preferences, dataset: SeenDataset, seed: int) -> RewardModel:
        model = make(dataset, seed)
        model.fit(preferences, dataset, seed)
        return model

    return learn


def _library(config: Any) -> Learner:
    return _fitted(partial(make_reward, config))


ARMS: dict[str, Learner] = {
    "rapl": _library(RaplConfig()),
    "rapl_contrast": _library(RaplConfig(contrast=True)),
    "rapl_views": _library(RaplConfig(views=4)),
    "frozen": _library(RaplConfig(aligned=False)),
    "time_contrastive": time_contrastive,
    "rlhf": _fitted(LinearReward),
    "pixels": _fitted(PixelReward),
    "bradley_terry": _library(BradleyTerryConfig(encoder=SPATIAL)),
}


def rewards_of(model: RewardModel, dataset: SeenDataset) -> NDArray[np.float32]:
    """(N,): of every step."""
    if isinstance(model, PixelReward):
        return model.rewards_of(dataset)
    return relabel(dataset, model).mean


def correlations(
    rewards: NDArray[np.float32], dataset: SeenDataset, episodes: NDArray[np.int64]
) -> dict[str, float]:
    """Spearman with the true reward over the given episodes: steps, time within each, sums."""
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


def labelled(dataset: SeenDataset, count: int, seed: int, episodes: int) -> Preferences:
    """An oracle's answers about `count` pairs of clips of the first three quarters."""
    rng = numpy_generator(seed, "pairs")
    clips = segments_of_length(dataset, CLIP)
    clips = clips[clips.episodes < 3 * episodes // 4]
    return scripted_labels(dataset, uniform_pairs(clips, count, rng), TEACHERS["oracle"], rng, NOW)


def cells(folder: Path, task: str, seed: int, labels: tuple[int, ...], episodes: int) -> None:
    """A row, and at `MAIN_LABELS` the rewards of both robots, for each arm; none is made twice."""
    one_thread()
    wanted = [
        (count, arm)
        for count in labels
        for arm in ARMS
        if (count == MAIN_LABELS or arm in CURVES)
        and (arm != "pixels" or count <= MOST_LABELS_FROM_PIXELS)
        and not row_file(folder, task, arm, count, seed).exists()
    ]
    if not wanted:
        return
    dataset = TASKS[task].recorded(folder, task, episodes)
    other = None
    if task in TRANSFER:
        other = TRANSFER[task].recorded(folder, f"{task}-transfer", episodes)
    held_out = np.arange(3 * episodes // 4, episodes)
    for count, arm in wanted:
        preferences = labelled(dataset, count, seed, episodes)
        start = time.perf_counter()
        learned = ARMS[arm](preferences, dataset, seed)
        row = {"task": task, "arm": arm, "labels": count, "seed": seed}
        row |= {"fit_s": round(time.perf_counter() - start, 2)}
        rewards = rewards_of(learned, dataset)
        row |= correlations(rewards, dataset, held_out)
        kept = {"own": rewards}
        if other is not None:
            kept["transfer"] = rewards_of(learned, other)
            found = correlations(kept["transfer"], other, np.arange(episodes))
            row |= {f"transfer_{name}": value for name, value in found.items()}
        path = row_file(folder, task, arm, count, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        if count == MAIN_LABELS:
            with atomic_path(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
                np.savez(file, **kept)
        write_json(path, row)
        print(json.dumps(row), flush=True)


def row_file(folder: Path, task: str, arm: str, labels: int, seed: int) -> Path:
    """Where a row is kept; rewards stand beside it."""
    return folder / "rows" / f"{task}-{arm}-{labels}-{seed}.json"


def tabulate(folder: Path) -> list[dict[str, Any]]:
    """Means over seeds of all rows that there are, with intervals of the correlation over steps."""
    rows = [json.loads(path.read_text()) for path in sorted((folder / "rows").glob("*.json"))]
    table = []
    for task in TASKS:
        for arm in ARMS:
            for labels in LABELS:
                own = [r for r in rows if (r["task"], r["arm"], r["labels"]) == (task, arm, labels)]
                if not own:
                    continue
                estimate = mean(np.array([[row["steps"]] for row in own]))
                entry = {"task": task, "arm": arm, "labels": labels, "seeds": len(own)}
                for name in sorted(own[0].keys() - {"task", "arm", "labels", "seed"}):
                    entry[name] = round(float(np.mean([row[name] for row in own])), 3)
                entry |= {"low": round(estimate.low, 3), "high": round(estimate.high, 3)}
                table.append(entry)
    return table

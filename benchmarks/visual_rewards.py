"""Correlations of the visual benchmark: rewards learned from images, beside the true ones.

Pairs of clips of 50 steps, labelled by an oracle, from three quarters of the videos of a task; the
learned and the true reward are compared over the steps of the others (Spearman). All arms but
`pixels` look through RAPL's frozen encoder:

- `rapl`, and `rapl_contrast` (`contrast=true`)
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

from results import shipped_mix
from robopref.data.collect import collect
from robopref.data.images import camera_images, named_images
from robopref.data.lazy import load_dataset_lazily
from robopref.data.normalization import Standardizer
from robopref.data.segments import segments_of_length
from robopref.data.spans import segment_spans, steps_in_parts
from robopref.evaluation.statistics import mean
from robopref.files import atomic_path, write_json
from robopref.networks.image_encoder import ImageEncoder
from robopref.networks.pretrained import SPATIAL
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.processes import one_thread
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.rapl import RaplConfig, RaplReward
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import episode_sums, relabel
from robopref.rewards.visual import SeenDataset, as_seen
from robopref.seeding import numpy_generator, torch_generator

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
RLHF_FRAMES = 45
PIXEL_FRAMES, PIXEL_STRIDE, PIXEL_FEATURES = 15, 2, 50


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

Rewards = Callable[[SeenDataset], NDArray[np.float32]]
"""(N,): of every step of a dataset."""
Learner = Callable[[Preferences, SeenDataset, int], Rewards]


def _library(config: Any) -> Learner:
    def learn(preferences: Preferences, dataset: SeenDataset, seed: int) -> Rewards:
        model = make_reward(config, dataset, seed)
        model.fit(preferences, dataset, seed)
        return lambda other: relabel(other, model).mean

    return learn


def _time_contrastive(preferences: Preferences, dataset: SeenDataset, seed: int) -> Rewards:
    """Trains the head without labels: frames near in time together, others of the video apart.

    Sermanet et al. 2018, Time-Contrastive Networks, arXiv 1704.06888, single view, with the
    cross entropy over a batch in the triplets' place (van den Oord et al. 2018).
    """
    model = make_reward(RaplConfig(), dataset, seed)
    assert isinstance(model, RaplReward)
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
        first, second = (model.represent(frames[rows.start + each]) for each in (anchors, near))
        loss = functional.cross_entropy(first @ second.T / 0.1, torch.arange(len(anchors)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    model.head.requires_grad_(False)
    model.fit(preferences, dataset, seed)
    return lambda other: relabel(other, model).mean


def _rlhf(preferences: Preferences, dataset: SeenDataset, seed: int) -> Rewards:
    """Tian et al.'s baseline: a linear head, 45 frames, Adam at 1e-4, 50 passes, batches of 10."""
    generator = torch_generator(seed, "rlhf")
    standardizer = Standardizer(dataset.flat_observations.shape[1])
    standardizer.fit(dataset.flat_observations)
    head = nn.Linear(dataset.flat_observations.shape[1], 1)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator) * 0.01)
    rows = _rows_of_pairs(preferences, dataset, RLHF_FRAMES)
    frames = standardizer(torch.from_numpy(dataset.flat_observations[rows]))

    def score(chosen: Tensor) -> Tensor:
        return head(frames[:, chosen]).sum((2, 3))  # type: ignore[no-any-return]

    _bradley_terry(preferences, head, score, 1e-4, 50, 10, generator)

    @torch.no_grad()
    def rewards(other: SeenDataset) -> NDArray[np.float32]:
        found = head(standardizer(torch.from_numpy(other.flat_observations)))[:, 0].numpy()
        return np.asarray(found[other.observation_rows])

    return rewards


def _pixels(preferences: Preferences, dataset: SeenDataset, seed: int) -> Rewards:
    """The library's small encoder, trained by the labels from scratch, at half the resolution."""
    generator = torch_generator(seed, "pixels")
    rows = _rows_of_pairs(preferences, dataset, PIXEL_FRAMES)
    frames = _pictures(dataset, rows.ravel()).unflatten(0, rows.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape = (3, *frames.shape[-2:])
        network = nn.Sequential(ImageEncoder(shape, PIXEL_FEATURES), nn.Linear(PIXEL_FEATURES, 1))

    def score(chosen: Tensor) -> Tensor:
        part = frames[:, chosen]
        return network(part.flatten(0, 2)).view(part.shape[:3]).sum(2)  # type: ignore[no-any-return]

    _bradley_terry(preferences, network, score, 3e-4, 20, 16, generator)

    @torch.no_grad()
    def rewards(other: SeenDataset) -> NDArray[np.float32]:
        every = np.arange(len(other.flat_observations))
        parts = [
            network(_pictures(other, every[i : i + 500]))[:, 0] for i in range(0, len(every), 500)
        ]
        return np.asarray(torch.cat(parts).numpy()[other.observation_rows])

    return rewards


def _bradley_terry(
    preferences: Preferences, network: nn.Module, score: Callable[[Tensor], Tensor], rate: float,
    epochs: int, batch: int, generator: torch.Generator,
) -> None:  # fmt: skip
    """Fits sums of rewards: `score` of pairs (B,) gives those of both sides (2, B)."""
    labels = torch.from_numpy(preferences.labels).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels), generator=generator).split(batch):
            first, second = score(chosen)
            loss = functional.binary_cross_entropy_with_logits(second - first, labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()


def _rows_of_pairs(
    preferences: Preferences, dataset: SeenDataset, frames: int
) -> NDArray[np.int64]:
    """(2, B, frames): rows of observations, evenly spread over both sides of each pair."""
    found = []
    for side in (preferences.first, preferences.second):
        starts, lengths = segment_spans(dataset, side)
        steps = starts[:, None] + steps_in_parts(lengths, frames, None)
        found.append(dataset.observation_rows[steps.numpy()])
    return np.stack(found)


def _pictures(dataset: SeenDataset, rows: NDArray[np.int64]) -> Tensor:
    """(R, C, H, W) uint8 of rows (R,)."""
    distinct, places = np.unique(rows, return_inverse=True)
    images = {name: values[distinct] for name, values in named_images(dataset.observations).items()}
    small = camera_images(images)[:, :, ::PIXEL_STRIDE, ::PIXEL_STRIDE]
    return torch.from_numpy(np.ascontiguousarray(small[places]))


ARMS: dict[str, Learner] = {
    "rapl": _library(RaplConfig()),
    "rapl_contrast": _library(RaplConfig(contrast=True)),
    "frozen": _library(RaplConfig(aligned=False)),
    "time_contrastive": _time_contrastive,
    "rlhf": _rlhf,
    "pixels": _pixels,
    "bradley_terry": _library(BradleyTerryConfig(encoder=SPATIAL)),
}


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
        rewards = learned(dataset)
        row |= correlations(rewards, dataset, held_out)
        kept = {"own": rewards}
        if other is not None:
            kept["transfer"] = learned(other)
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

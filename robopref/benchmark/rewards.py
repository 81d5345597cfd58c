"""Reward models and losses beside plain Bradley-Terry: accuracy on held-out pairs.

Segments of 50 steps of the training episodes are compared by a scripted teacher: one who is always
right, one who errs in a fifth of the pairs, and one who looks at the end of a segment most
(gamma 0.9). The exam is 1,000 uniform pairs of segments of the held-out third of the episodes,
whose answers are right. Every model learns with its default settings. Methods of ranked lists make
as many comparisons as the others have pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robopref.benchmark.cell import MIXED, NOW, Cell, dataset_path, recorded, short_name
from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import all_segments
from robopref.evaluation.reward_quality import label_accuracy
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import split_episodes, uniform_pairs
from robopref.preferences.ranked_lists import ask_for_lists
from robopref.preferences.teachers import TeacherConfig, scripted_labels, teacher_answers
from robopref.rewards.bradley_terry import (
    BradleyTerryConfig,
    LSTMConfig,
    PreferenceTransformerConfig,
)
from robopref.rewards.doubtful import FLIP, mended, preference_strengths
from robopref.rewards.general import GeneralConfig
from robopref.rewards.pearl import PearlConfig, PearlTransformerConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import relabel
from robopref.seeding import numpy_generator
from robopref.structures import Segments

TABLE, MIX = "rewards", MIXED
TEACHERS = {
    "clean": TeacherConfig(),
    "flipped": TeacherConfig(mistake=0.2),
    "myopic": TeacherConfig(gamma=0.9),
}
LENGTH, EXAM, LIST_SIZE = 50, 1_000, 10
BASELINE = "bradley_terry"


@dataclass(frozen=True)
class Method:
    """A reward model and what becomes of the labels before."""

    config: Any
    lists: bool = False
    """Whether the teacher is asked for ranked lists, by as many comparisons."""
    doubtful: float = 0.0
    """Share of the labels that is turned round where rewards contradict them."""


METHODS: Mapping[str, Method] = {
    BASELINE: Method(BradleyTerryConfig()),
    "linear": Method(BradleyTerryConfig(preference_model="linear")),
    "rao_kupper": Method(BradleyTerryConfig(preference_model="rao_kupper")),
    "davidson": Method(BradleyTerryConfig(preference_model="davidson")),
    "smoothed": Method(BradleyTerryConfig(label_smoothing=0.1)),
    "flip_doubtful": Method(BradleyTerryConfig(), doubtful=0.2),
    "surf": Method(BradleyTerryConfig(crop=0.25, pseudo_pairs=4)),
    "general": Method(GeneralConfig()),
    "pearl": Method(PearlConfig()),
    "lists_bradley_terry": Method(BradleyTerryConfig(), lists=True),
    "lists_linear": Method(BradleyTerryConfig(preference_model="linear"), lists=True),
    "lists_plackett_luce": Method(BradleyTerryConfig(preference_model="plackett_luce"), lists=True),
    "lists_lambda": Method(BradleyTerryConfig(preference_model="lambda"), lists=True),
    "lstm": Method(LSTMConfig()),
    "preference_transformer": Method(PreferenceTransformerConfig()),
    "pearl_transformer": Method(PearlTransformerConfig()),
}


def accuracy(cell: Cell, folder: Path) -> float:
    """Trains a reward and examines it."""
    dataset, method = recorded(dataset_path(cell.task, MIX, folder)), METHODS[cell.method]
    rng = numpy_generator(cell.seed, f"reward models {short_name(cell.task)}")
    train, held_out = split_episodes(len(dataset), 1.0 / 3.0, rng)
    segments = all_segments(dataset, LENGTH, held_out)
    most = len(segments) * (len(segments) - 1) // 2
    pairs = uniform_pairs(segments, min(EXAM, most), rng)
    exam = scripted_labels(dataset, pairs, TeacherConfig(), rng, NOW)
    rng = numpy_generator(cell.seed, f"labels {short_name(cell.task)} {cell.teacher} {cell.labels}")
    segments = all_segments(dataset, LENGTH, train)
    labels = ask(method, dataset, segments, cell.labels, TEACHERS[cell.teacher], rng, cell.seed)
    model = make_reward(method.config, dataset, cell.seed)
    model.fit(labels, dataset, cell.seed)
    return label_accuracy(relabel(dataset, model).mean, exam, dataset)


def ask(
    method: Method,
    dataset: TrajectoryDataset,
    segments: Segments,
    count: int,
    teacher: TeacherConfig,
    rng: np.random.Generator,
    seed: int,
) -> Preferences:
    """Labels for a method, which are the same ones for all methods but of lists.

    Args:
        method: that learns from them.
        dataset: it is about.
        segments: to compare.
        count: of comparisons.
        teacher: who answers.
        rng: of questions and answers.
        seed: of what judges doubtful labels.
    """
    if method.lists:
        pairs, labels, numbers, _ = ask_for_lists(
            segments, LIST_SIZE, count, lambda pair: teacher_answers(dataset, pair, teacher, rng),
            rng,
        )  # fmt: skip
        found = Preferences.from_labels(
            dataset, *pairs, labels, source="scripted", annotator="teacher", created_at=NOW
        )
        return replace(found, ranking=numbers)
    found = scripted_labels(dataset, uniform_pairs(segments, count, rng), teacher, rng, NOW)
    if not method.doubtful:
        return found
    strengths = preference_strengths(found, dataset, method.config, seed)
    return mended(found, strengths, FLIP, method.doubtful)

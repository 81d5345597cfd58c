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

from robopref.benchmark.cell import MIXED, NOW, Cell, dataset_path, recorded, short_name
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
    labels = _asked(cell, train, method.lists, folder)
    if method.doubtful:
        strengths = preference_strengths(labels, dataset, method.config, cell.seed)
        labels = mended(labels, strengths, FLIP, method.doubtful)
    model = make_reward(method.config, dataset, cell.seed)
    model.fit(labels, dataset, cell.seed)
    return label_accuracy(relabel(dataset, model).mean, exam, dataset)


def _asked(cell: Cell, train: Any, lists: bool, folder: Path) -> Preferences:
    """Labels of segments of the training episodes; the same ones for all methods but of lists."""
    dataset = recorded(dataset_path(cell.task, MIX, folder))
    rng = numpy_generator(cell.seed, f"labels {short_name(cell.task)} {cell.teacher} {cell.labels}")
    segments, teacher = all_segments(dataset, LENGTH, train), TEACHERS[cell.teacher]
    if not lists:
        pairs = uniform_pairs(segments, cell.labels, rng)
        return scripted_labels(dataset, pairs, teacher, rng, NOW)
    pairs, labels, numbers, _ = ask_for_lists(
        segments, LIST_SIZE, cell.labels, lambda pair: teacher_answers(dataset, pair, teacher, rng),
        rng,
    )  # fmt: skip
    found = Preferences.from_labels(
        dataset, *pairs, labels, source="scripted", annotator="teacher", created_at=NOW
    )
    return replace(found, ranking=numbers)

"""Scripted teachers: they read the true reward and answer as irrationally as people do.

Lee, Smith, Dragan, Abbeel: B-Pref: Benchmarking Preference-Based Reinforcement Learning,
NeurIPS 2021, section 3. The teacher is stochastic (beta), short-sighted (gamma), sometimes wrong
(mistake), declines pairs of two bad segments (skip) and calls similar ones equal (equal).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import step_indices
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import Pairs
from robopref.structures import Segments


@dataclass
class TeacherConfig:
    """Irrationalities of a scripted teacher; the default is perfectly rational."""

    beta: float = -1.0
    """Rationality: P(second) = sigmoid(beta (G2 - G1)). At most 0: the larger sum always wins."""
    gamma: float = 1.0
    """Myopia: step t of H counts gamma^(H - 1 - t), so the last steps count most."""
    mistake: float = 0.0
    """Probability of giving the opposite answer."""
    skip: float = 0.0
    """Declines a pair unless its better sum exceeds this share of an average segment's."""
    equal: float = 0.0
    """Calls a pair equal if the sums differ by less than this share of an average segment's."""
    bpref_compat: bool = False
    """Squares `skip` and `equal`, as BPref's code does from the second session on."""

    def __post_init__(self) -> None:
        if not 0.0 < self.gamma <= 1.0:
            raise InputError(f"teacher.gamma={self.gamma}: must lie in (0, 1]")
        if not 0.0 <= self.mistake <= 1.0:
            raise InputError(f"teacher.mistake={self.mistake}: a probability lies in [0, 1]")
        if min(self.skip, self.equal) < 0.0:
            raise InputError("teacher.skip and teacher.equal are shares, so at least 0")


TEACHERS: Mapping[str, TeacherConfig] = {
    "oracle": TeacherConfig(),
    "mistake": TeacherConfig(mistake=0.1),
    "noisy": TeacherConfig(beta=1.0),
    "skip": TeacherConfig(skip=0.1),
    "myopic": TeacherConfig(gamma=0.9),
    "equal": TeacherConfig(equal=0.1),
}
"""The presets of the paper."""


def scripted_labels(
    dataset: TrajectoryDataset,
    pairs: Pairs,
    config: TeacherConfig,
    rng: np.random.Generator,
    created_at: datetime,
    *,
    annotator: str = "teacher",
    source: str = "scripted",
    mean_return: float | None = None,
) -> Preferences:
    """Asks a scripted teacher about pairs; those it skips are left out.

    Args:
        dataset: the dataset of the segments, with true rewards.
        pairs: first and second segments.
        config: the teacher.
        rng: source of randomness.
        created_at: time written into every row.
        annotator: name written into every row.
        source: where the rewards come from: `scripted` if they are true, `reward` if learned.
        mean_return: return of an average episode, to which `skip` and `equal` are relative; the
            dataset's own when None. Give a positive one where returns are negative, because a
            negative threshold turns `skip` and `equal` off.
    """
    first, second = pairs
    labels = teacher_answers(dataset, pairs, config, rng, mean_return)
    asked = ~np.isnan(labels)
    return Preferences.from_labels(
        dataset,
        first[asked],
        second[asked],
        labels[asked],
        source=source,
        annotator=annotator,
        created_at=created_at,
    )


def teacher_answers(
    dataset: TrajectoryDataset,
    pairs: Pairs,
    config: TeacherConfig,
    rng: np.random.Generator,
    mean_return: float | None = None,
) -> NDArray[np.float64]:
    """(B,): what the teacher says to each pair; NaN where it declines. Arguments as above."""
    first, second = pairs
    rewards = [_segment_rewards(dataset, segments) for segments in pairs]
    average = float(dataset.returns.mean()) if mean_return is None else mean_return
    share = np.maximum(first.lengths, second.lengths) / dataset.lengths.max()
    return answer(rewards[0], rewards[1], average * share, config, rng)


def answer(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    average: NDArray[np.float64],
    config: TeacherConfig,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """The teacher's answers, in BPref's order: skip, equal, myopia, choice, mistake.

    Args:
        first: (B, H) true rewards of the first segments, shorter ones padded with zeros in front.
        second: (B, H) of the second segments.
        average: (B,) sum of true rewards of an average segment.
        config: the teacher.
        rng: source of randomness; two numbers are drawn per pair whatever the teacher, so equal
            seeds give comparable teachers.

    Returns:
        (B,): 0 first preferred, 1 second, 0.5 equal, NaN skipped.
    """
    power = 2 if config.bpref_compat else 1
    sums = first.sum(axis=1), second.sum(axis=1)
    skip_below = config.skip**power * average
    skipped = (skip_below > 0.0) & (np.maximum(*sums) <= skip_below)
    equal = np.abs(sums[0] - sums[1]) < config.equal**power * average

    seen = [
        rewards @ config.gamma ** np.arange(rewards.shape[1] - 1, -1, -1.0)
        for rewards in (first, second)
    ]
    choice, error = rng.random((2, len(average)))
    if config.beta > 0.0:
        # sigmoid through tanh does not overflow
        prefers_second = choice < 0.5 + 0.5 * np.tanh(0.5 * config.beta * (seen[1] - seen[0]))
    else:
        prefers_second = seen[0] < seen[1]  # exact ties go to the first, as in BPref
    labels: NDArray[np.float64] = (prefers_second ^ (error < config.mistake)).astype(np.float64)
    labels[equal] = 0.5
    labels[skipped] = np.nan
    return labels


def _segment_rewards(dataset: TrajectoryDataset, segments: Segments) -> NDArray[np.float64]:
    """(B, H): true rewards, padded in front so that the last steps stand in line."""
    indices, mask = step_indices(dataset, segments)
    rewards = np.where(mask, dataset.rewards[indices].astype(np.float64), 0.0)
    shift = np.arange(mask.shape[1]) - (mask.shape[1] - segments.lengths)[:, None]
    aligned: NDArray[np.float64] = np.take_along_axis(rewards, np.maximum(shift, 0), axis=1)
    aligned[shift < 0] = 0.0
    return aligned

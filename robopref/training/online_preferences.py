"""Preferences asked while the policy learns (PEBBLE: Lee, Smith and Abbeel 2021, arXiv 2106.05091).

At first the policy explores: it is paid for observations far from those it has seen (section 4.1).
Then, every so many steps, a teacher compares pieces of its recent episodes, a reward is learned
from all answers so far, and the whole replay is paid anew (section 4.2, Algorithm 2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.replay import ReplayBuffer
from robopref.data.robomimic import load_dataset, save_dataset
from robopref.data.segments import all_segments
from robopref.errors import InputError
from robopref.evaluation.rollout import flatten
from robopref.preferences.active import UNIFORM, check_strategy
from robopref.preferences.dataset import (
    Preferences,
    check_informative,
    load_preferences,
    save_preferences,
)
from robopref.preferences.queries import Pairs
from robopref.rewards.base import RewardModel
from robopref.rewards.questions import choose_pairs
from robopref.rewards.registry import load_reward, make_reward
from robopref.rewards.relabel import relabel
from robopref.seeding import numpy_generator
from robopref.structures import SegmentBatch, Segments, Trajectory

SEGMENTS_FILE, ANSWERS_FILE = "queries.hdf5", "queries.parquet"
REWARD_FOLDER, SCALE_FILE = "reward", "reward_scale.safetensors"
START = datetime(1970, 1, 1, tzinfo=UTC)

Teacher = Callable[[TrajectoryDataset, Pairs, np.random.Generator], NDArray[np.float64]]
"""Answers (B,) to pairs of a dataset: 0 first, 1 second, 0.5 equal, NaN skipped."""


@dataclass
class OnlinePreferencesConfig:
    """How often to ask, and what about."""

    budget: int = 500
    """Pairs in all."""
    strategy: str = "uniform"
    """Which pairs are asked once there is a reward: uniform, disagreement, entropy,
    mutual_information, k_center, thompson or volume_removal. The first ones are uniform."""
    pairs_per_session: int = 50
    session_every: int = 5_000
    """Steps between two sessions, and until the first: so long the policy explores."""
    segment_length: int = 50
    recent_steps: int = 20_000
    """How many of the newest steps are asked about."""
    nearest: int = 5
    """While exploring, a step is paid by the distance to the so many nearest observation..."""
    compared: int = 512
    """...among so many, drawn from the replay."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "strategy" and value < 1:
                raise InputError(f"preferences.{name}={value}: must be at least 1")
        check_strategy(self.strategy)
        if self.nearest >= self.compared:
            raise InputError(
                f"preferences.nearest={self.nearest}: must be below compared={self.compared}"
            )


@dataclass
class OnlinePreferences:
    """Pays by exploration at first, then by a reward learned from a teacher's answers."""

    config: OnlinePreferencesConfig
    reward_config: Any
    """Config of one of `REWARDS`."""
    teacher: Teacher
    seed: int
    model: RewardModel | None = None
    _asked: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    """(A, 3): every pair that the teacher was asked about, skipped ones included: where the replay
    began its first and its second piece, and their length."""
    _segments: list[Trajectory] = field(default_factory=list)
    """Pieces that were compared: the first and the second of pair `i` are `2 i` and `2 i + 1`."""
    _labels: list[float] = field(default_factory=list)
    _scale: Tensor = field(default_factory=lambda: torch.tensor([0.0, 1.0]))
    """(2,): what is taken from a reward, and what it is then divided by."""
    _seen: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    """(compared, D): observations to be far from, while exploring."""

    @property
    def asked(self) -> int:
        """Pairs that the teacher was asked about."""
        return len(self._asked)

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with this one."""
        return {"model": "learned on the way"}

    def pay(self, observation: Any, action: NDArray[np.float32]) -> float:
        """Reward of one step, from the raw observation before it and the action (A,)."""
        observation = flatten(observation)
        if self.model is None:
            return self._novelty(torch.as_tensor(observation))
        device = self.model.device
        step = SegmentBatch(
            torch.as_tensor(observation, device=device)[None, None],
            torch.as_tensor(action, device=device)[None, None],
            torch.ones(1, 1, device=device),
        )
        reward = self.model.predict(step).mean.cpu() - self._scale[0]
        return float(reward / self._scale[1])

    def before_update(self) -> None:
        """Changes nothing: what is paid is on its scale already."""

    def after_episode(self, step: int, replay: ReplayBuffer) -> dict[str, float]:
        """Holds a session when it is time; learns and pays the replay anew."""
        config = self.config
        if self.model is None:
            self._see(step, replay)
        sessions = self.asked // config.pairs_per_session
        if self.asked >= config.budget or step < (sessions + 1) * config.session_every:
            return {}
        self._ask(step, replay)
        archive = TrajectoryDataset.from_trajectories(self._segments)
        answers = self._answers(archive)
        try:
            check_informative(answers)
        except InputError:  # all answers alike so far: nothing to learn yet
            return {"labels": float(len(answers))}
        self.model = make_reward(self.reward_config, archive, self.seed)
        metrics = self.model.fit(answers, archive, self.seed + step)
        self._pay_anew(replay)
        return {"labels": float(len(answers)), "label_accuracy": metrics["train/accuracy"]}

    def save(self, folder: Path) -> None:
        """Writes pieces, answers, reward and scale."""
        tensors = {"scale": self._scale, "seen": self._seen, "asked": torch.from_numpy(self._asked)}
        safetensors.torch.save_file(tensors, folder / SCALE_FILE)
        if self._segments:
            archive = TrajectoryDataset.from_trajectories(self._segments)
            save_dataset(folder / SEGMENTS_FILE, archive)
            save_preferences(folder / ANSWERS_FILE, self._answers(archive))
        if self.model is not None:
            self.model.save(folder / REWARD_FOLDER)

    def load(self, folder: Path) -> None:
        """Puts back what `save` wrote.

        Raises:
            InputError: if a file is damaged.
        """
        try:
            tensors = safetensors.torch.load_file(folder / SCALE_FILE)
        except (OSError, safetensors.SafetensorError) as error:
            raise InputError(f"{folder / SCALE_FILE}: damaged ({error}); start anew") from error
        self._scale, self._seen = tensors["scale"], tensors["seen"]
        self._asked = tensors["asked"].numpy()
        if (folder / SEGMENTS_FILE).exists():
            archive = load_dataset(folder / SEGMENTS_FILE)
            self._segments = [archive[index] for index in range(len(archive))]
            self._labels = load_preferences(folder / ANSWERS_FILE).labels.tolist()
        if (folder / REWARD_FOLDER).exists():
            self.model = load_reward(folder / REWARD_FOLDER)

    def _ask(self, step: int, replay: ReplayBuffer) -> None:
        recent = replay.episodes(self.config.recent_steps)
        numbers = replay.episode_numbers(self.config.recent_steps)
        rng = numpy_generator(self.seed, f"session at {step}")
        count = min(self.config.pairs_per_session, self.config.budget - self.asked)
        length = min(self.config.segment_length, int(recent.lengths.max()))
        strategy = self.config.strategy if self.model is not None else UNIFORM
        segments = all_segments(recent, length)
        asked = self._asked_within(numbers)
        pairs = choose_pairs(strategy, recent, segments, count, rng, self.model, asked)
        labels = self.teacher(recent, pairs, rng)
        for index in np.flatnonzero(~np.isnan(labels)):
            self._segments += [_cut(recent, side, int(index)) for side in pairs]
            self._labels.append(float(labels[index]))
        places = [numbers[side.episodes] + side.starts for side in pairs]
        self._asked = np.concatenate([self._asked, np.stack([*places, pairs[0].lengths], axis=1)])

    def _asked_within(self, numbers: NDArray[np.int64]) -> Pairs:
        """The pairs asked before of which both pieces lie in episodes that began at `numbers`."""
        asked = self._asked[(self._asked[:, :2] >= numbers[0]).all(axis=1)]

        def side(places: NDArray[np.int64]) -> Segments:
            episodes = np.searchsorted(numbers, places, side="right") - 1
            return Segments(episodes, places - numbers[episodes], asked[:, 2])

        return side(asked[:, 0]), side(asked[:, 1])

    def _answers(self, archive: TrajectoryDataset) -> Preferences:
        first = np.arange(0, 2 * len(self._labels), 2, dtype=np.int64)
        starts = np.zeros_like(first)
        return Preferences.from_labels(
            archive,
            Segments(first, starts, archive.lengths[first]),
            Segments(first + 1, starts, archive.lengths[first + 1]),
            np.array(self._labels),
            source="scripted",
            annotator="teacher",
            created_at=START,  # a resumed run is to write the same file
        )

    def _pay_anew(self, replay: ReplayBuffer) -> None:
        assert self.model is not None
        episodes = replay.episodes()
        rewards = relabel(episodes, self.model).mean
        offset = 0.0 if episodes.terminated.any() else float(rewards.mean())
        size = float(np.sqrt(np.mean((rewards - offset) ** 2))) or 1.0
        self._scale = torch.tensor([offset, size])
        replay.relabel((rewards - offset) / size)

    def _see(self, step: int, replay: ReplayBuffer) -> None:
        """Draws what the next episode is compared with."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        batch = replay.sample(self.config.compared, generator)
        self._seen = batch.observations.cpu()
        distances = torch.cdist(self._seen, self._seen).kthvalue(self.config.nearest + 1).values
        self._scale = torch.tensor([0.0, float(distances.mean()) or 1.0])

    def _novelty(self, observation: Tensor) -> float:
        """`log(1 + d)` with `d` the distance to a near observation over the mean distance."""
        if not len(self._seen):
            return 0.0
        distances = torch.cdist(observation[None], self._seen)[0]
        distance = distances.kthvalue(self.config.nearest).values / self._scale[1]
        return float(torch.log1p(distance))


def _cut(dataset: TrajectoryDataset, segments: Segments, index: int) -> Trajectory:
    """One segment as an episode of its own."""
    episode = dataset[int(segments.episodes[index])]
    start, length = int(segments.starts[index]), int(segments.lengths[index])
    rows, steps = slice(start, start + length + 1), slice(start, start + length)
    terminated = episode.terminated[steps]
    return Trajectory(
        observations={name: values[rows] for name, values in episode.observations.items()},
        actions=episode.actions[steps],
        rewards=episode.rewards[steps],
        terminated=terminated,
        truncated=(np.arange(length) == length - 1) & ~terminated,
        success=episode.success[steps],
    )

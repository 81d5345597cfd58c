"""Dataset reset: episodes that start where recorded ones have been (DR-PO).

Chang, Zhan et al. 2024, "Dataset Reset Policy Optimization for RLHF", arXiv 2404.08495,
Algorithm 1: a share of the episodes starts from a state drawn from the data in place of a fresh
one. There the learner is policy gradient on a language model; here it is whichever one acts in the
simulator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences


@dataclass
class ResetsConfig:
    """How many episodes start from recorded states, and from which."""

    share: float = 0.0
    """Share of the episodes at first; the paper's beta."""
    until: int = 0
    """Step at which the share has fallen to 0, in a straight line; 0 keeps it."""
    preferences: str = ""
    """Parquet file with labels of the dataset: starts from states of the preferred segments.
    From every state of the dataset when empty."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise InputError(f"resets.share={self.share}: must lie in [0, 1]")
        if self.until < 0:
            raise InputError(f"resets.until={self.until}: must be at least 0")

    def share_at(self, step: int) -> float:
        """Share of the episodes that start from recorded states at a step of the training."""
        return self.share * max(1.0 - step / self.until, 0.0) if self.until else self.share


class DatasetResets:
    """Puts an environment into recorded states."""

    def __init__(
        self,
        config: ResetsConfig,
        dataset: TrajectoryDataset,
        env: gymnasium.Env[Any, Any],
        preferences: Preferences | None = None,
    ) -> None:
        """
        Args:
            config: how often.
            dataset: with simulator states.
            env: an environment of the kind that is to be reset.
            preferences: over `dataset`; only states of preferred segments are used.

        Raises:
            InputError: if there are no states, the environment takes none, or nothing is preferred.
        """
        self.config, self._dataset = config, dataset
        if dataset.states is None:
            raise InputError(
                f"{dataset.source}: keeps no simulator states, which resets.share needs; record it "
                "with `robopref collect`, or set resets.share=0"
            )
        if not hasattr(env.unwrapped, "set_state"):
            raise InputError(f"{env}: takes no simulator states; set resets.share=0")
        starts = np.ones(dataset.num_steps, dtype=bool)
        if preferences is not None:
            starts = _in_preferred(preferences, dataset)
        # A state knows how many steps its episode has had: one at the time limit has none left.
        within = np.concatenate([np.arange(length) for length in dataset.lengths])
        starts &= within < getattr(env.unwrapped, "horizon", np.inf)
        self._steps = np.flatnonzero(starts)
        if not len(self._steps):
            raise InputError(f"{dataset.source}: no state to start from; give other preferences")

    def draw(self, step: int, rng: np.random.Generator) -> int | None:
        """A step of the dataset to start from, or None for a fresh start."""
        if rng.random() >= self.config.share_at(step):
            return None
        return int(rng.choice(self._steps))

    def restore(self, env: gymnasium.Env[Any, Any], start: int) -> Any:
        """Puts `env`, just reset, into the state before step `start`; returns its observation."""
        dataset, simulator = self._dataset, env.unwrapped
        episode = int(np.searchsorted(dataset.offsets, start, side="right") - 1)
        if dataset.attributes and "model_file" in dataset.attributes[episode]:
            simulator.load_model(dataset.attributes[episode]["model_file"])  # type: ignore[attr-defined]
        assert dataset.states is not None
        state: NDArray[Any] = dataset.states[dataset.observation_rows[start]]
        return simulator.set_state(np.asarray(state))  # type: ignore[attr-defined]


def _in_preferred(preferences: Preferences, dataset: TrajectoryDataset) -> NDArray[np.bool_]:
    """(N,): steps within a segment that was preferred to another one."""
    found = np.zeros(dataset.num_steps, dtype=bool)
    sides = (
        (preferences.first, preferences.first_dataset, preferences.labels < 0.5),
        (preferences.second, preferences.second_dataset, preferences.labels > 0.5),
    )
    for segments, datasets, preferred in sides:
        chosen = preferred & (datasets == dataset.fingerprint)
        begins = dataset.offsets[segments.episodes] + segments.starts
        for begin, length in zip(begins[chosen], segments.lengths[chosen], strict=True):
            found[begin : begin + length] = True
    return found

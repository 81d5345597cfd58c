"""Which pairs are worth asking: strategies that look at what a reward ensemble believes so far.

Shape letters: `E` members of the ensemble, `C` candidate pairs, `F` features. Member `e` believes
that the second segment is preferred with `P_e = sigmoid(R_e(second) - R_e(first))`.

A batch does not ask near-duplicates. Two pairs are near-duplicates if each side of one shares at
least half of its steps with a side of the other; such a pair is taken only when nothing else is
left. And what a pair is worth is divided by one plus the number of times that its segments occur
in the batch already, because answers about a segment make it better known. Uniform questions and
coverage need no such rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.queries import Pairs
from robopref.structures import Segments

Scores = NDArray[np.float64]
MOMENTS = 5
"""Steps of a segment that its features show."""
NEAR = 0.5
"""Share of common steps from which two segments count as the same."""


@dataclass(frozen=True)
class Candidates:
    """`C` pairs that could be asked, and what is believed about them."""

    dataset: TrajectoryDataset
    """The episodes; its true rewards are not read."""
    pairs: Pairs
    """(C,) first and (C,) second segments."""
    asked: Pairs
    """(A,): pairs that were asked before, none of them a candidate."""
    first: Scores
    """(E, C): sum of the rewards of each first segment, by member, in log-odds."""
    second: Scores
    """(E, C): of each second segment."""

    def __len__(self) -> int:
        return len(self.pairs[0])

    @property
    def probabilities(self) -> Scores:
        """(E, C): by member, that the second segment is preferred."""
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * (self.second - self.first)))


Strategy = Callable[[Candidates, int, np.random.Generator], NDArray[np.int64]]
"""Candidates, how many, and a source of randomness to the candidates to ask, in order."""


def uniform(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Any pairs, whatever is believed: the control."""
    return rng.permutation(len(candidates))[:count]


def disagreement(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Largest standard deviation of `P_e` over members (Christiano et al. 2017, section 2.2.4)."""
    return _batch(candidates, candidates.probabilities.std(axis=0), count)


def entropy(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Largest mean over members of the entropy of `P_e` (PEBBLE: Lee et al. 2021, section 4.2).

    Asks what the members call close, whether or not they agree on it.
    """
    return _batch(candidates, _entropy(candidates.probabilities).mean(axis=0), count)


def mutual_information(
    candidates: Candidates, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Most information of the answer about which member is right.

    BALD (Houlsby et al. 2011, arXiv 1112.5745, eq. 2): `H(mean_e P_e) - mean_e H(P_e)`.
    """
    probabilities = candidates.probabilities
    gain = _entropy(probabilities.mean(axis=0)) - _entropy(probabilities).mean(axis=0)
    return _batch(candidates, gain, count)


def volume_removal(
    candidates: Candidates, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Most volume of the posterior removed by the less helpful of the two answers.

    Sadigh et al.: Active Preference-Based Learning of Reward Functions, RSS 2017, eq. 8, with the
    members as samples of the posterior: `min(mean_e P_e, mean_e (1 - P_e))`.
    """
    mean = candidates.probabilities.mean(axis=0)
    return _batch(candidates, np.minimum(mean, 1.0 - mean), count)


def thompson(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Two members are drawn per question, and the best segment of one meets that of the other.

    Wu and Sun: Making RL with Preference-based Feedback Efficient via Randomization, ICLR 2024
    (arXiv 2310.14554), Algorithm 2, with members as posterior samples and the candidates in place
    of policies. Asks about what may be good, so it serves a policy more than a reward that has to
    be right everywhere.
    """
    batch = _Batch(candidates)
    for _ in range(count):
        one, other = rng.integers(len(candidates.first), size=2)
        worth = np.maximum(
            candidates.first[one] + candidates.second[other],
            candidates.first[other] + candidates.second[one],
        )
        batch.take((worth - worth.min()) / max(float(np.ptp(worth)), 1e-12))
    return np.array(batch.chosen)


def k_center(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Each pair as far as possible from all asked so far: greedy k-centre.

    Sener and Savarese: Active Learning for Convolutional Neural Networks: A Core-Set Approach,
    ICLR 2018, Algorithm 1; for preferences in BPref (Lee et al. 2021, appendix). Looks at no
    belief, so it can be used before there is a reward.
    """
    features = pair_features(candidates.dataset, candidates.pairs)
    nearest = np.full(len(candidates), np.inf)
    for row in pair_features(candidates.dataset, candidates.asked):
        nearest = np.minimum(nearest, ((features - row) ** 2).sum(axis=1))
    chosen: list[int] = []
    for _ in range(count):
        chosen.append(int(np.argmax(nearest)))  # the first candidate when none was asked
        nearest = np.minimum(nearest, ((features - features[chosen[-1]]) ** 2).sum(axis=1))
        nearest[chosen] = -1.0  # not again, even where all others are the same
    return np.array(chosen)


UNIFORM, COVERAGE = "uniform", "k_center"
STRATEGIES: Mapping[str, Strategy] = {
    UNIFORM: uniform,
    "disagreement": disagreement,
    "entropy": entropy,
    "mutual_information": mutual_information,
    COVERAGE: k_center,
    "thompson": thompson,
    "volume_removal": volume_removal,
}
"""Name to strategy."""
BLIND = (UNIFORM, COVERAGE)
"""Strategies that look at no reward."""
BETWEEN_MEMBERS = ("disagreement", "mutual_information", "thompson")
"""Strategies that find nothing to ask where there is one member only."""


def check_strategy(strategy: str) -> None:
    """Raises `InputError` unless there is such a strategy."""
    if strategy not in STRATEGIES:
        raise InputError(
            f"strategy={strategy}: no such way to ask; choose from {', '.join(STRATEGIES)}"
        )


def pair_features(dataset: TrajectoryDataset, pairs: Pairs) -> Scores:
    """(C, F): observations at a few moments of both segments, whichever of them is the first.

    Observations are divided by their spread over the dataset.
    """
    spread = dataset.flat_observations.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    sides = []
    for segments in pairs:
        moments = np.linspace(0.0, 1.0, MOMENTS) * (segments.lengths[:, None] - 1)
        # Step n of episode e has its observation in row n + e.
        first = dataset.offsets[segments.episodes] + segments.starts + segments.episodes
        rows = first[:, None] + np.rint(moments).astype(np.int64)
        sides.append(dataset.flat_observations[rows].astype(np.float64) / scale)
    left, right = sides
    both = np.concatenate([left + right, np.abs(left - right)], axis=2)
    return np.asarray(both.reshape(len(both), both.shape[1] * both.shape[2]))


def _entropy(probabilities: Scores) -> Scores:
    """Entropy of a yes or no, in nats; 0 where it is certain."""
    parts = np.stack([probabilities, 1.0 - probabilities])
    return np.asarray(-(parts * np.log(np.maximum(parts, 1e-300))).sum(axis=0))


def _batch(candidates: Candidates, worth: Scores, count: int) -> NDArray[np.int64]:
    """The `count` candidates of most worth, by the rule of batches."""
    batch = _Batch(candidates)
    for _ in range(count):
        batch.take(worth)
    return np.array(batch.chosen)


class _Batch:
    """The rule of batches; see the module."""

    def __init__(self, candidates: Candidates) -> None:
        self._pairs = candidates.pairs
        self._used: Scores = np.zeros(len(candidates))
        self._near = np.zeros(len(candidates), dtype=bool)
        self.chosen: list[int] = []

    def take(self, worth: Scores) -> None:
        """Chooses one more, by worth (C,), at least 0."""
        value = np.where(self._near, -1.0, worth / (1.0 + self._used))
        value[self.chosen] = -2.0
        row = int(np.argmax(value))
        self.chosen.append(row)
        # (first, second) of all against (first, second) of the chosen one.
        shares = [
            [_common_share(side, other[row : row + 1]) for other in self._pairs]
            for side in self._pairs
        ]
        self._used += np.sum(shares, axis=(0, 1))
        straight = np.minimum(shares[0][0], shares[1][1])
        crossed = np.minimum(shares[0][1], shares[1][0])
        self._near |= np.maximum(straight, crossed) >= NEAR


def _common_share(segments: Segments, other: Segments) -> Scores:
    """(C,): share of each segment's steps that the other one (1,) has too."""
    start = np.maximum(segments.starts, other.starts)
    end = np.minimum(segments.starts + segments.lengths, other.starts + other.lengths)
    common: NDArray[Any] = np.maximum(end - start, 0) * (segments.episodes == other.episodes)
    return np.asarray(common / segments.lengths)

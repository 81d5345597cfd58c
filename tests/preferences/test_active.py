"""Strategies of active questions: worked beliefs, and the rule of batches."""

import math

import numpy as np
import pytest

from robopref.preferences.active import STRATEGIES, Candidates, pair_features
from robopref.preferences.queries import Pairs
from robopref.structures import Segments
from tests.preferences.small_data import dataset_of, random_dataset

DATASET = random_dataset(episodes=40, steps=20)
EVEN = np.arange(0, 40, 2)
SURE, CLOSE = math.log(9.0), 0.0
"""Log-odds of 0.9, and of a tie."""


def segments(episodes: object, starts: object = 0, length: int = 5) -> Segments:
    chosen = np.asarray(episodes, dtype=np.int64)
    return Segments(
        chosen, np.zeros_like(chosen) + np.asarray(starts), np.full_like(chosen, length)
    )


def candidates(logits: list[list[float]], pairs: Pairs | None = None) -> Candidates:
    """Members' log-odds (E, C); by default no two pairs share an episode."""
    second = np.array(logits, dtype=float)
    count = second.shape[1]
    pairs = pairs or (segments(EVEN[:count]), segments(EVEN[:count] + 1))
    nothing = segments([]), segments([])
    return Candidates(DATASET, pairs, nothing, np.zeros_like(second), second)


BELIEFS = candidates(
    [
        [SURE, CLOSE, SURE, 3.0],
        [SURE, CLOSE, -SURE, 4.0],
    ]
)
"""Surely the second; surely a tie; the members contradict each other; surely the second."""


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        ("disagreement", [2, 3, 0, 1]),  # standard deviations 0.4, 0.015, 0, 0
        ("entropy", [1, 0, 2, 3]),  # mean entropies 0.69, 0.325, 0.325, 0.14
        ("mutual_information", [2, 3, 0, 1]),  # 0.368 nats, little, none, none
    ],
)
def test_worked_beliefs(strategy: str, order: list[int]) -> None:
    rng = np.random.default_rng(0)
    chosen = STRATEGIES[strategy](BELIEFS, 4, rng)
    assert set(chosen.tolist()) == {0, 1, 2, 3}
    assert chosen[0] == order[0]
    if strategy == "entropy":
        assert chosen.tolist() == order


def test_mutual_information_worked_number() -> None:
    from robopref.preferences.active import _entropy

    assert _entropy(np.array([0.5])) == pytest.approx(math.log(2.0))
    assert _entropy(np.array([0.9])) == pytest.approx(0.3250829)
    assert _entropy(np.array([0.0, 1.0])).tolist() == [0.0, 0.0]


def test_volume_removal_asks_what_halves_the_members() -> None:
    beliefs = candidates([[9.0, 9.0, 9.0], [9.0, -9.0, 9.0], [9.0, -9.0, -9.0], [9.0, 9.0, 9.0]])
    chosen = STRATEGIES["volume_removal"](beliefs, 3, np.random.default_rng(0))
    assert chosen.tolist() == [1, 2, 0]  # halves, one in four, none


def test_thompson_pits_the_best_of_one_member_against_that_of_another() -> None:
    first, second = np.zeros((2, 6)), np.zeros((2, 6))
    first[0, 4], second[1, 4] = 5.0, 5.0  # each member likes one side
    first[0, 2], second[0, 2], second[1, 3], first[1, 3] = 5.0, 5.0, 5.0, 5.0
    pairs = segments(EVEN[:6]), segments(EVEN[:6] + 1)
    beliefs = Candidates(DATASET, pairs, (segments([]), segments([])), first, second)
    rng = np.random.default_rng(0)
    chosen = {int(STRATEGIES["thompson"](beliefs, 1, rng)[0]) for _ in range(100)}
    assert chosen == {2, 3, 4}  # both members the first, both the second, one of each


def test_coverage_goes_farthest_from_all_that_was_asked() -> None:
    dataset = dataset_of([[float(level)] * 4 for level in (0, 0, 0, 1, 0, 2, 0, 9)])
    dataset.flat_observations[:, 1:] = 0.0
    for episode, level in enumerate((0, 0, 0, 1, 0, 2, 0, 9)):
        dataset.flat_observations[dataset.row_slice(episode), 0] = level
    pairs = segments([0, 2, 4, 6], length=4), segments([1, 3, 5, 7], length=4)
    nothing = np.zeros((0, 4))
    beliefs = Candidates(dataset, pairs, (segments([]), segments([])), nothing, nothing)
    rng = np.random.default_rng(0)
    assert STRATEGIES["k_center"](beliefs, 4, rng).tolist() == [0, 3, 2, 1]
    asked = segments([6], length=4), segments([7], length=4)
    beliefs = Candidates(dataset, pairs, asked, nothing, nothing)
    assert STRATEGIES["k_center"](beliefs, 3, rng).tolist() == [0, 2, 1]
    swapped = pair_features(dataset, (pairs[1], pairs[0]))
    np.testing.assert_allclose(pair_features(dataset, pairs), swapped)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_asks_each_candidate_once(strategy: str) -> None:
    rng = np.random.default_rng(1)
    beliefs = candidates(rng.normal(size=(3, 20)).tolist())
    chosen = STRATEGIES[strategy](beliefs, 20, rng)
    assert sorted(chosen.tolist()) == list(range(20))


SCORED = ("disagreement", "entropy", "mutual_information", "volume_removal", "thompson")


@pytest.mark.parametrize("strategy", SCORED)
def test_a_batch_asks_no_near_duplicates_while_others_are_left(strategy: str) -> None:
    # Candidates 0 to 3 are one pair moved by a step, once with its sides swapped, and the best.
    first = segments([0, 0, 1, 0, 2, 4], [5, 6, 5, 4, 0, 0], length=10)
    second = segments([1, 1, 0, 1, 3, 5], [5, 6, 6, 6, 0, 0], length=10)
    logits = np.array([[2.0] * 4 + [0.2, 0.1], [-2.0] * 4 + [-0.2, -0.1]])
    if strategy in ("entropy", "volume_removal"):
        logits = np.array([[0.0] * 4 + [6.0, 7.0], [0.0] * 4 + [6.0, 7.0]])
    beliefs = candidates(logits.tolist(), (first, second))
    if strategy == "thompson":
        returns = np.array([[9.0, 9.0, 9.0, 9.0, 0.1, 0.0]] * 2)
        beliefs = Candidates(DATASET, (first, second), beliefs.asked, returns, returns)
    chosen = STRATEGIES[strategy](beliefs, 6, np.random.default_rng(0)).tolist()
    assert chosen[0] in (0, 1, 2, 3)
    assert set(chosen[1:3]) == {4, 5}
    assert sorted(chosen) == [0, 1, 2, 3, 4, 5]


def test_an_answer_about_a_segment_halves_the_worth_of_the_next() -> None:
    # Both best pairs share episode 0; the third is worth less, but more than half of theirs.
    pairs = segments([0, 0, 4]), segments([1, 2, 5])
    beliefs = candidates([[2.0, 1.9, 1.5], [-2.0, -1.9, -1.5]], pairs)
    assert STRATEGIES["disagreement"](beliefs, 3, np.random.default_rng(0)).tolist() == [0, 2, 1]
    beliefs = candidates([[2.0, 1.9, 0.3], [-2.0, -1.9, -0.3]], pairs)
    assert STRATEGIES["disagreement"](beliefs, 3, np.random.default_rng(0)).tolist() == [0, 1, 2]

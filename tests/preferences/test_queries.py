import numpy as np
import pytest

from robopref.data.segments import all_segments, whole_episodes
from robopref.errors import InputError
from robopref.preferences.queries import all_pairs, pairs_left, split_episodes, uniform_pairs
from tests.preferences.small_data import random_dataset

EPISODES = whole_episodes(random_dataset(episodes=7))


def test_every_pair_once_when_all_are_asked() -> None:
    first, second = uniform_pairs(EPISODES, 21, np.random.default_rng(0))
    pairs = {frozenset(pair) for pair in zip(first.episodes, second.episodes, strict=True)}
    assert len(pairs) == 21
    assert all(len(pair) == 2 for pair in pairs)
    assert 0 < (first.episodes < second.episodes).sum() < 21  # sides are random


def test_uniform_pairs_of_segments_differ_and_repeat_with_the_seed() -> None:
    segments = all_segments(random_dataset(), 5)
    draws = [uniform_pairs(segments, 1000, np.random.default_rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(draws[0][0].starts, draws[1][0].starts)
    first, second = draws[0]
    assert ((first.episodes != second.episodes) | (first.starts != second.starts)).all()


def test_uniform_pairs_are_uniform() -> None:
    counts = np.zeros((7, 7))
    rng = np.random.default_rng(0)
    for _ in range(4000):
        first, second = uniform_pairs(EPISODES, 1, rng)
        counts[first.episodes[0], second.episodes[0]] += 1
    off_diagonal = counts[~np.eye(7, dtype=bool)]
    assert np.trace(counts) == 0
    assert np.abs(off_diagonal / (4000 / 42) - 1).max() < 0.4


def test_too_many_pairs() -> None:
    with pytest.raises(InputError, match="pairs=22: 7 segments give between 1 and 21"):
        uniform_pairs(EPISODES, 22, np.random.default_rng(0))


def test_all_pairs() -> None:
    first, second = all_pairs(EPISODES[:3])
    assert list(zip(first.episodes, second.episodes, strict=True)) == [(0, 1), (0, 2), (1, 2)]


def test_split_is_disjoint_and_complete() -> None:
    train, held_out = split_episodes(20, 0.25, np.random.default_rng(0))
    assert len(held_out) == 5
    assert sorted([*train, *held_out]) == list(range(20))
    with pytest.raises(InputError, match="need 4"):
        split_episodes(3, 0.5, np.random.default_rng(0))
    with pytest.raises(InputError, match=r"held_out=1.0"):
        split_episodes(20, 1.0, np.random.default_rng(0))


def test_asked_pairs_are_not_drawn_again_whichever_side_is_first() -> None:
    rng = np.random.default_rng(0)
    first, second = uniform_pairs(EPISODES, 9, rng)
    asked = second, first  # turned round
    assert pairs_left(EPISODES, asked) == 12
    counts: dict[frozenset[int], int] = {}
    for _ in range(600):
        one, other = uniform_pairs(EPISODES, 3, rng, asked)
        for pair in zip(one.episodes, other.episodes, strict=True):
            counts[frozenset(pair)] = counts.get(frozenset(pair), 0) + 1
    assert len(counts) == 12 and min(counts.values()) > 100  # 150 on average
    before = {frozenset(pair) for pair in zip(first.episodes, second.episodes, strict=True)}
    assert not before & set(counts)
    with pytest.raises(InputError, match="between 1 and 12 different pairs beside the 9 asked"):
        uniform_pairs(EPISODES, 13, rng, asked)


def test_asked_pairs_of_other_segments_do_not_count() -> None:
    short = all_segments(random_dataset(episodes=7), 5)
    asked = uniform_pairs(short, 30, np.random.default_rng(0))
    assert pairs_left(EPISODES, asked) == pairs_left(EPISODES) == 21
    assert pairs_left(short, asked) == pairs_left(short) - 30

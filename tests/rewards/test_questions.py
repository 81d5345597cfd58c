"""Choosing pairs by a reward so far."""

import numpy as np
import pytest

from robopref.data.segments import all_segments, segment_returns, whole_episodes
from robopref.errors import InputError
from robopref.preferences.active import STRATEGIES
from robopref.preferences.queries import Pairs, join_pairs
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.pearl import PearlTransformerConfig
from robopref.rewards.questions import choose_pairs, member_returns
from robopref.rewards.registry import make_reward
from tests.rewards.problems import labelled

DATASET, PREFERENCES = labelled(episodes=12, pairs=40)
MODEL = make_reward(BradleyTerryConfig(epochs=4), DATASET, seed=0)
MODEL.fit(PREFERENCES, DATASET, seed=0)
EPISODES = whole_episodes(DATASET)


def keys(pairs: Pairs) -> set[frozenset[tuple[int, int, int]]]:
    sides = [zip(s.episodes, s.starts, s.lengths, strict=True) for s in pairs]
    return {frozenset(pair) for pair in zip(*sides, strict=True)}


def test_member_returns_are_sums_of_the_members_rewards() -> None:
    returns = member_returns(MODEL, DATASET, EPISODES)
    assert returns.shape == (3, 12)
    true = segment_returns(DATASET, EPISODES)
    assert all(np.corrcoef(member, true)[0, 1] > 0.9 for member in returns)
    assert returns.std(axis=0).min() > 0.0


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_no_pair_is_asked_twice_until_all_are(strategy: str) -> None:
    asked, rng = (EPISODES[:0], EPISODES[:0]), np.random.default_rng(0)
    for count in (30, 30, 6):  # 66 pairs in all
        pairs = choose_pairs(strategy, DATASET, EPISODES, count, rng, MODEL, asked)
        assert len(keys(pairs)) == len(pairs[0]) == count
        assert not keys(pairs) & keys(asked)
        asked = join_pairs(asked, pairs)
    with pytest.raises(InputError, match="between 1 and 0 different pairs beside the 66 asked"):
        choose_pairs(strategy, DATASET, EPISODES, 1, rng, MODEL, asked)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_seed_decides(strategy: str) -> None:
    segments = all_segments(DATASET, 8)
    draws = [
        choose_pairs(strategy, DATASET, segments, 20, np.random.default_rng(5), MODEL)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(draws[0][0].starts, draws[1][0].starts)
    np.testing.assert_array_equal(draws[0][1].episodes, draws[1][1].episodes)


def test_disagreement_asks_where_members_disagree() -> None:
    rng, segments = np.random.default_rng(0), all_segments(DATASET, 8)

    def spread(strategy: str) -> float:
        first, second = choose_pairs(strategy, DATASET, segments, 30, rng, MODEL)
        gaps = member_returns(MODEL, DATASET, second) - member_returns(MODEL, DATASET, first)
        return float((1.0 / (1.0 + np.exp(-gaps))).std(axis=0).mean())

    assert spread("disagreement") > 1.5 * spread("uniform")


def test_what_cannot_be_asked_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="strategy=clever: no such way to ask; choose from unif"):
        choose_pairs("clever", DATASET, EPISODES, 3, rng, MODEL)
    with pytest.raises(InputError, match="strategy=entropy: looks at a reward so far"):
        choose_pairs("entropy", DATASET, EPISODES, 3, rng)
    one = make_reward(PearlTransformerConfig(), DATASET, seed=0)
    with pytest.raises(InputError, match="reward pearl_transformer has one"):
        choose_pairs("disagreement", DATASET, EPISODES, 3, rng, one)
    assert len(choose_pairs("entropy", DATASET, EPISODES, 3, rng, one)[0]) == 3
    assert len(choose_pairs("k_center", DATASET, EPISODES, 3, rng)[0]) == 3

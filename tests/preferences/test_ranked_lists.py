"""Ranked lists: few comparisons give the whole order, and what is no order is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from robopref.data.segments import whole_episodes
from robopref.errors import InputError
from robopref.preferences.dataset import ALONE, Preferences, load_preferences, save_preferences
from robopref.preferences.queries import Pairs
from robopref.preferences.ranked_lists import ask_for_lists, ranked_lists
from tests.preferences.small_data import random_dataset

DATASET = random_dataset(episodes=30)
SEGMENTS = whole_episodes(DATASET)


def truth(pairs: Pairs) -> np.ndarray:
    first, second = (DATASET.returns[side.episodes] for side in pairs)
    return (second > first).astype(float)


def lists(size: int, budget: int) -> tuple[Preferences, int]:
    rng = np.random.default_rng(0)
    pairs, labels, numbers, asked = ask_for_lists(SEGMENTS, size, budget, truth, rng)
    found = Preferences.from_labels(
        DATASET, *pairs, labels, source="scripted", annotator="t", created_at=datetime.now(UTC)
    )
    return replace(found, ranking=numbers), asked


def test_binary_insertion_orders_with_few_comparisons() -> None:
    found, asked = lists(size=8, budget=60)
    # 1 + 2 + 2 + 3 + 3 + 3 + 3 comparisons at most for each list of eight
    assert len(found) == 3 * 28 and asked <= 3 * 17
    assert np.array_equal(found.labels, truth((found.first, found.second)))
    assert 0.2 < found.labels.mean() < 0.8  # either side


def test_lists_are_read_from_pairs_best_first() -> None:
    found, _ = lists(size=5, budget=40)
    shuffled = found[np.random.default_rng(1).permutation(len(found))]
    ranked = ranked_lists(shuffled)
    assert ranked.sizes.tolist() == [5] * 5
    returns = DATASET.returns[ranked.segments.episodes].reshape(5, 5)
    assert (np.diff(returns, axis=1) < 0).all()


def test_a_pair_by_itself_is_a_list_of_two() -> None:
    found, _ = lists(size=3, budget=3)
    alone = replace(found, ranking=np.full(3, ALONE), labels=np.array([0.0, 1.0, 0.5]))
    ranked = ranked_lists(alone)
    assert ranked.sizes.tolist() == [2, 2]  # the tie says nothing
    expected = [found.first.episodes[0], found.second.episodes[0]]
    expected += [found.second.episodes[1], found.first.episodes[1]]
    assert ranked.segments.episodes.tolist() == expected


def test_lists_of_unequal_size_are_padded() -> None:
    found, _ = lists(size=4, budget=5)
    other, _ = lists(size=2, budget=2)
    joined = found.join(other)
    assert len(set(joined.ranking.tolist())) == 3  # numbered on
    ranked = ranked_lists(joined)
    assert ranked.sizes.tolist() == [4, 2, 2]
    assert ranked.mask.sum(1).tolist() == [4, 2, 2]
    assert len(ranked.segments) == 12


def test_files_keep_lists_and_older_ones_have_none(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    found, _ = lists(size=3, budget=6)
    mixed = found.join(replace(found[:2], ranking=np.full(2, ALONE)))
    save_preferences(tmp_path / "new.parquet", mixed)
    assert np.array_equal(load_preferences(tmp_path / "new.parquet").ranking, mixed.ranking)
    old = pq.read_table(tmp_path / "new.parquet").drop_columns("ranking")
    pq.write_table(old, tmp_path / "old.parquet")
    assert (load_preferences(tmp_path / "old.parquet").ranking == ALONE).all()


def test_what_is_no_order_is_refused() -> None:
    found, _ = lists(size=3, budget=3)
    first = found.first.episodes.tolist()
    # a > b, b > c, c > a
    members = sorted({*first, *found.second.episodes.tolist()})
    turned = replace(
        found,
        first=SEGMENTS[np.array(members)],
        second=SEGMENTS[np.array([*members[1:], members[0]])],
        labels=np.zeros(3),
    )
    with pytest.raises(InputError, match="ranking 0 put its 3 segments in no one order"):
        ranked_lists(turned)
    with pytest.raises(InputError, match="no one order"):
        ranked_lists(found[:2])
    itself = replace(found, second=found.first)
    with pytest.raises(InputError, match="row 0 compares a segment with itself"):
        ranked_lists(itself)
    with pytest.raises(InputError, match="ranking_size=40: a list needs between 2 and 30"):
        ask_for_lists(SEGMENTS, 40, 1_000, truth, np.random.default_rng(0))

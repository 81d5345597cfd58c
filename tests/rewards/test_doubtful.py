"""Wrong labels are found by rewards that did not learn from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robopref.errors import InputError
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.doubtful import mended, preference_strengths
from tests.rewards.problems import labelled

DATASET, RIGHT = labelled(episodes=60, pairs=400)
WRONG = np.random.default_rng(1).random(400) < 0.1
FLIPPED = replace(RIGHT, labels=np.where(WRONG, 1.0 - RIGHT.labels, RIGHT.labels))


def test_wrong_labels_are_weak_and_flipping_mends_most_of_them() -> None:
    strengths = preference_strengths(FLIPPED, DATASET, BradleyTerryConfig(), seed=0)
    assert strengths[WRONG].mean() < 0.0 < strengths[~WRONG].mean()
    before = float((FLIPPED.labels == RIGHT.labels).mean())
    flipped = mended(FLIPPED, strengths, "flip", 0.1)
    assert float((flipped.labels == RIGHT.labels).mean()) > before + 0.05
    dropped = mended(FLIPPED, strengths, "drop", 0.1)
    assert 360 <= len(dropped) < 400
    kept = mended(FLIPPED, strengths, "keep", 0.1)
    np.testing.assert_array_equal(kept.labels, FLIPPED.labels)


def test_only_the_weakest_share_below_zero_is_doubtful_and_softens_to_what_is_believed() -> None:
    strengths = np.linspace(-2.0, 2.0, 400)
    strengths[0] = -np.log(3.0) - 10.0
    soft = mended(FLIPPED, strengths, "soften", 0.25)
    changed = soft.labels != FLIPPED.labels
    assert changed.sum() == 100 and changed[:100].all()
    assert np.abs(soft.labels[1] - FLIPPED.labels[1]) == pytest.approx(
        1.0 / (1.0 + np.exp(strengths[1])), rel=1e-6
    )
    assert mended(FLIPPED, strengths, "flip", 1.0).labels[200:].tolist() == (
        FLIPPED.labels[200:].tolist()
    )


@pytest.mark.parametrize(("way", "share"), [("guess", 0.1), ("flip", 1.5)])
def test_wrong_options_are_refused(way: str, share: float) -> None:
    with pytest.raises(InputError, match="doubtful"):
        mended(FLIPPED, np.zeros(400), way, share)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="7 pairs are too few"):
        preference_strengths(FLIPPED[np.arange(7)], DATASET, BradleyTerryConfig(), seed=0)

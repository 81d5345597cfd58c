"""Labels that may be wrong: found by rewards that did not learn from them.

Wang et al.: Secrets of RLHF in Large Language Models Part II: Reward Modeling, 2024, arXiv
2401.06080. The strength of a preference is how much better rewards find the preferred
segment, on average over an ensemble; where it is far below zero the label is probably wrong.
Different here: strengths are cross-fitted, each fold's from an ensemble that learned from the other
folds, since an ensemble that has seen a label half believes it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences, check_informative
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import relabel, sum_differences
from robopref.seeding import numpy_generator

KEEP, FLIP, SOFTEN, DROP = "keep", "flip", "soften", "drop"
WAYS = (KEEP, FLIP, SOFTEN, DROP)
FOLDS = 4


def preference_strengths(
    preferences: Preferences, dataset: TrajectoryDataset, config: Any, seed: int
) -> NDArray[np.float64]:
    """(B,): log-odds that rewards which have not seen a label give it; 0 for ties.

    Args:
        preferences: labelled pairs.
        dataset: the dataset of the pairs.
        config: config of one of `REWARDS`.
        seed: of the folds and the rewards.

    Raises:
        InputError: if there are too few pairs to leave any out.
    """
    if len(preferences) < 2 * FOLDS:
        raise InputError(
            f"doubtful: {len(preferences)} pairs are too few to find the wrong ones among; "
            f"give at least {2 * FOLDS}, or doubtful={KEEP}"
        )
    order = numpy_generator(seed, "folds").permutation(len(preferences))
    strengths = np.zeros(len(preferences))
    for fold in np.array_split(order, FOLDS):
        others = np.setdiff1d(order, fold)
        check_informative(preferences[others])
        model = make_reward(config, dataset, seed)
        model.fit(preferences[others], dataset, seed)
        rewards = relabel(dataset, model).mean
        left_out = preferences[fold]
        difference = sum_differences(rewards, left_out, dataset)
        strengths[fold] = difference * (2.0 * left_out.labels - 1.0)
    return strengths


def mended(
    preferences: Preferences, strengths: NDArray[np.float64], way: str, share: float
) -> Preferences:
    """Preferences whose most doubtful labels are flipped, softened or dropped.

    Args:
        preferences: labelled pairs.
        strengths: (B,) of `preference_strengths`.
        way: flip turns a label round, soften replaces it by what the rewards believe, drop leaves
            the pair out, keep does nothing.
        share: of the labels that may be doubtful; only those of negative strength are.

    Raises:
        InputError: if there is no such way, or the share is not one.
    """
    check_way(way, share)
    worst = np.argsort(strengths, kind="stable")[: round(share * len(strengths))]
    doubtful = np.zeros(len(strengths), dtype=bool)
    doubtful[worst] = True
    doubtful &= strengths < 0.0
    if way == DROP:
        return preferences[~doubtful]
    labels = preferences.labels.copy()
    if way == FLIP:
        labels[doubtful] = 1.0 - labels[doubtful]
    elif way == SOFTEN:
        # The chance of the first label, given the strength in its favour.
        chance = 0.5 + 0.5 * np.tanh(0.5 * strengths)
        believed = labels * chance + (1.0 - labels) * (1.0 - chance)
        labels[doubtful] = believed[doubtful]
    return replace(preferences, labels=labels)


def check_way(way: str, share: float) -> None:
    """Raises `InputError` unless both make sense."""
    if way not in WAYS:
        raise InputError(f"doubtful={way}: no such way; choose from {', '.join(WAYS)}")
    if not 0.0 <= share <= 1.0:
        raise InputError(f"doubtful_share={share}: a share lies in [0, 1]")

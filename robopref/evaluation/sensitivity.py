"""What a reward looks at: how far its predictions move when one number of the input is shuffled.

Permutation importance (Breiman: Random Forests, 2001, section 10), of the prediction itself and not
of an error, so that no true reward is needed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import gather, whole_episodes
from robopref.rewards.base import RewardModel

MOST_EPISODES = 50


def reward_sensitivity(
    model: RewardModel, dataset: TrajectoryDataset, rng: np.random.Generator
) -> dict[str, float]:
    """Share of each number of observation and action in what the reward looks at.

    Args:
        model: a fitted reward.
        dataset: whose episodes it is read on; of many, some spread evenly.
        rng: source of randomness.

    Returns:
        `<key>[<index>]` and `action[<index>]` to the root mean square change of the reward when
        that number is shuffled over steps, over the sum of all; all 0 for a constant reward.
    """
    episodes = whole_episodes(dataset)
    chosen = np.linspace(0, len(episodes) - 1, min(len(episodes), MOST_EPISODES)).astype(np.int64)
    batch = gather(dataset, episodes[chosen], model.device)
    real = batch.mask > 0
    before = model.predict(batch).mean[real]
    order = rng.permutation(int(real.sum()))
    changes: NDArray[np.float64] = np.zeros(0)
    names: list[str] = []
    for field, labels in (
        ("observations", observation_names(dataset)),
        ("actions", [f"action[{index}]" for index in range(dataset.actions.shape[1])]),
    ):
        for index, name in enumerate(labels):
            values = getattr(batch, field).clone()
            column = values[..., index]
            column[real] = column[real][order]
            shuffled = model.predict(replace(batch, **{field: values})).mean[real]
            changes = np.append(changes, float((shuffled - before).square().mean().sqrt()))
            names.append(name)
    total = float(changes.sum())
    shares = changes / total if total else changes
    return dict(zip(names, shares.tolist(), strict=True))


def observation_names(dataset: TrajectoryDataset) -> list[str]:
    """`<key>[<index>]` of every number of a flat observation, in its order."""
    sizes = {
        key: int(np.prod(values.shape[1:], dtype=np.int64))
        for key, values in sorted(dataset.observations.items())
        if values.dtype != np.uint8
    }
    return [f"{key}[{index}]" for key, size in sizes.items() for index in range(size)]

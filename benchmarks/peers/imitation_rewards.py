"""imitation's preference comparisons on given pairs; runs in the peer's own environment.

    PYTHON imitation_rewards.py PAIRS.npz MEMBERS WIDTH BATCH_SIZE RESULT.json

Trains an ensemble for one epoch over the pairs and writes how many pairs a second that was.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from gymnasium.spaces import Box
from imitation.algorithms import preference_comparisons
from imitation.data.types import TrajectoryWithRew
from imitation.rewards.reward_nets import BasicRewardNet, RewardEnsemble


def main():
    """Measures."""
    path, *numbers, result = sys.argv[1:]
    members, width, batch_size = map(int, numbers)
    torch.set_num_threads(1)
    data = np.load(path)
    spaces = [
        Box(-np.inf, np.inf, (data[name].shape[-1],), np.float32)
        for name in ("observations", "actions")
    ]
    sides = [
        [
            TrajectoryWithRew(
                obs=data["observations"][start : start + length + 1],
                acts=data["actions"][start : start + length],
                infos=None,
                terminal=False,
                rews=np.zeros(length),
            )
            for start, length in zip(data[f"{side}_starts"], data["lengths"], strict=True)
        ]
        for side in ("first", "second")
    ]
    networks = [BasicRewardNet(*spaces, hid_sizes=(width, width)) for _ in range(members)]
    ensemble = RewardEnsemble(*spaces, networks)
    trainer = preference_comparisons.EnsembleTrainer(
        preference_comparisons.PreferenceModel(ensemble),
        preference_comparisons.CrossEntropyRewardLoss(),
        rng=np.random.default_rng(0),
        batch_size=batch_size,
        epochs=1,
    )
    pairs = preference_comparisons.PreferenceDataset()
    # imitation's label is the probability that the first is preferred.
    pairs.push(list(zip(*sides, strict=True)), (1.0 - data["labels"]).astype(np.float32))
    begun = time.perf_counter()
    trainer.train(pairs)
    seconds = time.perf_counter() - begun
    Path(result).write_text(json.dumps({"pairs_per_second": len(pairs) / seconds}))


if __name__ == "__main__":
    main()

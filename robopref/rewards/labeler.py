"""A saved reward in the place of a teacher: it prefers the segment of the larger sum.

How Tian et al. (Maximizing Alignment with Minimal Feedback, 2024, arXiv 2412.04835) come to many
labels from few: a reward that was learned from people's labels ranks rollouts that nobody looked
at, and a policy is tuned by these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.rewards.registry import load_reward
from robopref.rewards.relabel import relabel
from robopref.rewards.visual import as_seen


@dataclass
class RewardLabelerConfig:
    """Which reward answers."""

    folder: str = ""
    """Folder of a saved reward model."""


def paid_by(
    dataset: TrajectoryDataset, config: RewardLabelerConfig, device: torch.device | str = "cpu"
) -> TrajectoryDataset:
    """The dataset with a reward's predictions, made over whole episodes, as its true rewards.

    A rational teacher of it answers for the reward. Labels of it are labels of the dataset.

    Args:
        dataset: with images, in memory or from `load_dataset_lazily`, if the reward looks at them.
        config: which reward.
        device: where the reward, and what it looks through, run.

    Raises:
        InputError: if there is no such reward, or it looks at images or expects sizes that the
            dataset lacks.
    """
    if not config.folder or not Path(config.folder).is_dir():
        raise InputError(
            f"labeler.folder={config.folder}: no such folder; give that of a saved reward, such as "
            "runs/train-reward/NAME/reward"
        )
    model = load_reward(config.folder, device)
    paid = replace(dataset, rewards=relabel(as_seen(dataset, model.config, device), model).mean)
    paid.__dict__["fingerprint"] = dataset.fingerprint  # rewards are no part of it
    return paid

"""The option `rewards` of a training, and those that say how much of a learned one counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.lazy import load_dataset_lazily
from robopref.data.replay import ReplayBuffer
from robopref.errors import InputError
from robopref.networks.persistence import read_description
from robopref.rewards.base import RewardModel
from robopref.rewards.personal import personal
from robopref.rewards.registry import load_reward
from robopref.rewards.relabel import Caution, relabel_cautiously
from robopref.rewards.visual import as_seen
from robopref.training.saved_reward import SavedReward

TRUE, ZERO, LEARNED = "true", "zero", "learned"
"""Words for rewards that need no folder of a reward model: the task's own, none, and one that is
learned on the way."""


class Choice(Protocol):
    """The options."""

    rewards: str
    whose: str
    pessimism: float
    lower_bound: bool


class OnlineChoice(Choice, Protocol):
    """The options, and what else looks at images."""

    images: bool
    cameras: list[str]


def is_folder(source: str) -> bool:
    """Whether `rewards=` names the folder of a reward model."""
    return source not in (TRUE, ZERO, LEARNED)


def check_choice(choice: Choice) -> None:
    """Raises `InputError` unless options about a learned reward come with one."""
    given = [name for name in ("whose", "pessimism", "lower_bound") if getattr(choice, name)]
    if given and not is_folder(choice.rewards):
        raise InputError(
            f"{given[0]}={getattr(choice, given[0])}: is about a reward that was learned before; "
            "give its folder as rewards="
        )
    _caution(choice)


def reward_of_states(source: str) -> str:
    """Folder of a learned reward that needs no images; empty for any other source."""
    if not is_folder(source) or read_description("reward", Path(source))["config"].get("encoder"):
        return ""
    return source


def chosen_rewards(
    dataset: TrajectoryDataset, choice: Choice, device: torch.device
) -> NDArray[np.float32]:
    """(N,): what the policy learns from."""
    if choice.rewards == TRUE:
        return dataset.rewards
    if choice.rewards == ZERO:
        return np.zeros(dataset.num_steps, dtype=np.float32)
    return _rewards_by(_chosen_model(choice, device), dataset, choice)


def paying_online(
    replay: ReplayBuffer, prior: TrajectoryDataset | None, choice: OnlineChoice, observation: Any
) -> SavedReward:
    """The reward model of a folder, for a policy that acts.

    Args:
        replay: of the policy, with the demonstrations.
        prior: the demonstrations.
        choice: the options.
        observation: of the environment, as it comes.

    Raises:
        InputError: if the model does not fit what the environment shows.
    """
    model = _chosen_model(choice, replay.rewards.device)
    looks = choice.images or bool(getattr(model.config, "encoder", ""))
    if choice.cameras and not looks:
        raise InputError(
            f"cameras=: neither the policy nor the reward of {choice.rewards} looks at images; "
            "leave them out, or give images=true"
        )
    own = None if prior is None else _rewards_by(model, prior, choice)
    paying = SavedReward(model, replay, _caution(choice), choice.whose, own)
    paying.check(observation, replay.actions.shape[1])
    return paying


def _chosen_model(choice: Choice, device: torch.device) -> RewardModel:
    source = choice.rewards
    if not Path(source).is_dir():
        raise InputError(
            f"rewards={source}: no such folder; give true, zero, or the folder of a reward model"
        )
    return personal(load_reward(source, device), choice.whose, source)


def _caution(choice: Choice) -> Caution:
    return Caution(choice.pessimism, choice.lower_bound)


def _rewards_by(
    model: RewardModel, dataset: TrajectoryDataset, choice: Choice
) -> NDArray[np.float32]:
    if getattr(model.config, "encoder", ""):
        # The policy may not look at images; the reward reads them from the file.
        dataset = as_seen(load_dataset_lazily(dataset.source), model.config, model.device)
    return relabel_cautiously(dataset, model, _caution(choice))

"""The family of reward models, by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.networks.persistence import read_description
from robopref.rewards.base import RewardModel
from robopref.rewards.bradley_terry import (
    BradleyTerryConfig,
    BradleyTerryReward,
    LSTMConfig,
    LSTMReward,
    PreferenceTransformerConfig,
    PreferenceTransformerReward,
)
from robopref.rewards.general import GeneralConfig, GeneralReward
from robopref.rewards.groups import GroupsConfig, GroupsReward
from robopref.rewards.pearl import (
    PearlConfig,
    PearlReward,
    PearlTransformerConfig,
    PearlTransformerReward,
)
from robopref.rewards.rapl import RaplConfig, RaplReward
from robopref.rewards.visual import SeenDataset
from robopref.rewards.vpl import VPLConfig, VPLReward
from robopref.seeding import torch_generator

PACKAGES = "robopref.rewards"
"""Group of entry points by which installed packages add rewards."""


def _of_packages() -> dict[str, tuple[type[RewardModel], type[Any]]]:
    """Name to model and config classes that installed packages declare."""
    found = {}
    for point in entry_points(group=PACKAGES):
        try:
            found[point.name] = point.load()
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"reward {point.name}: {point.value} cannot be imported ({error}); mend or "
                "uninstall the package that declares it"
            ) from error
    return found


REWARDS: Mapping[str, tuple[type[RewardModel], type[Any]]] = {
    PearlReward.name: (PearlReward, PearlConfig),
    PearlTransformerReward.name: (PearlTransformerReward, PearlTransformerConfig),
    BradleyTerryReward.name: (BradleyTerryReward, BradleyTerryConfig),
    LSTMReward.name: (LSTMReward, LSTMConfig),
    GeneralReward.name: (GeneralReward, GeneralConfig),
    GroupsReward.name: (GroupsReward, GroupsConfig),
    VPLReward.name: (VPLReward, VPLConfig),
    PreferenceTransformerReward.name: (PreferenceTransformerReward, PreferenceTransformerConfig),
    RaplReward.name: (RaplReward, RaplConfig),
    **_of_packages(),
}
"""Name to model and config classes."""


def make_reward(
    config: Any, dataset: TrajectoryDataset, seed: int, device: torch.device | str = "cpu"
) -> RewardModel:
    """Makes an untrained reward model for the sizes of a dataset.

    Args:
        config: the config of one of `REWARDS`.
        dataset: the data it is going to learn from.
        seed: seed of the initial weights.
        device: where the model goes.

    Raises:
        InputError: if the reward is to look at images and the dataset is not `as_seen`.
    """
    if getattr(config, "encoder", "") and not isinstance(dataset, SeenDataset):
        raise InputError(
            f"reward.encoder={config.encoder}: give the dataset as that encoder sees it, from "
            "robopref.rewards.visual.as_seen"
        )
    model_class = next(model for model, kind in REWARDS.values() if kind is type(config))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(seed, "weights").initial_seed())
        model = model_class(config, dataset.flat_observations.shape[1], dataset.actions.shape[1])
    return model.to(device)


def load_reward(folder: Path | str, device: torch.device | str = "cpu") -> RewardModel:
    """Loads a saved reward model; its config comes from the folder.

    Raises:
        InputError: if the folder holds no sound reward model.
    """
    folder = Path(folder)
    description = read_description("reward", folder)
    name = description["reward"]
    if name not in REWARDS:
        raise InputError(
            f"{folder}: holds a reward {name!r}, known are {', '.join(REWARDS)}; "
            "update robopref or install the package that has it"
        )
    model_class, config_class = REWARDS[name]
    try:
        config = config_class(**description["config"])
    except TypeError as error:
        raise InputError(f"{folder}: config does not fit ({error}); train it again") from error
    model = model_class(config, description["observation_dim"], description["action_dim"])
    return model.to(device).load(folder)

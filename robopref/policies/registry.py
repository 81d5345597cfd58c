"""The family of policies, by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.networks.persistence import read_description
from robopref.networks.pretrained import FrozenEncoder
from robopref.policies.base import BatchSource, Policy
from robopref.policies.behavior_cloning import BehaviorCloning, BehaviorCloningConfig
from robopref.policies.cpl import CPL, CPLConfig
from robopref.policies.diffusion import Diffusion, DiffusionConfig
from robopref.policies.dpo import DPO, DPOConfig
from robopref.policies.dppo import DPPO, DPPOConfig
from robopref.policies.dppo_batches import DPPOBatches
from robopref.policies.ipl import IPL, IPLConfig
from robopref.policies.iql import IQL, IQLConfig
from robopref.policies.oppo import OPPO, OPPOConfig
from robopref.policies.oppo_batches import OPPOBatches
from robopref.policies.rlpd import RLPD, RLPDConfig
from robopref.policies.sac import SAC, SACConfig
from robopref.policies.segment_pairs import PairBatches
from robopref.policies.visual import VisualConfig, VisualPolicy
from robopref.preferences.dataset import Preferences
from robopref.seeding import torch_generator
from robopref.structures import TransitionBatch

POLICIES: Mapping[str, tuple[type[Policy], type[Any]]] = {
    IQL.name: (IQL, IQLConfig),
    BehaviorCloning.name: (BehaviorCloning, BehaviorCloningConfig),
    OPPO.name: (OPPO, OPPOConfig),
    CPL.name: (CPL, CPLConfig),
    IPL.name: (IPL, IPLConfig),
    DPPO.name: (DPPO, DPPOConfig),
    Diffusion.name: (Diffusion, DiffusionConfig),
    DPO.name: (DPO, DPOConfig),
    SAC.name: (SAC, SACConfig),
    RLPD.name: (RLPD, RLPDConfig),
    VisualPolicy.name: (VisualPolicy, VisualConfig),
}
"""Name to policy and config classes."""

LabelledBatches = Callable[
    [TrajectoryDataset, Preferences, Any, int, torch.device], BatchSource[Any]
]
"""Makes batches from a dataset, its preferences, the policy's config, a seed and a device."""
FROM_LABELS_AND_IMAGES = (CPL.name, IPL.name, DPO.name)
"""Policies that learn from labels and can look at images, whose batches are `PairBatches`."""


def _pairs(
    dataset: TrajectoryDataset, labels: Preferences, config: Any, seed: int, device: torch.device
) -> BatchSource[Any]:
    return PairBatches(dataset, labels, config.pairs, config.segment_steps, device)


def _windows(
    dataset: TrajectoryDataset, labels: Preferences, config: Any, seed: int, device: torch.device
) -> BatchSource[Any]:
    return OPPOBatches(dataset, labels, config, device)


FROM_LABELS: Mapping[str, LabelledBatches] = {
    OPPO.name: _windows,
    CPL.name: _pairs,
    IPL.name: _pairs,
    DPO.name: _pairs,
    DPPO.name: DPPOBatches,
}
"""Policies that learn from labels and no reward: name to what makes their batches."""


def load_policy(folder: Path | str, device: torch.device | str = "cpu") -> Policy:
    """Loads a saved policy; its config comes from the folder.

    Raises:
        InputError: if the folder holds no sound policy.
    """
    folder = Path(folder)
    description = read_description("policy", folder)
    name = description["policy"]
    if name not in POLICIES:
        raise InputError(
            f"{folder}: holds a policy {name!r}, known are {', '.join(POLICIES)}; "
            "update robopref or install the package that has it"
        )
    try:
        config = POLICIES[name][1](**description["config"])
        if isinstance(config, VisualConfig):
            config.options = POLICIES[config.learner][1](**config.options)
    except (TypeError, KeyError) as error:
        raise InputError(f"{folder}: config does not fit ({error}); train it again") from error
    policy = _build(config, description["observation_dim"], description["action_dim"])
    return policy.to(device).load(folder)


def new_policy(
    config: Any,
    observation_dim: int,
    action_dim: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> Policy:
    """Makes an untrained policy that takes observations as they are.

    Args:
        config: the config of one of `POLICIES`.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        seed: seed of the initial weights.
        device: where the policy goes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(seed, "weights").initial_seed())
        policy = _build(config, observation_dim, action_dim)
    return policy.to(device)


def _build(config: Any, observation_dim: int, action_dim: int) -> Policy:
    if isinstance(config, VisualConfig):
        if isinstance(config.options, DPOConfig):  # the encoder is that of the policy it tunes
            return _tuned(config.options, observation_dim, action_dim, tuple(config.image_shape))
        frozen, features = None, config.encoder.features
        if config.encoder.pretrained:
            frozen = _frozen_encoder(config.encoder.pretrained)
            features = frozen.features(config.image_shape[0])
        learner = _build(config.options, observation_dim + features, action_dim)
        return VisualPolicy(config, observation_dim, action_dim, learner, frozen)
    if isinstance(config, DPOConfig):
        return _tuned(config, observation_dim, action_dim)
    policy_class = next(policy for policy, kind in POLICIES.values() if kind is type(config))
    return policy_class(config, observation_dim, action_dim)


@functools.cache  # it never changes, and new weights of a policy arrive every few seconds
def _frozen_encoder(name: str) -> FrozenEncoder:
    return FrozenEncoder(name)


def _tuned(
    config: DPOConfig,
    observation_dim: int,
    action_dim: int,
    image_shape: tuple[int, ...] | None = None,
) -> DPO:
    if not config.pretrained:
        raise InputError("dpo.pretrained: name the folder of a saved policy, which is to be tuned")
    pretrained = load_policy(config.pretrained)
    found = (pretrained.observation_dim, pretrained.action_dim)
    if found != (observation_dim, action_dim):
        raise InputError(
            f"dpo.pretrained={config.pretrained}: takes observations and actions of sizes {found}, "
            f"the dataset has {(observation_dim, action_dim)}"
        )
    looks_at = pretrained.image_shape
    if looks_at != image_shape:
        reason = f"looks at images {looks_at}, those of the dataset are {image_shape}"
        if looks_at is None:
            reason = "does not look at images; leave out images=, or tune one trained with it"
        elif image_shape is None:
            reason = "looks at images; give images=true"
        raise InputError(f"dpo.pretrained={config.pretrained}: {reason}")
    return DPO(config, pretrained)


def make_policy(
    config: Any, data: TransitionBatch, seed: int, device: torch.device | str = "cpu"
) -> Policy:
    """As `new_policy`, with sizes and observation statistics of the data that it learns from."""
    sizes = data.observations.shape[1], data.actions.shape[1]
    policy = new_policy(config, *sizes, seed, device)
    policy.fit_observations(data.observations)
    return policy

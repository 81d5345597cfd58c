"""Policies that look through cameras: an image encoder in front of any learner of transitions.

The encoder's features join the low-dimensional observations, and the learner takes both as one
vector. Gradients are asymmetric, as in DrQ and HIL-SERL: actor and critic share the encoder, which
learns from the critic's loss and not from the actor climbing the critic. A supervised actor (IQL's,
behaviour cloning) does teach it: with the critic's loss alone IQL did not find, in 2,000 updates,
what cloning found in 600. Images are cropped at random in every update (DrQ: arXiv 2004.13649).

A pre-trained encoder does not learn. Each image is then encoded once, and its features are kept in
its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.errors import InputError
from robopref.networks.image_encoder import ImageEncoder, random_shift
from robopref.networks.pretrained import FrozenEncoder
from robopref.policies.base import Policy
from robopref.policies.segment_pairs import PairBatch
from robopref.structures import TransitionBatch


@dataclass
class EncoderConfig:
    """What sees the images."""

    pretrained: str = ""
    """A network that others trained and that stays as it is: efficientnet_lite0, a name of
    torchvision's, or timm/NAME; empty for a small one that learns with the policy."""
    features: int = 50
    """Numbers that an observation's images become, unless it is pre-trained."""
    crop: int = 4
    """Pixels by which images are shifted at random while learning; 0 leaves them as they are."""
    learning_rate: float = 3e-4

    def __post_init__(self) -> None:
        if self.features < 1 or self.crop < 0 or self.learning_rate <= 0:
            raise InputError(
                "encoder: features and learning_rate must be positive and crop at least 0, found "
                f"{self.features}, {self.learning_rate} and {self.crop}"
            )


@dataclass
class VisualConfig:
    """An encoder and the learner behind it."""

    learner: str
    """Its key in the registry."""
    options: Any
    """Its config."""
    image_shape: list[int]
    """C, H, W"""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        if isinstance(self.encoder, Mapping):  # from a saved policy
            self.encoder = EncoderConfig(**self.encoder)


class VisualPolicy(Policy[TransitionBatch | PairBatch]):
    """A learner with an encoder in front."""

    name = "visual"
    config: VisualConfig

    def __init__(
        self,
        config: VisualConfig,
        observation_dim: int,
        action_dim: int,
        learner: Policy,
        frozen: FrozenEncoder | None = None,
    ) -> None:
        """
        Args:
            config: encoder and learner.
            observation_dim: size of the low-dimensional observation.
            action_dim: size of an action.
            learner: over `observation_dim` numbers and the encoder's features.
            frozen: a pre-trained encoder.
        """
        super().__init__(config, observation_dim, action_dim)
        channels, height, width = config.image_shape
        shape = (channels, height, width)
        self.image_shape = shape
        self.learner = learner
        self._frozen = frozen
        if frozen is not None:
            return
        self.encoder = ImageEncoder(shape, config.encoder.features)
        self._optimizer = Optimizers(
            torch.optim.Adam(
                self.encoder.parameters(), lr=config.encoder.learning_rate, fused=True
            ),
            learner,
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over an encoder that learns, and the learner's own."""
        if self._frozen:
            return self.learner.optimizer
        return self._optimizer  # type: ignore[return-value]  # has what checkpoints use

    def see(self, images: Tensor) -> Tensor:
        """(B, F) float16 features of a pre-trained encoder; else the images."""
        return self._frozen.to(self.device)(images) if self._frozen else images

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """(B, F): of images (B, C, H, W) uint8 by the encoder as it is now, or of what it saw."""
        if images.dtype != torch.uint8:  # they are features already
            return images.float()
        features: Tensor = self.see(images) if self._frozen else self.encoder(images)
        return features.float()

    def inputs(self, observations: Tensor, features: Tensor) -> Tensor:
        """(B, D + F): what the learner takes, of raw observations (B, D) and of features (B, F)."""
        return torch.cat([self.standardizer(observations), features.float()], dim=-1)

    @property
    def batches_per_update(self) -> int:
        """The learner's."""
        return self.learner.batches_per_update

    @property
    def discount(self) -> float:
        """The learner's."""
        return self.learner.discount

    def reset(self) -> None:
        """Starts an episode."""
        self.learner.reset()

    @torch.no_grad()
    def act(
        self,
        observations: NDArray[Any] | Tensor,
        deterministic: bool = True,
        generator: torch.Generator | None = None,
        images: NDArray[Any] | None = None,
    ) -> NDArray[np.float32]:
        """As `Policy.act`, with the images (B, C, H, W) uint8 of the same observations.

        What `see` made of them will do too.

        Raises:
            InputError: if the images are missing or of another size.
        """
        seen = None if images is None else torch.as_tensor(images, device=self.device)
        if seen is None or (seen.dtype == torch.uint8 and seen.shape[1:] != self.image_shape):
            found = None if seen is None else tuple(seen.shape[1:])
            raise InputError(
                f"policy {self.name}: expects images (B, *{self.image_shape}), found {found}; use "
                "the environment and cameras that it was trained with"
            )
        joined = torch.cat([self._standardized(observations), self.features(seen)], dim=-1)
        return self.learner.act(joined, deterministic, generator)

    def mean_actions(self, observations: Tensor) -> Tensor:
        """Not without images; see `act`."""
        raise InputError("policy visual: acts on images as well; use act")

    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """Not without images; see `act`."""
        raise InputError("policy visual: acts on images as well; use act")

    def update(
        self, batch: TransitionBatch | PairBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One update of the learner, and one step of the encoder along the gradient it leaves."""
        steps = batch.transitions if isinstance(batch, PairBatch) else batch
        if steps.images is None or steps.next_images is None:
            raise InputError("policy visual: learns from images, and this batch has none")
        if self._frozen:
            return self._learn(
                batch, self._joined(steps, steps.images, steps.next_images), generator
            )
        crop = self.config.encoder.crop
        features = self.encoder(random_shift(steps.images, crop, generator))
        with torch.no_grad():
            following = self.encoder(random_shift(steps.next_images, crop, generator))
        joined = self._joined(steps, features.detach(), following)
        seen = joined.observations.requires_grad_()
        metrics = self._learn(batch, joined, generator)
        assert seen.grad is not None  # every learner of transitions leaves it
        optimizer = self._optimizer.encoder
        optimizer.zero_grad()
        features.backward(seen.grad[:, self.observation_dim :])
        optimizer.step()
        return metrics

    def _learn(
        self,
        batch: TransitionBatch | PairBatch,
        joined: TransitionBatch,
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:
        if isinstance(batch, PairBatch):
            return self.learner.update(replace(batch, transitions=joined), generator)
        return self.learner.update(joined, generator)

    def _joined(self, batch: TransitionBatch, seen: Tensor, following: Tensor) -> TransitionBatch:
        """What the learner sees: standardised observations with features beside them."""
        return TransitionBatch(
            self.inputs(batch.observations, seen),
            batch.actions,
            batch.rewards,
            self.inputs(batch.next_observations, following),
            batch.terminated,
            demonstrated=batch.demonstrated,
        )


class Optimizers:
    """The encoder's optimizer and the learner's, saved and restored as one."""

    def __init__(self, encoder: torch.optim.Optimizer, learner: Policy) -> None:
        self.encoder, self._learner = encoder, learner

    def state_dict(self) -> dict[str, Any]:
        """States of the encoder's parameters, then of the learner's."""
        own, learner = self.encoder.state_dict(), self._learner.optimizer.state_dict()
        shift = self._parameters
        moved = {index + shift: state for index, state in learner["state"].items()}
        groups = [own["param_groups"], learner["param_groups"]]
        return {"state": {**own["state"], **moved}, "param_groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        own, learner = state["param_groups"]
        shift, states = self._parameters, state["state"]
        self.encoder.load_state_dict(
            {"state": {i: s for i, s in states.items() if i < shift}, "param_groups": own}
        )
        self._learner.optimizer.load_state_dict(
            {
                "state": {i - shift: s for i, s in states.items() if i >= shift},
                "param_groups": learner,
            }
        )

    @property
    def _parameters(self) -> int:
        return sum(len(group["params"]) for group in self.encoder.param_groups)

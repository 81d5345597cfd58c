"""Policies that look through cameras: an image encoder in front of any learner of transitions.

The encoder's features join the low-dimensional observations, and the learner takes both as one
vector. Gradients are asymmetric, as in DrQ and HIL-SERL: actor and critic share the encoder, which
learns from the critic's loss and not from the actor climbing the critic. A supervised actor (IQL's,
behaviour cloning) does teach it: with the critic's loss alone IQL did not find, in 2,000 updates,
what cloning found in 600. Images are cropped at random in every update (DrQ: arXiv 2004.13649).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.errors import InputError
from robopref.networks.image_encoder import ImageEncoder, random_shift
from robopref.policies.base import Policy
from robopref.structures import TransitionBatch


@dataclass
class EncoderConfig:
    """What sees the images."""

    features: int = 50
    """Numbers that an observation's images become."""
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


class VisualPolicy(Policy[TransitionBatch]):
    """A learner with an encoder in front."""

    name = "visual"
    config: VisualConfig

    def __init__(
        self, config: VisualConfig, observation_dim: int, action_dim: int, learner: Policy
    ) -> None:
        """
        Args:
            config: encoder and learner.
            observation_dim: size of the low-dimensional observation.
            action_dim: size of an action.
            learner: over `observation_dim + config.encoder.features` numbers.
        """
        super().__init__(config, observation_dim, action_dim)
        channels, height, width = config.image_shape
        shape = (channels, height, width)
        self.image_shape = shape
        self.encoder = ImageEncoder(shape, config.encoder.features)
        self.learner = learner
        self._optimizer = Optimizers(
            torch.optim.Adam(
                self.encoder.parameters(), lr=config.encoder.learning_rate, fused=True
            ),
            learner,
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over the encoder, and the learner's own."""
        return self._optimizer  # type: ignore[return-value]  # has what checkpoints use

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

        Raises:
            InputError: if the images are missing or of another size.
        """
        found = None if images is None else images.shape[1:]
        if images is None or found != self.image_shape:
            raise InputError(
                f"policy {self.name}: expects images (B, *{self.image_shape}), found {found}; use "
                "the environment and cameras that it was trained with"
            )
        seen = self.encoder(torch.as_tensor(images, device=self.device))
        states = self._standardized(observations)
        return self.learner.act(torch.cat([states, seen], dim=-1), deterministic, generator)

    def mean_actions(self, observations: Tensor) -> Tensor:
        """Not without images; see `act`."""
        raise InputError("policy visual: acts on images as well; use act")

    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """Not without images; see `act`."""
        raise InputError("policy visual: acts on images as well; use act")

    def update(
        self, batch: TransitionBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One update of the learner, and one step of the encoder along the gradient it leaves."""
        if batch.images is None or batch.next_images is None:
            raise InputError("policy visual: learns from images, and this batch has none")
        crop = self.config.encoder.crop
        features = self.encoder(random_shift(batch.images, crop, generator))
        with torch.no_grad():
            following = self.encoder(random_shift(batch.next_images, crop, generator))
        seen = torch.cat([self.standardizer(batch.observations), features.detach()], dim=-1)
        seen.requires_grad_()
        metrics = self.learner.update(
            TransitionBatch(
                seen,
                batch.actions,
                batch.rewards,
                torch.cat([self.standardizer(batch.next_observations), following], dim=-1),
                batch.terminated,
            ),
            generator,
        )
        assert seen.grad is not None  # every learner of transitions leaves it
        optimizer = self._optimizer.encoder
        optimizer.zero_grad()
        features.backward(seen.grad[:, self.observation_dim :])
        optimizer.step()
        return metrics


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

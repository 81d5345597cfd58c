"""What every policy owes: act, learn from a batch, save, load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import TypeVar

from robopref.data.normalization import Standardizer
from robopref.errors import InputError
from robopref.networks.persistence import load_weights, save_model

Batch_contra = TypeVar("Batch_contra", contravariant=True, default=Any)
Batch_co = TypeVar("Batch_co", covariant=True, default=Any)


class BatchSource(Protocol[Batch_co]):
    """What a policy learns from without acting: a dataset, and labels of it where it takes them."""

    def __len__(self) -> int:
        """Transitions or windows that there are."""

    def draw(self, count: int, generator: torch.Generator) -> Batch_co:
        """Draws `count` of them, uniformly and with replacement."""


class Policy(nn.Module, ABC, Generic[Batch_contra]):
    """A policy over flat observations (D,) and actions (A,) in [-1, 1].

    The same object serves offline training, online training and a learner with people in the
    loop. A saved policy carries its config, sizes and observation statistics.
    """

    name: ClassVar[str]
    """Key in the registry and in saved files."""
    recordable: ClassVar[bool] = False
    """Whether `update` never waits for a GPU, and can be recorded there (`policies.recorded`)."""
    image_shape: tuple[int, int, int] | None = None
    """(C, H, W) of the images that it looks at beside the observations; None for none."""

    def __init__(self, config: Any, observation_dim: int, action_dim: int) -> None:
        super().__init__()
        self.config = config
        self.observation_dim = observation_dim
        self.action_dim = action_dim
        self.standardizer = Standardizer(observation_dim)

    def fit_observations(self, observations: Tensor) -> None:
        """Learns the statistics by which observations (N, D) are standardised."""
        self.standardizer.fit(observations)

    def see(self, images: Tensor) -> Tensor:
        """(B, ...): what learning needs of images (B, C, H, W), which `act` takes in their place.

        They themselves, unless an encoder that does not learn has looked at them.
        """
        return images

    def reset(self) -> None:
        """Starts an episode. Policies with memory forget."""

    @abstractmethod
    def mean_actions(self, observations: Tensor) -> Tensor:
        """(B, D) standardised observations to (B, A)."""

    @abstractmethod
    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, D) standardised observations to (B, A) random actions."""

    @property
    def batches_per_update(self) -> int:
        """How many batches one `update` takes, side by side in one."""
        return 1

    @abstractmethod
    def update(
        self, batch: Batch_contra, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Learns from one batch.

        Where `batch.observations` requires a gradient, learners of transitions leave one there for
        an encoder to learn from: of the critic's loss, and of the actor's where that is supervised.

        Args:
            batch: transitions, or what else the policy learns from, with raw observations.
            generator: source of randomness of learners that need one, on the policy's device.

        Returns:
            Named scalars as tensors without gradient, so that no step waits for the device.
        """

    @property
    def discount(self) -> float:
        """Of the value that it learns; 1 for a policy that learns none."""
        return float(getattr(self.config, "discount", 1.0))

    @property
    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """Holds every parameter that learns; checkpoints keep its state."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.standardizer.mean.device

    @torch.no_grad()
    def act(
        self,
        observations: NDArray[Any] | Tensor,
        deterministic: bool = True,
        generator: torch.Generator | None = None,
    ) -> NDArray[np.float32]:
        """Chooses actions.

        Args:
            observations: (B, D), raw.
            deterministic: mean action instead of a random one.
            generator: source of randomness, on the policy's device.

        Returns:
            (B, A) in [-1, 1].

        Raises:
            InputError: if the observations have another size.
        """
        inputs = self._standardized(observations)
        if deterministic:
            actions = self.mean_actions(inputs)
        else:
            actions = self.sample_actions(inputs, generator)
        chosen: NDArray[np.float32] = actions.cpu().numpy()
        return chosen

    def _standardized(self, observations: NDArray[Any] | Tensor) -> Tensor:
        """(B, D) raw observations as the networks take them."""
        inputs = torch.as_tensor(observations).to(self.device, torch.float32)
        if inputs.ndim != 2 or inputs.shape[1] != self.observation_dim:
            raise InputError(
                f"policy {self.name}: expects observations (B, {self.observation_dim}), found "
                f"{tuple(inputs.shape)}; use the environment that it was trained for"
            )
        standardized: Tensor = self.standardizer(inputs)
        return standardized

    def save(self, folder: Path) -> None:
        """Writes weights, config, sizes and observation statistics into a folder."""
        save_model(self, "policy", folder)

    def load(self, folder: Path) -> Self:
        """Takes the weights and statistics of a saved policy of the same kind and sizes.

        Raises:
            InputError: if the folder has none or they do not fit.
        """
        load_weights(self, "policy", folder)
        return self

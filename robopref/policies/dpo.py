"""DPO: fine-tunes a pre-trained policy by preferences, held near what it was.

Rafailov, Sharma, Mitchell, Ermon, Manning, Finn: Direct Preference Optimization, NeurIPS 2023,
arXiv 2305.18290, eq. 7, with the log-likelihoods of a segment's actions in place of those of an
answer's words. For a diffusion policy they are replaced by their lower bounds with the same noise
for both policies (Wallace et al.: Diffusion Model Alignment Using Direct Preference Optimization,
CVPR 2024, arXiv 2311.12908; Yang et al., D3PO, CVPR 2024). A supervised term on the
preferred segments guards against making both segments less likely (Liu et al.: RPO, 2024, arXiv
2405.16436).

The result is a policy of the pre-trained one's kind, and is saved as such. One departure: what acts
is a moving average of the weights.

Of a policy that looks at images the actor is tuned and the encoder stays as it is, so that each
image is encoded once (Tian et al.: Maximizing Alignment with Minimal Feedback, 2024, arXiv
2412.04835, who rank a visual policy's own rollouts by an aligned reward and tune it so).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.errors import InputError
from robopref.networks.mlp import move_towards
from robopref.policies.base import Policy
from robopref.policies.behavior_cloning import BehaviorCloning
from robopref.policies.checks import check_above_zero, check_not_negative, check_shares
from robopref.policies.diffusion import Diffusion
from robopref.policies.losses import contrastive_loss, preference_accuracy
from robopref.policies.segment_pairs import PairBatch
from robopref.policies.visual import VisualPolicy
from robopref.structures import TransitionBatch

Tunable = BehaviorCloning | Diffusion
"""Policies whose actions have a likelihood, or a bound of it."""


@dataclass
class DPOConfig:
    """How far the labels may move the policy."""

    pretrained: str = ""
    """Folder of a saved policy: behavior_cloning or diffusion, with or without images."""
    temperature: float = 0.1
    """`beta`: what the log-ratio of new and old policy counts, per step; lower moves further."""
    supervised_weight: float = 0.1
    """Weight of the log-likelihood of the preferred segments (RPO); 0 is DPO alone."""
    pairs: int = 16
    """Labelled pairs of an update."""
    segment_steps: int = 32
    """Steps of a segment that an update looks at."""
    learning_rate: float = 1e-4
    actor_average_rate: float = 0.005
    """Share of the policy entering its average per update; 1 acts with the latest weights."""

    def __post_init__(self) -> None:
        check_above_zero("dpo", self, "temperature", "pairs", "segment_steps", "learning_rate")
        check_not_negative("dpo", self, "supervised_weight")
        check_shares("dpo", self, "actor_average_rate")


class DPO(Policy[PairBatch]):
    """Tunes a policy; acts as it."""

    name = "dpo"
    config: DPOConfig

    def __init__(self, config: DPOConfig, pretrained: Policy) -> None:
        """
        Args:
            config: how far the labels may move it.
            pretrained: a `Tunable`, or one behind an encoder; it is what is tuned.

        Raises:
            InputError: if actions of the pre-trained policy have no likelihood.
        """
        super().__init__(config, pretrained.observation_dim, pretrained.action_dim)
        learner = pretrained.learner if isinstance(pretrained, VisualPolicy) else pretrained
        if not isinstance(learner, Tunable):
            raise InputError(
                f"dpo.pretrained={config.pretrained}: is a policy {learner.name}; train one of "
                "behavior_cloning or diffusion"
            )
        self.tuned = pretrained
        self.image_shape = pretrained.image_shape
        self.standardizer = copy.deepcopy(pretrained.standardizer)
        # The averaged weights are those that acted, so they are what the tuning starts from.
        learner.actor.load_state_dict(learner.averaged_actor.state_dict())
        self.reference = copy.deepcopy(learner).requires_grad_(False)
        self._optimizer = torch.optim.Adam(
            learner.actor.parameters(), lr=config.learning_rate, fused=True
        )

    @property
    def learner(self) -> Tunable:
        """What has the actor: the policy, or the part of it behind its encoder."""
        learner = self.tuned.learner if isinstance(self.tuned, VisualPolicy) else self.tuned
        assert isinstance(learner, Tunable)  # see `__init__`
        return learner

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over the policy that is tuned."""
        return self._optimizer

    def fit_observations(self, observations: Tensor) -> None:
        """Nothing: the pre-trained policy knows observations as its own data had them."""

    def see(self, images: Tensor) -> Tensor:
        """(B, F): features of images (B, C, H, W) uint8, which the tuning leaves as they are."""
        return self.tuned.features(images) if isinstance(self.tuned, VisualPolicy) else images

    def act(
        self,
        observations: NDArray[Any] | Tensor,
        deterministic: bool = True,
        generator: torch.Generator | None = None,
        images: NDArray[Any] | None = None,
    ) -> NDArray[np.float32]:
        """As the policy that is tuned; `images` are for one that looks at them."""
        looks: dict[str, Any] = {} if images is None else {"images": images}
        return self.tuned.act(observations, deterministic, generator, **looks)

    def mean_actions(self, observations: Tensor) -> Tensor:
        """(B, D) standardised observations to (B, A)."""
        return self.tuned.mean_actions(observations)

    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, D) standardised observations to (B, A) random actions."""
        return self.tuned.sample_actions(observations, generator)

    def update(
        self, batch: PairBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One step on the pairs."""
        config = self.config
        new, ratios = self._likelihoods(batch, generator)
        first, second = batch.sums(config.temperature * ratios)
        preference = contrastive_loss(first, second, batch.labels, batch.confidence, bias=1.0)
        first_new, second_new = (
            total / weights.sum(1)
            for total, weights in zip(batch.sums(new), batch.weights, strict=True)
        )
        preferred = (1.0 - batch.labels) * first_new + batch.labels * second_new
        supervised = -(preferred * batch.confidence).mean()
        loss = preference + config.supervised_weight * supervised
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        move_towards(self.learner.averaged_actor, self.learner.actor, config.actor_average_rate)
        return {
            "actor_loss": loss.detach(),
            "preference_loss": preference.detach(),
            "supervised_loss": supervised.detach(),
            "preference_accuracy": preference_accuracy(first, second, batch.labels),
        }

    def _likelihoods(
        self, batch: PairBatch, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """(R,): `log pi(a | s)` of the policy that is tuned, and how far the old one's is below."""
        observations, actions = self._inputs(batch.transitions), batch.transitions.actions
        # Both see the same noise, so that it cancels where they agree.
        state = generator.get_state() if generator is not None else torch.get_rng_state()
        new = self.learner.log_likelihoods(observations, actions, generator)
        if generator is not None:
            generator.set_state(state)
        else:
            torch.set_rng_state(state)
        with torch.no_grad():
            old = self.reference.log_likelihoods(observations, actions, generator)
        return new, new - old

    def _inputs(self, steps: TransitionBatch) -> Tensor:
        """(R, ...): what the actor takes."""
        if not isinstance(self.tuned, VisualPolicy):
            return self.standardizer(steps.observations)  # type: ignore[no-any-return]
        if steps.images is None:
            raise InputError("policy dpo: tunes one that looks at images, and this batch has none")
        return self.tuned.inputs(steps.observations, self.tuned.features(steps.images))

    def save(self, folder: Path) -> None:
        """Writes the tuned policy as one of its own kind."""
        self.tuned.save(folder)

    def load(self, folder: Path) -> Self:
        """Takes the weights of such a policy."""
        self.tuned.load(folder)
        return self

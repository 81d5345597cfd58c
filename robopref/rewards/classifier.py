"""A success classifier: whether the task is done, from recorded successes and failures.

As HIL-SERL's binary reward (Luo et al. 2024, arXiv 2410.21845, section 3), with what its training
lacks: episodes that are kept aside, a threshold that is chosen on them, and more of the failures
that look like successes. It judges the observation after a step, the state or, with an encoder,
the cameras' images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robopref.data.dataset import TrajectoryDataset
from robopref.data.normalization import Standardizer
from robopref.errors import InputError
from robopref.networks.persistence import load_weights, read_description, save_model
from robopref.networks.pretrained import FrozenEncoder
from robopref.seeding import numpy_generator, torch_generator

KIND = "reward"
"""What its folder is called, as for other rewards."""
HARD = 0.5
"""Share of a batch's failures that are drawn by how likely they are taken for successes."""
OnUpdates = Callable[[int, Mapping[str, float]], None]
"""Told the number of updates done and their metrics."""


@dataclass
class ClassifierConfig:
    """Settings of the success classifier."""

    encoder: str = ""
    """Frozen encoder of images to look at in place of the state: efficientnet_lite0, a network of
    torchvision, or timm/NAME."""
    hidden: list[int] = field(default_factory=lambda: [256])
    """Width of each hidden layer."""
    dropout: float = 0.1
    updates: int = 500
    batch_size: int = 256
    """Half of it successes."""
    learning_rate: float = 1e-3
    held_out: float = 0.25
    """Share of the episodes that the threshold is chosen on."""
    precision: float = 0.95
    """Wanted of what it calls successes; of the thresholds that give it, the one of the best F1 is
    taken."""
    mine_every: int = 100
    """Updates between two looks at which failures are hard."""

    def __post_init__(self) -> None:
        self.hidden = list(self.hidden)
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"reward.hidden={self.hidden}: needs positive widths")
        for name in ("updates", "batch_size", "mine_every"):
            if getattr(self, name) < 1 + (name == "batch_size"):
                raise InputError(f"reward.{name}={getattr(self, name)}: is too small")
        if self.learning_rate <= 0:
            raise InputError(f"reward.learning_rate={self.learning_rate}: must be positive")
        if not 0.0 <= self.dropout < 1.0 or not 0.0 < self.precision <= 1.0:
            raise InputError("reward.dropout: lies in [0, 1); reward.precision: in (0, 1]")
        if not 0.0 < self.held_out < 1.0:
            raise InputError(f"reward.held_out={self.held_out}: must lie in (0, 1)")


class SuccessClassifier(nn.Module):
    """Says how likely it is that the task is done."""

    name = "classifier"
    threshold: Tensor
    """() from which on it is called a success."""

    def __init__(self, config: ClassifierConfig, observation_dim: int) -> None:
        """
        Args:
            config: its settings.
            observation_dim: size of a flat observation, or of the encoder's features.
        """
        super().__init__()
        self.config, self.observation_dim, self.action_dim = config, observation_dim, 0
        self.standardizer = Standardizer(observation_dim)
        layers: list[nn.Module] = []
        for before, after in zip([observation_dim, *config.hidden], config.hidden, strict=False):
            layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
            layers.append(nn.Dropout(config.dropout))
        self.network = nn.Sequential(*layers, nn.Linear(config.hidden[-1], 1))
        self.register_buffer("threshold", torch.tensor(0.5))
        self._encoder = FrozenEncoder(config.encoder) if config.encoder else None
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.threshold.device

    @torch.no_grad()
    def probability(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B,): that the task is done, from (B, D) flat observations or features."""
        inputs = torch.as_tensor(observations, dtype=torch.float32, device=self.device)
        if inputs.ndim != 2 or inputs.shape[1] != self.observation_dim:
            raise InputError(
                f"reward classifier: expects {self.observation_dim} numbers, found "
                f"{tuple(inputs.shape)}; use the environment or cameras that it was trained with"
            )
        probability: NDArray[np.float32] = torch.sigmoid(self._logits(inputs)).cpu().numpy()
        return probability

    def judge(
        self, observation: NDArray[np.float32], images: NDArray[np.uint8] | None = None
    ) -> bool:
        """Whether the task is done, from one observation (D,) and its images (C, H, W).

        Raises:
            InputError: if it looks at images and there are none.
        """
        if self._encoder is None:
            seen = observation[None]
        elif images is None:
            raise InputError(
                "reward classifier: looks at images; give the cameras= that it was trained with"
            )
        else:
            seen = self._encoder(torch.from_numpy(images[None])).float().numpy()
        return bool(self.probability(seen)[0] >= float(self.threshold))

    def fit(
        self,
        dataset: TrajectoryDataset,
        seed: int,
        on_updates: OnUpdates = lambda updates, metrics: None,
    ) -> dict[str, float]:
        """Learns from the `success` of every step, and chooses the threshold.

        Args:
            dataset: `as_seen` if it looks at images.
            seed: of the split and of batches.
            on_updates: told of every `mine_every` updates.

        Returns:
            Precision, recall and false alarms on the episodes that were kept aside, at the
            threshold.

        Raises:
            InputError: if there are not both successes and failures, in two episodes at least.
        """
        config = self.config
        observations = dataset.flat_observations[dataset.observation_rows + 1]
        labels = dataset.success.astype(bool)
        held_out = held_out_steps(dataset, config.held_out, seed)
        failures = observations[~held_out][~labels[~held_out]]
        inputs = torch.from_numpy(observations[~held_out]).to(self.device)
        self.standardizer.fit(inputs)
        own = torch.from_numpy(labels[~held_out])
        good, bad = (own.nonzero()[:, 0], (~own).nonzero()[:, 0])
        generator = torch_generator(seed, "classifier")
        optimizer = torch.optim.Adam(self.parameters(), lr=config.learning_rate)
        likely = torch.ones(len(bad))
        half, hard = config.batch_size // 2, 0
        for update in range(1, config.updates + 1):
            drawn = [
                good[torch.randint(len(good), (half,), generator=generator)],
                bad[torch.randint(len(bad), (half - hard,), generator=generator)],
            ]
            if hard:
                drawn.append(bad[torch.multinomial(likely, hard, True, generator=generator)])
            rows = torch.cat(drawn).to(self.device)
            targets = (torch.arange(len(rows), device=self.device) < half).float()
            self.train()
            loss = functional.binary_cross_entropy_with_logits(self._logits(inputs[rows]), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.eval()
            if update % config.mine_every == 0 or update == config.updates:
                likely = torch.from_numpy(self.probability(failures)) + 1e-3
                hard = int(HARD * half)
                on_updates(update, {"train/loss": float(loss.detach())})
        scores = self.probability(observations[held_out])
        self.threshold.fill_(chosen_threshold(scores, labels[held_out], config.precision))
        return quality(scores, labels[held_out], float(self.threshold))

    def save(self, folder: Path) -> None:
        """Writes weights, config, sizes, statistics and threshold into a folder."""
        save_model(self, KIND, folder)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Reads what `save` wrote.

        Raises:
            InputError: if the folder holds no sound classifier.
        """
        folder = Path(folder)
        description: dict[str, Any] = read_description(KIND, folder)
        if description[KIND] != cls.name:
            raise InputError(
                f"{folder}: holds a reward {description[KIND]!r} and no classifier; train one with "
                "robopref train-reward reward=classifier"
            )
        try:
            model = cls(ClassifierConfig(**description["config"]), description["observation_dim"])
        except TypeError as error:
            raise InputError(f"{folder}: config does not fit ({error}); train it again") from error
        load_weights(model, KIND, folder)
        return model

    def _logits(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.network(self.standardizer(inputs))[:, 0]
        return found


def held_out_steps(dataset: TrajectoryDataset, share: float, seed: int) -> NDArray[np.bool_]:
    """(N,): steps of the episodes that are kept aside, the same share of both kinds of episode.

    Raises:
        InputError: if both parts cannot have steps with and without success.
    """
    succeeded = np.logical_or.reduceat(dataset.success, dataset.offsets[:-1])
    rng = numpy_generator(seed, "held out")
    aside = np.zeros(len(dataset), dtype=bool)
    for kind in (True, False):
        episodes = rng.permutation(np.flatnonzero(succeeded == kind))
        aside[episodes[: max(round(share * len(episodes)), int(len(episodes) > 1))]] = True
    steps = np.repeat(aside, dataset.lengths)
    success = dataset.success.astype(bool)
    for part, name in ((~steps, "learning"), (steps, "the threshold")):
        if not success[part].any() or success[part].all():
            raise InputError(
                f"{dataset.source}: {name} needs steps with and without success from at least two "
                f"episodes, and {int(succeeded.sum())} of {len(dataset)} episodes succeed; record "
                "more (robopref hil record acting.end_at_success=false keeps what follows success)"
            )
    return steps


def chosen_threshold(
    scores: NDArray[np.float32], labels: NDArray[np.bool_], precision: float
) -> float:
    """Of the thresholds whose precision is as wanted, or else of all, the one of the best F1.

    Args:
        scores: (N,) probabilities.
        labels: (N,) whether they are successes.
        precision: wanted share of true ones among what is called a success.
    """
    thresholds, precisions, recalls = precision_recall(scores, labels)
    f1 = 2.0 * precisions * recalls / np.maximum(precisions + recalls, 1e-12)
    enough = precisions >= precision
    if f1[enough].any():
        f1 = np.where(enough, f1, 0.0)
    return float(thresholds[int(np.argmax(f1))])


def precision_recall(
    scores: NDArray[np.float32], labels: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds, lowest first, and precision and recall of what is at least as high: (K,) each."""
    order = np.argsort(scores)
    scores, labels = scores[order], labels[order]
    thresholds, first = np.unique(scores, return_index=True)
    true = labels[::-1].cumsum()[::-1][first]
    called = len(scores) - first
    return thresholds.astype(np.float64), true / called, true / max(int(labels.sum()), 1)


def quality(
    scores: NDArray[np.float32], labels: NDArray[np.bool_], threshold: float
) -> dict[str, float]:
    """Precision, recall, and the share of failures that are called successes."""
    called = scores >= threshold
    return {
        "precision": float(labels[called].mean()) if called.any() else 0.0,
        "recall": float(called[labels].mean()),
        "false_alarms": float(called[~labels].mean()),
        "threshold": threshold,
    }

"""One reward for everybody, told by a latent who it is for.

Poddar, Wan, Ivison, Gupta, Jaques: Personalizing Reinforcement Learning from Human Feedback with
Variational Preference Learning, NeurIPS 2024, arXiv 2408.10075 (VPL). An encoder reads some
labelled pairs of a person and says what they want, a normal distribution over latents; a reward
reads a step and a latent. Both are learned by the evidence lower bound: the Bradley-Terry
likelihood of the person's labels, less the divergence from a standard normal (section 4.1, eq. 2).
So somebody new needs a few labels and no training.

Different here: the encoder sees each pair as the preferred and the other segment, each as the mean
of features of its steps; and rewards are bounded, as all rewards here, which is what the paper
rescales them for.

Shape letters: `B` pairs, `P` people, `C` pairs of each that the encoder reads, `S` steps, `D` input
features, `Z` latent.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from robopref.data.dataset import TrajectoryDataset
from robopref.data.spans import Spans, random_places, segment_spans
from robopref.errors import InputError
from robopref.networks.mlp import mlp
from robopref.preferences.dataset import Preferences, check_dataset, check_informative
from robopref.rewards.base import OnEpoch, RewardPrediction
from robopref.rewards.losses import bradley_terry_loss
from robopref.rewards.pairwise import (
    Lesson,
    MLPBackbone,
    PairwiseConfig,
    StepReward,
    StepSample,
    check_widths,
)
from robopref.rewards.personal import PersonalReward, check_known, check_people
from robopref.seeding import torch_generator
from robopref.structures import SegmentBatch


@dataclass
class VPLConfig(PairwiseConfig):
    """Settings. Encoder and reward start from nothing, so both learn longer and faster than one
    reward for all does.
    """

    epochs: int = 60
    learning_rate: float = 3e-3
    hidden: list[int] = field(default_factory=lambda: [64, 64])
    """Width of each hidden layer of the reward and of the encoder."""
    sampled_steps: int = 16
    """Steps drawn per segment and update, all when 0."""
    latent: int = 8
    """Numbers that say who it is."""
    context: int = 32
    """Pairs of a person that the encoder reads at once."""
    kl_weight: float = 1e-3
    """Weight of the divergence from a standard normal."""
    people: dict[str, list[float]] = field(default_factory=dict)
    """Annotator to latent, as learned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hidden = list(self.hidden)
        check_widths("hidden", self.hidden)
        if min(self.latent, self.context) < 1 or self.sampled_steps < 0 or self.kl_weight < 0.0:
            raise InputError(
                "reward: latent and context must be at least 1, sampled_steps and kl_weight at "
                "least 0"
            )
        if self.crop or self.pseudo_pairs:
            raise InputError(
                "reward=vpl: reward.crop and reward.pseudo_pairs are for one reward for all; set "
                "them to 0"
            )


class VPLReward(StepReward, PersonalReward):
    """Predicts the mean over those who gave labels; the standard deviation is how they differ."""

    name = "vpl"
    looks_back = False
    config: VPLConfig

    def __init__(self, config: VPLConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim, outputs=1)
        self.sampled_steps = config.sampled_steps
        width, hidden = config.hidden[-1], config.hidden
        inputs = observation_dim + (action_dim if config.actions else 0)
        self.of_steps = mlp(inputs, hidden, width)
        self.of_pairs = mlp(2 * width, hidden, 2 * config.latent)
        self.who: Sequence[str] = ()
        """Whose rewards are averaged; everybody's when empty."""

    def make_backbone(self, inputs: int, outputs: int) -> nn.Module:
        """An MLP over a step and a latent."""
        return MLPBackbone(1, inputs + self.config.latent, self.config.hidden, outputs)

    def of(self, annotator: str) -> VPLReward:
        """The reward of one of those who gave labels."""
        check_known(annotator, self.config.people)
        return self._with(self.config.people, [annotator])

    def given(self, preferences: Preferences, dataset: TrajectoryDataset, seed: int) -> VPLReward:
        """The reward of those who gave these labels, whom the model need not know.

        Args:
            preferences: a few pairs of a dataset like the one that it was trained on.
            dataset: theirs.
            seed: of the steps that are looked at.
        """
        check_dataset(preferences, dataset)
        check_people(preferences)
        asked = _Asked.of(preferences, dataset)
        people = self._latents(asked, self.inputs_of(dataset), seed)
        return self._with(people, [*people])

    def _with(self, people: dict[str, list[float]], who: Sequence[str]) -> VPLReward:
        model = copy.copy(self)
        model.config, model.who = copy.copy(self.config), who
        model.config.people = people
        return model

    def fit(
        self,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        seed: int,
        on_epoch: OnEpoch = lambda epoch, metrics: None,
    ) -> dict[str, float]:
        """Each pair's loss under a latent drawn from what other pairs of its annotator say."""
        check_informative(preferences)
        check_dataset(preferences, dataset)
        check_people(preferences)
        inputs, asked = self.take_statistics(preferences, dataset), _Asked.of(preferences, dataset)
        labels, confidence = self.targets(preferences)

        def lesson(rows: Tensor, generator: torch.Generator) -> Lesson:
            present, which = asked.people[rows].unique(return_inverse=True)
            read = asked.drawn(present, self.config.context, generator)
            mean, log_std = self._encode(asked, read, inputs, generator)
            noise = torch.randn(mean.shape, generator=generator).to(mean)
            latents = (mean + log_std.exp() * noise)[which]
            sums = [
                self._sums(self.draw(inputs, (starts[rows], lengths[rows]), generator), latents)
                for starts, lengths in (asked.first, asked.second)
            ]
            logits = (sums[1] - sums[0])[None]
            likelihood = bradley_terry_loss(logits, labels[rows], confidence[rows]).sum()
            # KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1) / 2 - log s
            divergence = (0.5 * (mean.square() + (2.0 * log_std).exp() - 1.0) - log_std).sum(-1)
            loss = likelihood + self.config.kl_weight * divergence.mean()
            return loss, ((logits[0].detach() > 0) == (labels[rows] > 0.5)).sum()

        metrics = self.optimise(len(labels), lesson, seed, on_epoch)
        self.config.people = self._latents(asked, inputs, seed)
        return metrics

    def _encode(
        self, asked: _Asked, rows: Tensor, inputs: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """(P, Z) mean and log standard deviation, from rows (P, C) of labelled pairs."""
        flat, preferred, other = rows.flatten(), asked.preferred, asked.other
        features = []
        for starts, lengths in (preferred, other):
            sample = self.draw(inputs, (starts[flat], lengths[flat]), generator)
            weights = sample.weights / sample.weights.sum(1, keepdim=True)
            features.append((self.of_steps(sample.inputs) * weights[..., None]).sum(1))
        pairs = self.of_pairs(torch.cat(features, dim=-1)).unflatten(0, rows.shape)
        told = asked.told[rows].to(pairs)[..., None]  # a tie says nothing about a person
        mean, log_std = ((pairs * told).sum(1) / told.sum(1).clamp(min=1.0)).chunk(2, -1)
        return mean, log_std.clamp(-5.0, 2.0)

    def _sums(self, sample: StepSample, latents: Tensor) -> Tensor:
        """(B,): sum of the rewards of each segment, for the person of each (B, Z)."""
        rewards = self._steps(sample.inputs, latents, sample.weights)
        return (rewards * sample.weights).sum(-1)

    def _steps(self, inputs: Tensor, latents: Tensor, mask: Tensor) -> Tensor:
        """(B, S): step rewards in log-odds."""
        told = latents[:, None].expand(-1, inputs.shape[1], -1)
        return self.rewards(self.backbone(torch.cat([inputs, told], dim=-1), mask))[0]

    @torch.no_grad()
    def _latents(self, asked: _Asked, inputs: Tensor, seed: int) -> dict[str, list[float]]:
        """The mean latent of everybody, from all their labels."""
        generator, found = torch_generator(seed, "latents"), {}
        for number, name in enumerate(asked.names):
            rows = torch.nonzero(asked.people == number)[:, 0][None]
            mean, _ = self._encode(asked, rows, inputs, generator)
            found[name] = mean[0].tolist()
        return found

    @torch.no_grad()
    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        """Mean and spread over `who`."""
        inputs = self.standardised(segments.observations, segments.actions)
        who = self.who or sorted(self.config.people)
        each = [self.config.people[name] for name in who] or [[0.0] * self.config.latent]
        latents = torch.tensor(each, dtype=torch.float32, device=self.device)
        rewards = torch.stack([
            self._steps(inputs, latent.expand(len(inputs), -1), segments.mask) for latent in latents
        ])  # fmt: skip
        std = rewards.std(0, correction=0) * segments.mask if len(rewards) > 1 else None
        return RewardPrediction(rewards.mean(0) * segments.mask, std)


@dataclass(frozen=True)
class _Asked:
    """Labelled pairs, by who gave them."""

    names: list[str]
    people: Tensor
    """(B,): number of who gave each label."""
    first: Spans
    second: Spans
    preferred: Spans
    other: Spans
    told: Tensor
    """(B,): whether one was preferred at all."""

    @staticmethod
    def of(preferences: Preferences, dataset: TrajectoryDataset) -> _Asked:
        names, people = np.unique(np.asarray(preferences.annotator), return_inverse=True)
        spans = [segment_spans(dataset, side) for side in (preferences.first, preferences.second)]
        second = torch.from_numpy(preferences.labels > 0.5)
        turned = [
            tuple(torch.where(swap, two, one) for one, two in zip(*spans, strict=True))
            for swap in (second, ~second)
        ]
        return _Asked(
            [str(name) for name in names],
            torch.from_numpy(people.astype(np.int64)),
            spans[0],
            spans[1],
            (turned[0][0], turned[0][1]),
            (turned[1][0], turned[1][1]),
            torch.from_numpy(preferences.labels != 0.5),
        )

    def drawn(self, people: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """(P, C): rows of labels of these people, with repetition."""
        rows = [torch.nonzero(self.people == person)[:, 0] for person in people.tolist()]
        return torch.stack([
            own[random_places(torch.full((count,), len(own)), generator)] for own in rows
        ])  # fmt: skip

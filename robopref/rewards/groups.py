"""A reward for each group of annotators who want different things, and the groups themselves.

Chakraborty et al.: MaxMin-RLHF: Alignment with Diverse Human Preferences, ICML 2024, arXiv
2402.08925. People are assigned to the reward that explains their labels best, rewards are learned
from the labels of the people assigned to them, and so on until nobody moves (hard EM). What a
policy is then to maximise is the reward of whoever is served worst, or of one person's group.

Different here: the worst is taken step by step, of rewards that are standardised over the data,
since rewards of two groups have no common zero or scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robopref.data.dataset import TrajectoryDataset
from robopref.errors import InputError
from robopref.preferences.dataset import Preferences, check_dataset, check_informative
from robopref.rewards.base import OnEpoch, RewardPrediction
from robopref.rewards.bradley_terry import BradleyTerryConfig, BradleyTerryReward
from robopref.rewards.personal import PersonalReward, check_known, check_people
from robopref.rewards.relabel import relabel, sum_differences
from robopref.structures import SegmentBatch


@dataclass
class GroupsConfig(BradleyTerryConfig):
    """Settings of every group's reward, and of the groups."""

    groups: int = 2
    """Rewards to tell apart."""
    rounds: int = 5
    """Most turns of assigning and learning."""
    people: dict[str, int] = field(default_factory=dict)
    """Annotator to group, as learned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.groups < 1 or self.rounds < 1:
            raise InputError(
                f"reward.groups={self.groups}, reward.rounds={self.rounds}: must be at least 1"
            )

    @property
    def each(self) -> BradleyTerryConfig:
        """Settings of one group's reward."""
        names = [option.name for option in fields(BradleyTerryConfig)]
        return BradleyTerryConfig(**{name: getattr(self, name) for name in names})


class GroupsReward(PersonalReward):
    """Predicts the reward of the group that is served worst; `of` gives one person's."""

    name = "groups"
    looks_back = False
    config: GroupsConfig
    centre: Tensor
    """(G,): mean of each group's reward over the data."""
    spread: Tensor
    """(G,): its standard deviation."""

    def __init__(self, config: GroupsConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self.members = nn.ModuleList(
            BradleyTerryReward(config.each, observation_dim, action_dim)
            for _ in range(config.groups)
        )
        self.register_buffer("centre", torch.zeros(config.groups))
        self.register_buffer("spread", torch.ones(config.groups))

    @property
    def rewards(self) -> list[BradleyTerryReward]:
        """One for each group."""
        return [member for member in self.members if isinstance(member, BradleyTerryReward)]

    def of(self, annotator: str) -> BradleyTerryReward:
        """The reward of a person's group.

        Raises:
            InputError: if the person gave no label.
        """
        check_known(annotator, self.config.people)
        return self.rewards[self.config.people[annotator]]

    def fit(
        self,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        seed: int,
        on_epoch: OnEpoch = lambda epoch, metrics: None,
    ) -> dict[str, float]:
        """Assigns people and learns in turn; `on_epoch` hears epochs of all turns and groups."""
        check_informative(preferences)
        check_dataset(preferences, dataset)
        check_people(preferences)
        names, people = np.unique(np.asarray(preferences.annotator), return_inverse=True)
        if len(names) < self.config.groups:
            raise InputError(
                f"reward.groups={self.config.groups}: the labels are by {len(names)} annotators "
                f"({', '.join(names)}); a group needs one at least"
            )
        start = [{k: v.clone() for k, v in each.state_dict().items()} for each in self.rewards]
        groups = self._first_groups(preferences, dataset, people, seed, start)
        metrics: dict[str, float] = {}
        epochs = 0
        for _ in range(self.config.rounds):
            losses = []
            for group, model in enumerate(self.rewards):
                model.load_state_dict(start[group])
                own = preferences[groups[people] == group]
                found = model.fit(own, dataset, seed, _counted(on_epoch, epochs))
                losses.append(found["train/loss"])
                epochs += self.config.epochs
            likelihoods = self._likelihoods(preferences, dataset, people, self.config.groups)
            wanted = _assigned(likelihoods)
            moved = int((wanted != groups).sum())
            chosen = likelihoods[np.arange(len(names)), wanted]
            metrics = {
                "train/loss": float(np.mean(losses)),
                "train/log_likelihood": float(chosen.sum() / len(preferences)),
                "train/moved": float(moved),
            }
            if not moved:
                break
            groups = wanted
        self.config.people = {
            str(name): int(group) for name, group in zip(names, groups, strict=True)
        }
        for group, model in enumerate(self.rewards):
            learned = relabel(dataset, model).mean
            self.centre[group] = float(learned.mean())
            self.spread[group] = float(learned.std()) or 1.0
        return metrics

    def _first_groups(
        self,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        people: NDArray[np.int64],
        seed: int,
        start: list[dict[str, Tensor]],
    ) -> NDArray[np.int64]:
        """(people,): everybody with the one of `G` different people whose reward fits them best.

        The first is who gave most labels; each further one whose labels the rewards of those before
        explain worst. From groups at random, in which people of all wishes are mixed, learning does
        not get away.
        """
        counts = np.bincount(people)
        chosen = int(counts.argmax())
        for group, model in enumerate(self.rewards):
            model.load_state_dict(start[group])
            own = preferences[people == chosen]
            # Whoever gave the same answer throughout says nothing by themselves.
            if np.ptp(own.labels) > 0.0:
                model.fit(own, dataset, seed)
            likelihoods = self._likelihoods(preferences, dataset, people, group + 1)
            chosen = int((likelihoods.max(1) / counts).argmin())
        return _assigned(likelihoods)

    def _likelihoods(
        self,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        people: NDArray[np.int64],
        groups: int,
    ) -> NDArray[np.float64]:
        """(people, groups): log-likelihood of everybody's labels under the first rewards."""
        found = np.zeros((int(people.max()) + 1, groups))
        for group, model in enumerate(self.rewards[:groups]):
            logits = sum_differences(relabel(dataset, model).mean, preferences, dataset)
            # y log sigmoid(d) + (1 - y) log sigmoid(-d)
            each = -np.logaddexp(0.0, -logits) * preferences.labels - np.logaddexp(0.0, logits) * (
                1.0 - preferences.labels
            )
            np.add.at(found[:, group], people, each * preferences.confidence)
        return found

    @torch.no_grad()
    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        """The smallest standardised reward of any group, with that group's deviation."""
        predictions = [model.predict(segments) for model in self.rewards]
        means = torch.stack([each.mean for each in predictions])
        means = (means - self.centre[:, None, None]) / self.spread[:, None, None]
        mean, worst = means.min(0)
        std = None
        if all(each.std is not None for each in predictions):
            stds = torch.stack([each.std for each in predictions if each.std is not None])
            stds = stds / self.spread[:, None, None]
            std = stds.gather(0, worst[None])[0] * segments.mask
        return RewardPrediction(mean * segments.mask, std)


def _assigned(likelihoods: NDArray[np.float64]) -> NDArray[np.int64]:
    """(people,): the most likely group of each; none is left without anybody."""
    groups: NDArray[np.int64] = likelihoods.argmax(1)
    for group in range(likelihoods.shape[1]):
        if not (groups == group).any():
            # Whoever loses least by going there, out of a group of several.
            loss = likelihoods.max(1) - likelihoods[:, group]
            alone = np.bincount(groups, minlength=likelihoods.shape[1])[groups] == 1
            groups[np.where(alone, np.inf, loss).argmin()] = group
    return groups


def _counted(on_epoch: OnEpoch, before: int) -> OnEpoch:
    """Tells of epochs with those of earlier trainings counted in."""
    return lambda epoch, metrics: on_epoch(before + epoch, metrics)

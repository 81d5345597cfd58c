"""Rewards that differ from person to person."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection

from robopref.errors import InputError
from robopref.preferences.dataset import Preferences
from robopref.rewards.base import RewardModel

LEAST_LABELS = 2
"""Of a person, to say anything about what they want."""


class PersonalReward(RewardModel):
    """Predicts one reward for everybody; `of` gives one person's."""

    @abstractmethod
    def of(self, annotator: str) -> RewardModel:
        """The reward of one of those who gave labels.

        Raises:
            InputError: if the person gave none.
        """


def personal(model: RewardModel, annotator: str, folder: str) -> RewardModel:
    """The reward of one person, or the model itself where no person is named.

    Args:
        model: from `folder`.
        annotator: whose reward is wanted; empty for the model's own.
        folder: for the message.

    Raises:
        InputError: if the model is one for all, or does not know the person.
    """
    if not annotator:
        return model
    if not isinstance(model, PersonalReward):
        raise InputError(
            f"whose={annotator}: the reward of {folder} is {model.name}, one for all annotators; "
            "train one with reward=groups or reward=vpl"
        )
    return model.of(annotator)


def check_people(preferences: Preferences) -> None:
    """Raises `InputError` unless everybody gave enough labels to be told apart from others."""
    for name, count in sorted(Counter(preferences.annotator.tolist()).items()):
        if count < LEAST_LABELS:
            raise InputError(
                f"preferences: annotator {name} gave {count} label, but what a person wants shows "
                f"in {LEAST_LABELS} at least; ask more or drop the row"
            )


def check_known(annotator: str, people: Collection[str]) -> None:
    """Raises `InputError` unless the person is among those who gave labels."""
    if annotator not in people:
        raise InputError(
            f"whose={annotator}: gave no label to this reward; choose from "
            f"{', '.join(sorted(people))}"
        )

"""What a step of a session is worth beside success: a learned reward, which corrections may teach.

HIL-SERL pays success alone. A reward that was learned before, as from transferred preferences, says
from the first step on what leads there; and each takeover is a comparison (see corrections.py),
from which it is learned anew while the session runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.images import named_images, seen
from robopref.errors import InputError
from robopref.hil.corrections import correction_preferences
from robopref.hil.steps import Steps, session_dataset
from robopref.rewards.base import RewardModel
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.visual import encoded, encoder_of
from robopref.structures import SegmentBatch


@dataclass
class SessionRewardConfig:
    """How a learned reward counts."""

    weight: float = 1.0
    """What an episode of its best steps is worth, in successes."""
    learn_every: int = 0
    """Takeovers after which a reward is learned from all corrections so far; 0 for never."""
    segment_steps: int = 15
    """Most steps on either side of a takeover that are compared."""

    def __post_init__(self) -> None:
        if self.weight < 0.0 or self.learn_every < 0 or self.segment_steps < 3:
            raise InputError(
                f"reward.weight={self.weight}, reward.learn_every={self.learn_every}, "
                f"reward.segment_steps={self.segment_steps}: must be at least 0, 0 and 3"
            )


class SessionReward:
    """Pays steps."""

    def __init__(
        self, config: SessionRewardConfig, start: RewardModel | None = None, seed: int = 0
    ) -> None:
        """
        Args:
            config: how it counts.
            start: the reward until corrections have taught one; nothing is paid without.
            seed: of what is learned.

        Raises:
            InputError: if the reward's size is not known, so that it could outweigh success.
        """
        if start is not None and start.bound is None:
            raise InputError(
                f"rewards=: reward {start.name} is not bounded per step, so that its weight "
                "against success is not known; train one with reward=pearl, bradley_terry or rapl"
            )
        self.config, self.model, self._seed = config, start, seed
        self._taught = 0
        self._encoder = encoder_of(start) if start is not None else None
        """What the reward sees images through, if it looks at them."""
        self._device = torch.device("cpu") if start is None else start.device
        self._latest: dict[str, NDArray[Any]] = {}
        """What it saw last of each actor."""

    def check(
        self, observation_dim: int, action_dim: int, image_shape: Sequence[int] | None
    ) -> None:
        """Before the first step; images (C, H, W) are None without cameras.

        Raises:
            InputError: if the reward was trained for other sizes, or looks at images and there are
                none.
        """
        if self.model is None:
            return
        if self._encoder is not None:
            if image_shape is None:
                raise InputError(
                    f"rewards=: reward {self.model.name} looks at images; give the cameras= that "
                    "it was trained on"
                )
            observation_dim = self._encoder.features(image_shape[0])
        self.model.check_sizes(observation_dim, action_dim)

    def pay(
        self, observations: NDArray[np.float32], actions: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """(N,): of steps, from what the reward sees before them (N, D), and actions (N, A)."""
        model = self.model
        if model is None or not len(actions):
            return np.zeros(len(actions), dtype=np.float32)
        mask = torch.ones(len(actions), 1, device=model.device)
        shown, done = (
            torch.from_numpy(np.asarray(each)).to(model.device).float().unsqueeze(1)
            for each in (observations, actions)
        )
        steps = SegmentBatch(shown, done, mask)
        assert model.bound is not None
        rewards = model.predict(steps).mean[:, 0] * self.config.weight / model.bound
        return rewards.cpu().numpy().astype(np.float32)

    def pay_dataset(self, dataset: TrajectoryDataset) -> NDArray[np.float32]:
        """(N,): of all steps of a dataset, which has images if the reward looks at them."""
        shown: NDArray[Any] = dataset.flat_observations
        if self._encoder is not None:
            shown = encoded(named_images(dataset.observations), self._encoder, self._device)
        return self.pay(shown[dataset.observation_rows], np.asarray(dataset.actions, np.float32))

    def pay_steps(self, actor: str, steps: Steps) -> NDArray[np.float32]:
        """(N,): of the next steps of an actor, with images if the reward looks at them."""
        if self._encoder is None:
            return self.pay(steps.observations, steps.actions)
        after = seen(self._encoder, steps.next_images, self._device)
        before = np.empty_like(after)
        before[1:] = after[:-1]
        if steps.starts.any():
            before[steps.starts] = seen(self._encoder, steps.first_images, self._device)
        if not steps.starts[0]:
            before[0] = self._latest[actor]
        self._latest[actor] = after[-1]
        return self.pay(before, steps.actions)

    def is_due(self, count: int) -> bool:
        """Whether so many takeovers are enough new ones to learn from."""
        every = self.config.learn_every
        return bool(every) and count // every > self._taught // every

    def learn(self, session: Sequence[Steps], count: int) -> bool:
        """Learns from the corrections of a session.

        Args:
            session: all steps of each actor.
            count: takeovers in it.

        Returns:
            Whether there is a new reward.
        """
        self._taught = count
        dataset = session_dataset(session, "session")
        try:
            labels = correction_preferences(dataset, self.config.segment_steps, datetime.now(UTC))
            model = make_reward(BradleyTerryConfig(actions=True), dataset, self._seed)
            model.fit(labels, dataset, self._seed)
        except InputError:  # too little to compare so far
            return False
        self.model, self._encoder = model, None
        return True


def takeovers(steps: Steps, before: bool = False) -> int:
    """How often a person took over, who drove in the step `before` these or not."""
    driven = np.concatenate([[before], steps.intervened[:-1]]) & ~steps.starts
    return int((steps.intervened & ~driven).sum())

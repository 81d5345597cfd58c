"""A reward that was learned before pays a policy that acts.

What a learned reward adds to every step, and how large its steps are, is arbitrary, yet how fast
values are learned depends on both. So before the first update everything paid so far, the
demonstrations' steps among it, is brought to standard deviation 1 as a dataset's rewards are (see
`reward_scale`), and what follows is paid on that scale.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from robopref.data.images import named_images
from robopref.data.normalization import reward_scale
from robopref.data.replay import ReplayBuffer
from robopref.errors import InputError
from robopref.evaluation.rollout import flatten
from robopref.files import read_json, write_json
from robopref.rewards.base import RewardModel
from robopref.rewards.relabel import Caution
from robopref.rewards.visual import encoded, encoder_of
from robopref.structures import SegmentBatch

SCALE_FILE = "saved_reward.json"


class SavedReward:
    """Pays steps by a fitted reward model, of states or of images."""

    def __init__(
        self,
        model: RewardModel,
        replay: ReplayBuffer,
        caution: Caution,
        whose: str = "",
        demonstrations: NDArray[np.float32] | None = None,
    ) -> None:
        """
        Args:
            model: fitted; one that looks at images is shown the environment's.
            replay: what is paid.
            caution: what is taken off where the model is unsure.
            whose: the annotator whose reward the model is, of several; a run does not go on with
                another one's.
            demonstrations: (P,) what the model and `caution` make of the demonstrations' steps.

        Raises:
            InputError: if the model looks at images and its encoder cannot be had.
        """
        self.model, self._replay, self._caution, self._whose = model, replay, caution, whose
        self._encoder = encoder_of(model)
        self._past: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        """Observation and action of the episode's steps that the next one's reward depends on."""
        self.scale: tuple[float, float] | None = None
        """What is taken from a reward, and what it is then divided by, once that is known."""
        if demonstrations is not None:
            paid = torch.from_numpy(demonstrations).to(replay.rewards)
            replay.rewards[replay.demonstration_rows] = paid

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with this one."""
        weights = safetensors.torch.save(
            {name: value.contiguous() for name, value in self.model.state_dict().items()}
        )
        digest = hashlib.sha256(weights).hexdigest()[:16]
        return {"model": self.model.name, "weights": digest, "whose": self._whose} | asdict(
            self._caution
        )

    def check(self, observation: Any, action_dim: int) -> None:
        """Tries one step, so that what does not fit is told before the long work.

        Args:
            observation: of the environment, as it comes.
            action_dim: `A`.

        Raises:
            InputError: as `look`, if the sizes differ from those that the model was trained for, or
                it does not say how sure it is and is to be read with caution.
        """
        self.model.check_sizes(len(self.look(observation)), action_dim)
        self.pay(observation, np.zeros(action_dim, dtype=np.float32))
        self._past.clear()

    def look(self, observation: Any) -> NDArray[np.float32]:
        """(D,): what the model sees of an environment's observation.

        Raises:
            InputError: if the model looks at images and the observation has none.
        """
        if self._encoder is None:
            return flatten(observation)
        images = {name: image[None] for name, image in named_images(observation).items()}
        if not images:
            raise InputError(
                f"rewards=: looks at images through {self._encoder.name}, and the environment "
                "shows none; give the cameras= that it was trained on"
            )
        features = encoded(images, self._encoder, self.model.device)[0]
        return np.asarray(features, dtype=np.float32)

    def pay(self, observation: Any, action: NDArray[np.float32]) -> float:
        """Reward of one step, from the raw observation before it and the action (A,).

        A model that looks back is shown the whole episode so far at every step.
        """
        if not self.model.looks_back:
            self._past.clear()
        self._past.append((self.look(observation), action))
        observations, actions = (
            torch.from_numpy(np.stack(parts))[None].to(self.model.device)
            for parts in zip(*self._past, strict=True)
        )
        mask = torch.ones(observations.shape[:2], device=self.model.device)
        episode = SegmentBatch(observations, actions, mask)
        offset, size = self.scale or (0.0, 1.0)
        return (float(self._caution.rewards(self.model, episode)[0, -1]) - offset) / size

    def before_update(self) -> None:
        """Takes the scale from what was paid so far, once.

        Raises:
            InputError: if all steps were paid alike.
        """
        if self.scale is not None:
            return
        steps = self._replay.valid
        paid, ends = self._replay.rewards[steps], self._replay.terminated[steps]
        scale = reward_scale(paid.cpu().numpy(), ends.cpu().numpy())
        if math.isinf(scale[1]):
            raise InputError(
                f"rewards=: pays all {len(paid)} steps before the first update alike, so that its "
                "scale is not known; give more online.random_steps=, or a dataset="
            )
        self.scale = scale
        self._bring_to_scale(steps)

    def after_episode(self, step: int, replay: ReplayBuffer) -> dict[str, float]:
        """Forgets the episode; there are no metrics."""
        self._past.clear()
        return {}

    def save(self, folder: Path) -> None:
        """Writes the scale; the model stays in its own folder."""
        write_json(folder / SCALE_FILE, {"scale": self.scale})

    def load(self, folder: Path) -> None:
        """Takes the scale that `save` wrote.

        Raises:
            InputError: if the file is missing or damaged.
        """
        try:
            scale = read_json(folder / SCALE_FILE)["scale"]
            self.scale = scale and (float(scale[0]), float(scale[1]))
        except (TypeError, KeyError, ValueError, IndexError) as error:
            raise InputError(f"{folder / SCALE_FILE}: damaged; remove this checkpoint") from error
        if self.scale:  # a checkpoint holds what the policy did itself, on this scale already
            self._bring_to_scale(self._replay.demonstration_rows)

    def _bring_to_scale(self, steps: Tensor) -> None:
        assert self.scale is not None
        offset, size = self.scale
        self._replay.rewards[steps] = (self._replay.rewards[steps] - offset) / size

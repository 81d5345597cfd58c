"""Policies of the visual benchmark that act while they learn, on X-MAGICAL's Avoid.

IQL does not learn this task from the videos, with the true reward neither. RLPD does: it acts on
the state, half of its batches are the videos' steps, and every step of either is paid by a reward
that sees the camera's picture alone. Rewards are those of `visual_rewards` at its main number of
labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.data.normalization import reward_scale
from robopref.data.replay import ReplayBuffer
from robopref.data.robomimic import load_dataset
from robopref.policies.registry import new_policy
from robopref.policies.rlpd import RLPDConfig
from robopref.processes import long_time_slices, one_thread
from robopref.rewards.relabel import Caution
from robopref.training.evaluated import EvaluationConfig
from robopref.training.online import OnlineTrainingConfig, train_online
from robopref.training.saved_reward import SavedReward
from visual_baselines import PixelReward, small_picture
from visual_policies import CLONING, TRUTH, ZERO, Run
from visual_rewards import (
    ARMS,
    IMAGE_SIZE,
    MAIN_LABELS,
    TASKS,
    labelled,
    rewards_of,
)

ONLINE_TASKS = ("avoid",)
"""Group is not learned so: with the true reward 6 % succeed after 24,000 steps."""
ONLINE_ARMS = (TRUTH, *ARMS, ZERO, CLONING)
STEPS, N_STEP = 8_000, 5
POLICY = RLPDConfig(hidden=[128, 128], critics=2, critic_steps=1, initial_temperature=0.1)
"""With targets over one step, or much entropy at first, the true reward is not learned so soon."""


class _PaidByPictures(SavedReward):
    """Shows the reward the picture itself."""

    def look(self, observation: Any) -> NDArray[np.float32]:
        """(D,): as `SavedReward.look`."""
        return small_picture(observation)


class OnlineRun(Run):
    """One policy that acts for `updates` steps, with as many updates."""

    learner = "rlpd"

    def make(self) -> None:
        """Learns the reward, then trains and evaluates in this process."""
        one_thread()
        long_time_slices()
        task = TASKS[self.task]
        dataset = task.recorded(self.folder, self.task, self.videos)
        model = None
        if self.arm in ARMS:
            preferences = labelled(dataset, MAIN_LABELS, self.seed, self.videos)
            model = ARMS[self.arm](preferences, dataset, self.seed)
        kwargs = dict(task.kwargs)
        if model is not None:
            kwargs |= {"cameras": [task.camera], "image_size": IMAGE_SIZE}
        states = load_dataset(dataset.source, images=False)
        sizes = states.flat_observations.shape[1], states.actions.shape[1]
        config = OnlineTrainingConfig(
            steps=self.updates, random_steps=0, n_step=N_STEP, seed=self.seed
        )
        scale = (0.0, math.inf)
        if self.arm == TRUTH:
            scale = reward_scale(states.rewards, states.terminated)
        policy = new_policy(POLICY, *sizes, self.seed)
        policy.standardizer.fit(states.flat_observations)
        replay = ReplayBuffer(self.updates + 1_000, *sizes, states, reward_scale=scale)
        paying = None
        if model is not None:
            source = _PaidByPictures if isinstance(model, PixelReward) else SavedReward
            paying = source(model, replay, Caution(), "", rewards_of(model, dataset))
        self.own.mkdir(parents=True, exist_ok=True)
        train_online(
            policy,
            task.env_id,
            kwargs,
            replay,
            config,
            EvaluationConfig(episodes=self.episodes, episodes_on_the_way=0),
            self.own,
            paying,
        )


def online_runs(
    folder: Path, tasks: Sequence[str], seeds: int, videos: int, steps: int, episodes: int
) -> list[Run]:
    """All of them, by seed; cloning does not act."""
    return [
        (Run if arm == CLONING else OnlineRun)(
            folder, task, arm, seed, False, videos, steps, episodes
        )
        for seed in range(seeds)
        for task in tasks
        for arm in ONLINE_ARMS
    ]

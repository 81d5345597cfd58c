"""Plays a saved policy in its environment: success, return, and a video.

Success counts at any step (Meta-World's own rule) and at the last step. Every episode has a fresh
start and goal; equal seeds give equal ones, whatever the policy.

Examples:
  robopref evaluate policy=runs/train/drawer/policy env=metaworld/drawer-open-v3
  robopref evaluate policy=runs/train/drawer/policy env=metaworld/drawer-open-v3 video=true
  robopref evaluate policy=runs/train/can/policy dataset=can.hdf5
  robopref evaluate -m policy=a/policy,b/policy env=metaworld/drawer-open-v3 episodes=100
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from omegaconf import MISSING

from robopref.cli.config import run
from robopref.cli.runs import run_folder
from robopref.data.robomimic import load_dataset
from robopref.environments import environment_options, recorded_env
from robopref.errors import InputError
from robopref.evaluation.rollout import evaluate, record_video
from robopref.files import write_json
from robopref.policies.registry import load_policy
from robopref.report.outcomes import outcome_line, outcome_metrics
from robopref.report.video import write_mp4
from robopref.training.evaluated import RESULT_FILE, save_result

FILMED = 3
"""Episodes in the video, the first ones of the evaluation."""


@dataclass
class EvaluateConfig:
    """Options of `robopref evaluate`."""

    policy: str = MISSING
    """Folder of the saved policy."""
    env: str = ""
    """Gymnasium id, such as metaworld/drawer-open-v3."""
    dataset: str = ""
    """In place of env: robomimic file, played in the environment that it was recorded in."""
    episodes: int = 50
    """Episodes to play."""
    horizon: int = 0
    """Steps of an episode, the environment's own number when 0."""
    cameras: list[str] = field(default_factory=list)
    """With env, for a policy that looks at images: the cameras that it was trained with."""
    image_size: int = 84
    """Width and height of their images in pixels."""
    seed: int = 0
    """Seed of starts and goals."""
    video: bool = False
    """Whether to film the first episodes."""
    workers: int = 0
    """Processes, one for each core when 0."""
    cluster: str = ""
    """Where episodes are played: on this machine when empty, or ray, or a Ray cluster's address."""
    name: str = ""
    """Name of the run's folder under runs/evaluate, the time of day when empty."""

    def __post_init__(self) -> None:
        if bool(self.env) == bool(self.dataset):
            raise InputError("env=, dataset=: one of them must be given; see --help for examples")
        for name, least in (("episodes", 1), ("horizon", 0), ("seed", 0), ("workers", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)}: must be at least {least}")


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    run("evaluate", EvaluateConfig, arguments, evaluate_policy)


def evaluate_policy(config: EvaluateConfig) -> None:
    """Plays the episodes and writes what came out."""
    policy = load_policy(config.policy)
    env_id, env_kwargs = _environment(config, policy.image_shape is not None)
    with run_folder("evaluate", config.name, config) as folder:
        frames = [
            record_video(policy, env_id, env_kwargs, config.seed, episode)
            for episode in range(min(FILMED, config.episodes) if config.video else 0)
        ]
        result = evaluate(
            policy, env_id, env_kwargs, config.episodes, config.seed, config.workers,
            cluster=config.cluster,
        )  # fmt: skip
        if frames:
            write_mp4(folder / "video.mp4", np.concatenate(frames))
        save_result(folder / RESULT_FILE, result)
        metrics = outcome_metrics(result)
        write_json(folder / "metrics.json", metrics)
    print(f"{folder}: {outcome_line(metrics)}")


def _environment(config: EvaluateConfig, images: bool) -> tuple[str, dict[str, Any]]:
    """Gymnasium id and arguments."""
    if not config.dataset:
        options = environment_options(config.horizon, config.cameras, config.image_size)
        return config.env, options
    dataset = load_dataset(config.dataset, episodes=[0], images=False)
    env_id, env_kwargs = recorded_env(dataset.env_args, dataset.observations, images)
    return env_id, {**env_kwargs, **environment_options(config.horizon)}

"""Records demonstrations of mixed quality from an environment's scripted demonstrators.

With `mix=policy` it records what a saved policy does, its actions drawn at random.

The result is a robomimic HDF5 file. A file that is there is gone on with, so a broken-off
collection is finished by the same command.

Examples:
  robopref collect env=metaworld/button-press-v3
  robopref collect env=metaworld/drawer-open-v3 mix=scarce episodes=200 output=scarce.hdf5
  robopref collect env=robosuite/lift mix=multi_human
  robopref collect env=robosuite/lift cameras=[agentview] image_size=84 output=pictures.hdf5
  robopref collect env=metaworld/drawer-open-v3 cameras=[corner2] distractors=[object,lighting]
  robopref collect env=metaworld/drawer-open-v3 mix=expert mix.noise=0.05 output=quiet.hdf5
  robopref collect env=robosuite/lift episodes=10000 cluster=ray
  robopref collect env=robosuite/lift mix=policy mix.policy=runs/train/lift/policy output=own.hdf5
  robopref collect -m env=metaworld/reach-v3,metaworld/push-v3 mix=mixed,scarce
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import MISSING
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robopref.cli.config import run
from robopref.cli.runs import run_folder
from robopref.environments import environment_options
from robopref.errors import InputError
from robopref.files import write_json

POLICY = "policy"
"""Key of a mix that is a saved policy."""


@dataclass
class CollectConfig:
    """Options of `robopref collect`."""

    env: str = MISSING
    """Gymnasium id, such as metaworld/button-press-v3 or robosuite/lift."""
    mix: dict[str, Any] = field(default_factory=dict)
    """Which behaviours occur how often (mix.shares), and their action noise (mix.noise); or
    policy, what a saved one does (mix.policy, its folder)."""
    episodes: int = 120
    """Episodes that the file is to hold."""
    horizon: int = 0
    """Steps of an episode, the environment's own number when 0."""
    cameras: list[str] = field(default_factory=list)
    """Cameras whose pictures are recorded, such as [agentview] of robosuite."""
    image_size: int = 84
    """Width and height of the pictures."""
    distractors: list[str] = field(default_factory=list)
    """What the pictures show that has nothing to do with the task: texture, lighting, object,
    jitter."""
    seed: int = 0
    """Seed of goals, behaviours and noise."""
    output: str = MISSING
    """The robomimic HDF5 file."""
    workers: int = 0
    """Processes, one for each core when 0."""
    cluster: str = ""
    """Where episodes are played: on this machine when empty, or ray, or a Ray cluster's address."""
    name: str = ""
    """Name of the run's folder under runs/collect, the time of day when empty."""

    def __post_init__(self) -> None:
        least_values = (
            ("episodes", 1), ("horizon", 0), ("image_size", 1), ("seed", 0), ("workers", 0),
        )  # fmt: skip
        for name, least in least_values:
            if getattr(self, name) < least:
                raise InputError(f"{name}={getattr(self, name)}: must be at least {least}")
        if POLICY in self.mix and len(self.mix) > 1:
            raise InputError(f"mix={POLICY}: takes mix.{POLICY} and nothing beside it")
        if self.distractors and not self.cameras:
            raise InputError("distractors=: are seen through cameras; give cameras= too")

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of the environment."""
        return environment_options(self.horizon, self.cameras, self.image_size, self.distractors)


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    run("collect", CollectConfig, arguments, collect_episodes)


def collect_episodes(config: CollectConfig) -> None:
    """Fills the file and says what is in it."""
    # torch comes with these, and help must not wait for it
    from robopref.data.collect import collect
    from robopref.data.robomimic import load_dataset
    from robopref.evaluation.recording import record_rollouts
    from robopref.policies.registry import load_policy

    path = Path(config.output)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("episodes saved"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns)
    bar = progress.add_task(config.env, total=config.episodes)

    def show(saved: int) -> None:
        progress.start()  # not before the input has proved right
        progress.update(bar, completed=saved)

    start = time.monotonic()
    record: Callable[..., None] = partial(collect, mix=config.mix)
    if POLICY in config.mix:
        record = partial(record_rollouts, load_policy(config.mix[POLICY]))
    with run_folder("collect", config.name, config) as folder:
        try:
            record(
                env_id=config.env,
                env_kwargs=config.env_kwargs,
                episodes=config.episodes,
                seed=config.seed,
                path=path,
                workers=config.workers,
                on_saved=show,
                cluster=config.cluster,
            )
        finally:
            if progress.live.is_started:
                progress.stop()
        dataset = load_dataset(path)
        metrics = {
            "episodes": len(dataset),
            "steps": dataset.num_steps,
            "success_rate": float(dataset.episode_success.mean()),
            "mean_return": float(dataset.returns.mean()),
            "seconds": round(time.monotonic() - start, 2),
        }
        write_json(folder / "metrics.json", metrics)
    print(
        f"{path}: {len(dataset)} episodes, {dataset.num_steps} steps, "
        f"{100 * metrics['success_rate']:.0f} % successful"
    )

"""Records what a person does with a robot: demonstrations, and failures beside them.

Nothing learns, and the robot stands still while the hands are off. Every step is on the disk before
it counts; after a kill the same command with resume= goes on. What comes of it are
demonstrations.hdf5, the episodes that succeeded, for dataset= of a session or of any training, and
session.hdf5, all episodes.

Examples:
  robopref hil record env=metaworld/drawer-close-v3 operator=browser acting.rate_hz=20 episodes=10
  robopref hil record env=metaworld/drawer-close-v3 operator=synthetic synthetic.patience=1 name=d
  robopref hil record env=E robot.address=127.0.0.1:50052 operator=gamepad acting.rate_hz=20
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from robopref.cli.config import run
from robopref.cli.hil_driving import (
    DrivingConfig,
    camera_names,
    chosen_operator,
    driven_robot,
    judge,
    played,
    sizes,
)
from robopref.cli.hil_outcome import SESSION_FILE, save_again, told
from robopref.cli.runs import run_folder
from robopref.cli.stopping import stopped_gently
from robopref.errors import InputError
from robopref.hil.actor import Actor
from robopref.hil.log import StepLog
from robopref.hil.steps import session_dataset
from robopref.processes import one_thread

DEMONSTRATIONS_FILE = "demonstrations.hdf5"


@dataclass
class HilRecordConfig(DrivingConfig):
    """Options of `robopref hil record`."""

    episodes: int = 10
    """Successful episodes after which it ends; 0 for until it is stopped."""
    resume: str = ""
    """Folder of a recording to go on with."""
    name: str = ""
    """Name of the run's folder under runs/hil-record, the time of day when empty."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.operator == "none":
            raise InputError("operator=none: somebody has to drive; choose another operator")
        if self.episodes < 0:
            raise InputError(f"episodes={self.episodes}: must be at least 0")


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    run("hil-record", HilRecordConfig, arguments, record)


def record(config: HilRecordConfig) -> None:
    """Plays episodes by hand, and writes them."""
    one_thread()
    env = driven_robot(config, "record")
    of_steps = sizes(env)
    with run_folder("hil-record", config.name, config) as folder:
        steps = StepLog(folder / "steps" / "person.steps", *of_steps)
        with chosen_operator(config, env) as operator, stopped_gently() as stop:
            before = steps.all()
            successes = 0 if before is None else int((before.success & before.terminated).sum())
            actor = Actor(
                env, Still(of_steps.action_dim), 0, operator, steps, config.acting,
                looks=bool(config.cameras), judge=judge(config),
            )  # fmt: skip
            while not stop and (not config.episodes or successes < config.episodes):
                outcome = played(actor)
                if outcome is None:
                    break
                successes += outcome.success
                print(f"{successes} successes: {told(outcome)}", flush=True)
        found = steps.all()
        steps.close()
        if found is None:
            print(f"{folder}: no step was made")
            return
        dataset = session_dataset([found], str(folder), camera_names(env), env.observation_space)
        dataset = replace(dataset, env_args=getattr(env.unwrapped, "env_args", {}))
        save_again(folder / SESSION_FILE, dataset)
        good = np.flatnonzero(np.logical_or.reduceat(dataset.success, dataset.offsets[:-1]))
        if len(good):
            save_again(folder / DEMONSTRATIONS_FILE, dataset.subset(good))
    env.close()
    print(f"{folder}: {len(good)} of {len(dataset)} episodes succeeded, {len(found)} steps")


class Still:
    """A policy that does nothing."""

    def __init__(self, action_dim: int) -> None:
        self._action_dim = action_dim

    def act(
        self,
        observations: NDArray[np.float32],
        deterministic: bool = True,
        generator: torch.Generator | None = None,
        **images: NDArray[np.uint8],
    ) -> NDArray[np.float32]:
        """(B, A): zeros."""
        return np.zeros((len(observations), self._action_dim), dtype=np.float32)

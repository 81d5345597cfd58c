"""Checkpoints: all that a resumed run needs to equal an uninterrupted one.

A checkpoint is a folder that appears by one rename: the saved policy, `training.safetensors`
(optimizer state and the sampler's random state), `training.json`, and what companions of the
policy, such as a replay buffer, write there.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from torch import Tensor

from robopref.errors import InputError
from robopref.files import atomic_folder, existing_file, read_json, write_json
from robopref.policies.base import Policy

KEPT = 2
"""Checkpoints kept: if the newest is lost with its disk block, the one before is there."""
TENSORS, STEP = "training.safetensors", "training.json"


class Companion(Protocol):
    """Something beside the policy that a resumed run needs as it was."""

    def save(self, folder: Path) -> None:
        """Writes files of its own into a checkpoint."""

    def load(self, folder: Path) -> Any:
        """Takes over what `save` wrote."""


def save_checkpoint(
    folder: Path,
    policy: Policy,
    generator: torch.Generator,
    step: int,
    settings: dict[str, Any],
    companions: Sequence[Companion] = (),
) -> None:
    """Writes the checkpoint of `step` under `folder` and removes all but the last two.

    Args:
        folder: the run's `checkpoints` folder.
        policy: its weights and optimizer state are saved.
        generator: the sampler's.
        step: updates done.
        settings: what a resumed run must have in common with this one.
        companions: saved with it.
    """
    with atomic_folder(folder / f"{step:08d}") as temporary:
        policy.save(temporary)
        tensors = optimizer_tensors(policy.optimizer)
        tensors["generator"] = generator.get_state()
        safetensors.torch.save_file(tensors, temporary / TENSORS)
        for companion in companions:
            companion.save(temporary)
        write_json(temporary / STEP, {"step": step, "settings": settings})
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)


def restore_checkpoint(
    folder: Path,
    policy: Policy,
    generator: torch.Generator,
    settings: dict[str, Any],
    companions: Sequence[Companion] = (),
) -> int:
    """Restores the newest checkpoint under `folder`, if there is one.

    Returns:
        Updates done, 0 when there is no checkpoint.

    Raises:
        InputError: if the checkpoint is damaged or of a run with other settings.
    """
    found = checkpoints(folder)
    if not found:
        return 0
    newest = found[-1]
    state = read_json(newest / STEP)
    for key, value in settings.items():
        if state["settings"].get(key) != value:
            raise InputError(
                f"{newest}: was made with {key}={state['settings'].get(key)}, now {value}; "
                "choose another run folder or the old setting"
            )
    policy.load(newest)
    path = existing_file(newest / TENSORS)
    try:
        tensors = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(f"{path}: damaged ({error}); remove this checkpoint") from error
    generator.set_state(tensors.pop("generator"))
    restore_optimizer(policy.optimizer, tensors)
    for companion in companions:
        companion.load(newest)
    return int(state["step"])


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints under `folder`, oldest first."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())


def newest_step(folder: Path) -> int:
    """Step of the newest checkpoint under `folder`, 0 when there is none."""
    found = checkpoints(folder)
    return int(found[-1].name) if found else 0


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of an optimizer as named tensors, such as `3.exp_avg`."""
    return {
        f"{index}.{name}": value.detach().contiguous()
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})

"""Models in folders: weights as safetensors, kind, sizes and config as JSON.

Policies and reward models are saved alike; `kind` is `policy` or `reward`, and names the JSON file
and the entry that says which one it is. A model is an `nn.Module` with `name`, `config` (a
dataclass), `observation_dim`, `action_dim` and `device`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from robopref.errors import InputError
from robopref.files import atomic_path, existing_file, read_json, write_json

WEIGHTS = "weights.safetensors"


def save_model(model: Any, kind: str, folder: Path) -> None:
    """Writes weights, config, sizes and statistics into a folder, the description last."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        safetensors.torch.save_file(weights, temporary)
    write_json(folder / f"{kind}.json", model_description(model, kind))


def model_description(model: Any, kind: str) -> dict[str, Any]:
    """Which model it is, its sizes and config: what a saved one has beside its weights."""
    return {
        kind: model.name,
        "observation_dim": model.observation_dim,
        "action_dim": model.action_dim,
        "config": dataclasses.asdict(model.config),
    }


def load_weights(model: Any, kind: str, folder: Path) -> None:
    """Gives a model the weights and statistics of a saved one of the same kind and sizes.

    Raises:
        InputError: if the folder has none or they do not fit.
    """
    path = existing_file(folder / WEIGHTS)
    try:
        model.load_state_dict(safetensors.torch.load_file(path, device=str(model.device)))
    except (safetensors.SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: damaged or of another {kind} ({reason}); train or copy it again"
        ) from error


def read_description(kind: str, folder: Path) -> dict[str, Any]:
    """Reads which model, its sizes and config.

    Raises:
        InputError: if the file is missing, not JSON, or lacks an entry.
    """
    path = folder / f"{kind}.json"
    description = read_json(path)
    wanted = {kind, "observation_dim", "action_dim", "config"}
    if not isinstance(description, dict) or not wanted <= description.keys():
        raise InputError(f"{path}: lacks one of {sorted(wanted)}; it is not a saved {kind}")
    return description

"""One run of a sweep: its folder is known beforehand, so that it can be begun again.

Machines of a cluster are lost, and sweeps are interrupted. A run that is started a second time
passes over what is finished, goes on from its checkpoint where its command can, and otherwise
starts over in the same folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robopref.cli.runs import CONFIG_FILE
from robopref.errors import InputError

METRICS_FILE = "metrics.json"
"""Every command writes it last."""


def run_of_sweep(
    command: str, config: Any, sweep: str, number: int, action: Callable[[Any], None]
) -> None:
    """Runs one point of a sweep in `runs/<command>/<name>/<number>`, unless that has been done.

    Args:
        command: name of the command.
        config: its typed config, changed here.
        sweep: name of the sweep's folder where the config names none.
        number: of the point, from 0.
        action: runs a config.

    Raises:
        InputError: if the folder holds a run with other options.
    """
    config.name = f"{config.name or sweep}/{number}"
    folder = Path("runs") / command / config.name
    path = folder / CONFIG_FILE
    if path.is_file():
        check_same_options(folder, OmegaConf.structured(config))
        if (folder / METRICS_FILE).is_file():
            print(f"{folder}: done before")
            return
        if hasattr(config, "resume"):
            config.resume = str(folder)
    if folder.is_dir() and not getattr(config, "resume", ""):
        shutil.rmtree(folder)  # half a run, which its command cannot go on with
    action(config)


def check_same_options(folder: Path, tree: Any, under: str = "") -> None:
    """Raises `InputError` where the run of a folder has other options.

    Args:
        folder: of a run.
        tree: the options now, which may be a part of all.
        under: what the names of this part begin with.
    """
    before, now = _options(OmegaConf.load(folder / CONFIG_FILE)), _options(tree)
    for name, value in now.items():
        found = before.get(f"{under}{name}")
        if name != "resume" and found != value:
            raise InputError(
                f"{folder}: is a run with {under}{name}={found}, not {value}; choose another name="
            )


def _options(tree: Any) -> dict[str, str]:
    """Options with dots in their names to what they are, as YAML writes it."""
    found: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, DictConfig):
            found |= {f"{name}.{inner}": each for inner, each in _options(value).items()}
        else:
            found[str(name)] = OmegaConf.to_yaml(OmegaConf.create([value])).strip()[2:]
    return found


def launcher_overrides(overrides: list[str]) -> list[str]:
    """What a sweep asks Hydra's launcher for, unless the user names a launcher: all cores.

    Args:
        overrides: the user's.
    """
    chosen = [text.split("=", 1)[1] for text in overrides if text.startswith("hydra/launcher=")]
    if not chosen:
        return ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={os.cpu_count()}"]
    if chosen[-1] == "ray":
        # The plugin sets a size otherwise, which Ray refuses where a cluster is there already.
        return ["+hydra.launcher.ray.init.object_store_memory=null"]
    return []

"""The Hydra edge: the YAML tree and command-line overrides become one typed config.

A command is a dataclass (its schema), a file `configs/<command>.yaml` whose defaults list starts
with `<command>_schema`, and a function that takes the config.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

import robopref
from robopref.cli.help import command_help
from robopref.cli.runs import CONFIG_FILE
from robopref.cli.sweep import launcher_overrides, run_of_sweep
from robopref.errors import InputError
from robopref.files import existing_file

HYDRA_BEHAVIOUR = "1.3"
"""Hydra's `version_base`."""
SWEEP = {"-m", "--multirun"}
NOISE_LINES = ("full_key", "object_type")
"""Beginnings of lines of Hydra's messages that say nothing to a user."""

Config = TypeVar("Config")


def shipped_folder(name: str) -> Path:
    """Finds a folder that comes with robopref, in a checkout and in an installed wheel alike.

    Args:
        name: `configs` or `assets`.
    """
    package = Path(robopref.__file__).resolve().parent
    installed, checkout = package / name, package.parent / name
    return installed if installed.is_dir() else checkout


def register(name: str, schema: Any) -> None:
    """Makes a dataclass known to Hydra.

    Args:
        name: `<command>_schema`, or `<group>/<option>` for a choice such as `reward=pearl`.
        schema: plain dataclass with defaults, or an instance of one (a preset).
    """
    group, _, option = name.rpartition("/")
    ConfigStore.instance().store(group=group or None, name=option, node=schema)


def run(
    command: str, schema: type[Config], overrides: Sequence[str], action: Callable[[Config], None]
) -> None:
    """Composes the config of a command and runs it, once or (`-m`) at every point of a sweep.

    Args:
        command: name of the command and of its YAML file.
        schema: dataclass that the config becomes.
        overrides: what the user typed after the command.
        action: runs one config; the docstring of its module is the command's help.

    Raises:
        InputError: if the overrides do not fit the schema.
    """
    register(f"{command}_schema", schema)
    if {"-h", "--help"} & set(overrides):
        print(command_help(command, action, schema, shipped_folder("configs")))
    elif any(text.startswith("resume=") for text in overrides):
        action(stored_config(command, schema, overrides))
    elif SWEEP & set(overrides):
        _sweep(command, schema, [text for text in overrides if text not in SWEEP], action)
    else:
        action(compose(command, schema, overrides))


def compose(command: str, schema: type[Config], overrides: Sequence[str]) -> Config:
    """Returns the typed config; `schema` must be registered as `<command>_schema`."""
    with (
        _one_line_errors(command),
        hydra.initialize_config_dir(str(shipped_folder("configs")), version_base=HYDRA_BEHAVIOUR),
    ):
        try:
            tree = hydra.compose(command, list(overrides), return_hydra_config=True)
        except ValueError as error:  # its own classes for all else, but not for mix=null
            raise HydraException(str(error)) from None
    HydraConfig.instance().set_config(
        tree
    )  # for interpolations such as ${hydra:runtime.choices.mix}
    with open_dict(tree):
        del tree["hydra"]
    return _to_dataclass(command, schema, tree)


def stored_config(command: str, schema: type[Config], overrides: Sequence[str]) -> Config:
    """Returns the config of the run that `resume=` names, with the other overrides on top."""
    with _one_line_errors(command):
        typed = OmegaConf.from_dotlist(list(overrides))
        path = existing_file(Path(str(typed.resume)) / CONFIG_FILE)
        try:
            tree = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.load(path), typed)
        except YAMLError as error:
            raise InputError(f"{path}: not a YAML file; name the folder of a run") from error
    assert isinstance(tree, DictConfig)
    return _to_dataclass(command, schema, tree)


def _to_dataclass(command: str, schema: type[Config], tree: DictConfig) -> Config:
    """Leaves Hydra's world; the schema's own checks run here."""
    known = {field.name for field in fields(schema)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in tree if key not in known)
    if unknown:
        raise InputError(f"{unknown[0]}: no such option; robopref {command} --help lists them")
    with _one_line_errors(command):
        config = OmegaConf.to_object(tree)
    assert isinstance(config, schema)
    return config


def _sweep(
    command: str, schema: type[Config], overrides: list[str], action: Callable[[Config], None]
) -> None:
    """Lets Hydra run every combination, on all cores unless the user names another launcher."""
    sweep, folder = f"sweep-{datetime.now():%Y%m%d-%H%M%S}", os.getcwd()

    @functools.wraps(action)
    def job(tree: DictConfig) -> None:
        os.chdir(folder)  # workers of a cluster start elsewhere
        config = _to_dataclass(command, schema, tree)
        run_of_sweep(command, config, sweep, HydraConfig.get().job.num, action)

    own = [
        f"hydra.sweep.dir=runs/{command}",
        "hydra.sweep.subdir=.",
        "hydra.output_subdir=null",  # a run's own folder holds its config
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
        *launcher_overrides(overrides),
    ]
    configs = str(shipped_folder("configs"))
    entry = hydra.main(version_base=HYDRA_BEHAVIOUR, config_path=configs, config_name=command)(job)
    # Hydra reads the process's own arguments, and exits by itself on errors unless told not to.
    with (
        _one_line_errors(command),
        patch.object(sys, "argv", [f"robopref {command}", "--multirun", "--", *own, *overrides]),
        patch.dict(os.environ, HYDRA_FULL_ERROR="1"),
    ):
        entry()


@contextmanager
def _one_line_errors(command: str) -> Iterator[None]:
    """Turns what Hydra says about wrong overrides into one line."""
    try:
        yield
    except MissingMandatoryValue as error:
        raise InputError(
            f"{error.full_key}=: must be given; robopref {command} --help shows examples"
        ) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(
            f"{_reason(error)}; robopref {command} --help lists the options"
        ) from error


def _reason(error: Exception) -> str:
    """What a message of Hydra's says to a user, on one line."""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: is not of the form option=value (quote unusual values)"
    unknown = re.match(r"(?:Could not override|Key) '(.*?)'", str(error))
    if unknown:
        key = re.search(r"full_key: (\S+)\s+object_type=dict", str(error.__cause__))
        return (
            f"{key[1]}: not there yet; +{key[1]}= adds it"
            if key
            else f"{unknown[1]}: no such option"
        )
    parts = [str(part).split("Config search path")[0] for part in (error, error.__cause__) if part]
    lines = [line.strip() for part in parts for line in part.splitlines()]
    return " ".join(line for line in lines if not line.startswith(NOISE_LINES))

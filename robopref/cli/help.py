"""Help of a command, from what is written once: its module, its dataclass, its config groups."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf


def command_help(command: str, action: Callable[..., None], schema: type, configs: Path) -> str:
    """Returns the help of a command.

    Args:
        command: its name.
        action: its function; the docstring of the function's module opens the help.
        schema: the command's config; the docstring under each field describes the option.
        configs: folder with the command's YAML file, whose defaults win, and the config groups.
    """
    introduction = inspect.cleandoc(sys.modules[action.__module__].__doc__ or "")
    defaults = OmegaConf.to_container(OmegaConf.load(configs / f"{command}.yaml"))
    options = "\n".join(_option_lines(schema, defaults, configs, ""))
    return f"{introduction}\n\nOptions:\n{options}"


def _option_lines(schema: type, defaults: Any, configs: Path, prefix: str) -> Iterator[str]:
    descriptions = _field_docstrings(schema)
    for field in dataclasses.fields(schema):
        default = _default(field)
        chosen = defaults.get(field.name, default)
        if dataclasses.is_dataclass(default):
            nested = vars(chosen) if dataclasses.is_dataclass(chosen) else vars(default) | chosen
            yield from _option_lines(type(default), nested, configs, f"{prefix}{field.name}.")
            continue
        choices = sorted(file.stem for file in (configs / field.name).glob("*.yaml"))
        yield f"  {prefix}{field.name}={'|'.join(choices) or _as_typed(chosen)}"
        yield textwrap.indent(textwrap.fill(descriptions.get(field.name, ""), 88), " " * 6)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _as_typed(value: Any) -> str:
    """`value` as it is typed on the command line."""
    match value:
        case "???":
            return "(must be given)"
        case Enum():
            return value.name
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case _:
            return str(value)


def _field_docstrings(schema: type) -> dict[str, str]:
    """Field name -> the string literal written under it, in the class or one that it extends."""
    found = {}
    for part in reversed(schema.__mro__):
        if not dataclasses.is_dataclass(part):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, following in zip(body.body, body.body[1:], strict=False):
            match field, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(text))):
                    found[name] = " ".join(text.split())
    return found

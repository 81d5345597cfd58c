"""Checks of options that policies share; each raises `InputError` with the option's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robopref.errors import InputError


def check_widths(policy: str, hidden: Sequence[int]) -> None:
    """All layers must have a positive width."""
    if not hidden or min(hidden) < 1:
        raise InputError(f"{policy}.hidden: needs positive widths, found {hidden}")


def check_above_zero(policy: str, config: Any, *names: str) -> None:
    """These options must be above 0."""
    for name in names:
        if getattr(config, name) <= 0:
            raise InputError(f"{policy}.{name}={getattr(config, name)}: must be above 0")


def check_not_negative(policy: str, config: Any, *names: str) -> None:
    """These options must be at least 0."""
    for name in names:
        if getattr(config, name) < 0:
            raise InputError(f"{policy}.{name}={getattr(config, name)}: must be at least 0")


def check_shares(policy: str, config: Any, *names: str) -> None:
    """These options must lie in (0, 1]."""
    for name in names:
        if not 0.0 < getattr(config, name) <= 1.0:
            raise InputError(f"{policy}.{name}={getattr(config, name)}: must be within (0, 1]")

"""The option `device` of commands."""

from __future__ import annotations

import torch

from robopref.errors import InputError


def chosen_device(name: str) -> torch.device:
    """The device that the option `device` means.

    Raises:
        InputError: if there is none of that name.
    """
    try:
        device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
        )
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={name}: cannot be used here; choose auto or cpu") from error
    return device

"""Arguments of the commands that take no Hydra overrides."""

from __future__ import annotations

import argparse
from typing import NoReturn

from robopref.errors import InputError


class ArgumentParser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def __init__(self, command: str) -> None:
        """
        Args:
            command: what the line begins with, such as `data convert`.
        """
        super().__init__(add_help=False, allow_abbrev=False)
        self._command = command

    def error(self, message: str) -> NoReturn:
        """Raises `InputError`."""
        raise InputError(f"{self._command}: {message}; see --help")

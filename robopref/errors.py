"""The one exception for wrong input.

The command line prints its message as a single line and exits with code 2; anything else
that escapes is a defect of robopref and exits with code 1.
"""

from __future__ import annotations


class InputError(ValueError):
    """The user's input is wrong. The message says what, where, and how to mend it."""

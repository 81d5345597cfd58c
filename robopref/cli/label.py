"""`robopref label`: by people in a browser, when a file is its first word, else by a teacher."""

from __future__ import annotations

import gc
from collections.abc import Sequence

# Whoever started the page waits for its first videos, so nothing large is imported before the
# processes that make them are on their way.
from robopref.label.early import import_early


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    if not arguments or not is_for_people(arguments[0]):
        from robopref.cli import label_teacher

        label_teacher.main(arguments)
        return
    first, *rest = arguments
    if not {"--help", "-h", "serve=false"} & set(rest):
        import_early()
    gc.disable()  # a sixth of the time that imports take, and nothing of it could go yet
    from robopref.cli import label_page, label_session  # noqa: F401

    gc.enable()
    label_page.main([first if "=" in first else f"dataset={first}", *rest])


def is_for_people(first: str) -> bool:
    """Whether a command line that starts so is for the label page."""
    return first.startswith("resume=") or ("=" not in first and not first.startswith("-"))

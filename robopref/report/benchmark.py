"""The results of a suite as one page: every figure with its interval, filtered by what it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robopref.report.page import write_page

TABLES: Mapping[str, tuple[str, str]] = {
    "policies": (
        "Policies",
        "Success, on data of which about a fifth of the episodes succeed.",
    ),
    "rewards": ("Rewards", "Right answers on pairs of held-out episodes."),
    "transfers": ("Transferred labels", "Right labels among all pairs of the target's episodes."),
}
"""Title and meaning."""


def write_results_page(
    path: Path, name: str, summary: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]
) -> None:
    """Writes the HTML file, which needs nothing but itself.

    Args:
        path: the file.
        name: of the suite.
        summary: rows of `robopref.benchmark.run.summarise`.
        facts: what else the page says: versions, machine, cells, seconds.
    """
    write_page(
        path, "benchmark.html", name=name, rows=list(summary), tables=dict(TABLES), facts=facts
    )

"""HERON's decision tree as a picture: which factor decided how many pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from robopref.report.figures import BLUE, GREY, STYLE

INK = "#222222"


def hierarchy_picture(decided: Mapping[str, int], pairs: int, path: Path) -> None:
    """Draws the tree from the most important factor down, what each decides to its right.

    Args:
        decided: factor to pairs, the most important first.
        pairs: how many were compared.
        path: PNG file.
    """
    box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": INK}
    with matplotlib.rc_context({**STYLE, "figure.facecolor": "white", "text.color": INK}):
        figure = Figure(figsize=(7.2, 0.5 + 0.95 * (len(decided) + 1)))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, 10), ylim=(-0.6, len(decided) + 0.6))
        axes.axis("off")
        left = pairs
        for level, (name, count) in enumerate(decided.items()):
            height = len(decided) - level
            axes.text(2.4, height, name, ha="center", va="center", bbox=box, weight="bold")
            axes.annotate(
                "", (4.3, height), (3.6, height), arrowprops={"arrowstyle": "-|>", "color": BLUE}
            )
            share = count / pairs if pairs else 0.0
            axes.barh(height, 3.6 * share, height=0.34, left=4.4, color=BLUE)
            axes.text(
                4.55 + 3.6 * share, height, f"differs: decides {count} ({share:.0%})", va="center"
            )
            left -= count
            axes.annotate(
                "", (2.4, height - 0.68), (2.4, height - 0.3),
                arrowprops={"arrowstyle": "-|>", "color": GREY},
            )  # fmt: skip
            axes.text(2.55, height - 0.5, f"within its margin: {left}", va="center", color=GREY)
        axes.text(2.4, 0.0, f"no label: {left}", ha="center", va="center", bbox=box)
        figure.savefig(path, dpi=130, facecolor="white")

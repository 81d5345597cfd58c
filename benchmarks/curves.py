"""Success against steps, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def draw(
    table: Sequence[Mapping[str, Any]], styles: Mapping[str, tuple[str, str]], path: Path
) -> None:
    """Draws a panel for each task: a thin line for each seed, a thick one for their mean.

    Args:
        table: rows with `arm`, `task` and `curve`, pairs of steps and success.
        styles: name and colour of each arm.
        path: PNG file.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    tasks = list(dict.fromkeys(row["task"] for row in table))
    figure, axes = pyplot.subplots(
        1, len(tasks), figsize=(3.4 * len(tasks), 2.9), sharey=True, layout="constrained"
    )
    for axis, task in zip(np.atleast_1d(axes), tasks, strict=True):
        axis.set_title(task.split("/")[-1].removesuffix("-v3").replace("-", " "))
        for arm in dict.fromkeys(row["arm"] for row in table if row["task"] == task):
            curves = [row["curve"] for row in table if (row["arm"], row["task"]) == (arm, task)]
            for curve in curves:
                axis.plot(*zip(*curve, strict=True), color=styles[arm][1], alpha=0.3, linewidth=0.8)
            shortest = min(map(len, curves))
            mean = np.mean([curve[:shortest] for curve in curves], axis=0)
            label = f"{styles[arm][0]} ({len(curves)})"
            axis.plot(mean[:, 0], mean[:, 1], color=styles[arm][1], linewidth=1.8, label=label)
        axis.set_xlabel("steps of the environment")
        axis.legend(fontsize=6.5, loc="upper left", frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    np.atleast_1d(axes)[0].set_ylabel("success")
    np.atleast_1d(axes)[0].set_ylim(-0.03, 1.85)  # the legend stands above the curves
    np.atleast_1d(axes)[0].set_yticks(np.linspace(0.0, 1.0, 6))
    figure.savefig(path, dpi=130)

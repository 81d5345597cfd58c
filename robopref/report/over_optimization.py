"""Picture of true against learned return as a policy trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from robopref.evaluation.over_optimization import LEARNED_RETURN, TRUE_RETURN, divergence_step
from robopref.files import atomic_path
from robopref.report.figures import BLUE, GREY, ORANGE
from robopref.training.logger import read_metrics

LATER = LinearSegmentedColormap.from_list("later", ["#dbe8f8", "#123f7a"])
STYLE: Any = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}


def over_optimization(evaluations: Path, path: Path) -> dict[str, float]:
    """Draws true against learned return, evaluation by evaluation, and marks where they part.

    Args:
        evaluations: folder with the metrics of evaluations on the way; fewer than two with a
            learned return make no picture.
        path: PNG file.

    Returns:
        `returns_part_at`, the step where they part, if they do.
    """
    curve = [line for line in read_metrics(evaluations) if LEARNED_RETURN in line]
    if len(curve) < 2:
        return {}
    parts = divergence_step(curve)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 3.0), layout="constrained")
        axis = figure.subplots()
        learned = [line[LEARNED_RETURN] for line in curve]
        true = [line[TRUE_RETURN] for line in curve]
        axis.plot(learned, true, color=GREY, linewidth=1.0, zorder=1)
        steps = [line["step"] for line in curve]
        dots = axis.scatter(learned, true, c=steps, cmap=LATER, edgecolors=BLUE, linewidths=0.6)
        dots.set_zorder(2)
        figure.colorbar(dots, ax=axis, label="step")
        if parts is not None:
            at = next(line for line in curve if line["step"] == parts)
            axis.annotate(
                f"they part at step {parts}",
                (at[LEARNED_RETURN], at[TRUE_RETURN]),
                xytext=(0, 14),
                textcoords="offset points",
                color=ORANGE,
                ha="center",
                arrowprops={"arrowstyle": "-", "color": ORANGE},
            )
        axis.margins(y=0.2)
        axis.set_xlabel("learned return")
        axis.set_ylabel("true return")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=140)
    return {} if parts is None else {"returns_part_at": float(parts)}

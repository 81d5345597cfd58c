"""Picture of what a success classifier's threshold costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from robopref.files import atomic_path
from robopref.report.figures import BLUE, GREY, ORANGE
from robopref.rewards.classifier import precision_recall

STYLE: Any = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}


def threshold_picture(
    scores: NDArray[np.float32], labels: NDArray[np.bool_], threshold: float, path: Path
) -> None:
    """Draws precision and recall against the threshold, and marks the chosen one.

    Args:
        scores: (N,) probabilities of steps that were kept aside.
        labels: (N,) whether they are successes.
        threshold: the chosen one.
        path: PNG file.
    """
    thresholds, precision, recall = precision_recall(scores, labels)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 3.0), layout="constrained")
        axis = figure.subplots()
        axis.plot(thresholds, precision, color=BLUE, label="precision")
        axis.plot(thresholds, recall, color=ORANGE, label="recall")
        axis.axvline(threshold, color=GREY, linestyle="--", linewidth=1.0)
        axis.annotate(
            f"{threshold:.2g}", (threshold, 0.02), xytext=(4, 0), textcoords="offset points"
        )
        axis.set_xlabel("called a success from this probability on")
        axis.set_ylim(0.0, 1.03)
        axis.set_xlim(0.0, 1.0)
        axis.legend(frameon=False, loc="lower center")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=130, format="png")

"""Figures of reports: SVG that takes the colour of the page's text, so it suits light and dark."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

INK = "#123456"
"""Stands for the colour of the page's text; replaced by CSS's `currentColor`."""
BLUE, ORANGE, GREEN, GREY = "#3b7dd8", "#d9772b", "#2c9c69", "#8b929c"
STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "path",
    **{
        name: INK
        for name in (
            "text.color",
            "axes.labelcolor",
            "axes.edgecolor",
            "xtick.color",
            "ytick.color",
        )
    },
}
STRENGTH = LinearSegmentedColormap.from_list("strength", [(*to_rgb(BLUE), 0.0), to_rgb(BLUE)])
"""From nothing, which shows the page, to full colour."""


@dataclass(frozen=True)
class Line:
    """One curve with its runs."""

    title: str
    color: str
    steps: NDArray[np.int64]
    """(K,): updates."""
    values: NDArray[np.float64]
    """(runs, K)"""


def as_svg(figure: Figure, name: str) -> str:
    """Returns a figure as an `<svg>` element.

    Args:
        figure: drawn inside `matplotlib.rc_context(STYLE)`.
        name: unique on the page; keeps the element's ids apart from those of other figures.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def plan_figure(plans: Mapping[str, NDArray[np.float64]]) -> str:
    """Transport plans as pictures.

    Args:
        plans: title to (N, M) plan, rows and columns sorted from worst to best.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * len(plans), 4.4), layout="constrained")
        for axes, (title, plan) in zip(_row(figure, len(plans)), plans.items(), strict=True):
            columns = plan / np.maximum(plan.max(axis=0), 1e-300)
            axes.imshow(
                columns,
                cmap=STRENGTH,
                origin="lower",
                aspect="auto",
                interpolation="nearest",
                extent=(0, plan.shape[1], 0, plan.shape[0]),
            )
            axes.set_title(title)
            axes.set_xlabel("target segments, worst to best (true return)")
            axes.set_ylabel("source segments, worst to best (true return)")
            axes.grid(visible=False)
            axes.plot([0, plan.shape[1]], [0, plan.shape[0]], color=ORANGE, lw=1.2, ls=(0, (4, 4)))
        return as_svg(figure, "plan")


def label_figure(
    labels: Mapping[str, NDArray[np.float64]], truth: NDArray[np.bool_], shown: str
) -> str:
    """Transferred labels against true ones.

    Args:
        labels: method to (B,) transferred labels.
        truth: (B,): the second segment is the better one.
        shown: the method whose labels are shown in full.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.4), layout="constrained")
        left, right = _row(figure, 2)
        values = labels[shown]
        left.hist(
            [values[truth], values[~truth]],
            bins=list(np.linspace(0, 1, 21)),
            stacked=True,
            color=[GREEN, ORANGE],
            label=["second is better", "first is better"],
        )
        left.axvline(0.5, color=INK, lw=1, ls=(0, (4, 4)))
        left.set_title(f"Transferred labels ({shown})")
        left.set_xlabel("transferred probability that the second is better")
        left.set_ylabel("pairs of segments")
        left.legend(title="In truth the")
        for (method, values), color in zip(labels.items(), (BLUE, ORANGE), strict=True):
            right.plot(*kept_accuracy(values, truth), color=color, label=method)
        right.axhline(50, color=GREY, lw=1.2, ls=(0, (4, 4)))
        right.text(100, 49, "guessing", color=GREY, ha="right", va="top")
        right.set(xlim=(2, 100), ylim=(min(40, right.get_ylim()[0]), 101))
        right.set_title("Right labels among the surest")
        right.set_xlabel("surest labels kept (% of pairs)")
        right.set_ylabel("right labels (%)")
        right.legend(loc="center right")
        return as_svg(figure, "labels")


def kept_accuracy(
    labels: NDArray[np.float64], truth: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Per cent kept, and per cent right among them, from 5 % of the pairs on."""
    order = np.argsort(-np.abs(labels - 0.5), kind="stable")
    right = (labels[order] > 0.5) == truth[order]
    kept = np.arange(1, len(order) + 1)
    start = max(len(order) // 20, 1) - 1
    return (100 * kept / len(order))[start:], (100 * np.cumsum(right) / kept)[start:]


def reward_figure(
    episodes: Mapping[str, tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any]]],
) -> str:
    """Learned reward with its uncertainty above the true reward, one column per episode.

    Args:
        episodes: title to (T,) learned mean, standard deviation, true reward.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 6.0), layout="constrained")
        grid: Any = figure.subplots(3, len(episodes), sharex=True, sharey="row", squeeze=False)
        for column, (title, (mean, std, true)) in enumerate(episodes.items()):
            total, reward, truth = grid[:, column]
            steps = np.arange(len(mean))
            sums = np.cumsum(mean)
            if std is not None:  # steps are independent, so variances add up
                spread = np.sqrt(np.cumsum(np.square(std)))
                total.fill_between(
                    steps, sums - spread, sums + spread, color=BLUE, alpha=0.22, lw=0
                )
            total.plot(steps, sums, color=BLUE)
            total.set_title(title)
            reward.plot(steps, mean, color=BLUE)
            for axes in (total, reward):
                axes.axhline(0, color=GREY, lw=0.8)
            truth.plot(steps, true, color=GREEN)
            truth.set_xlabel("step of the episode")
        grid[0, 0].set_ylabel("learned score so far\n(log-odds)")
        grid[1, 0].set_ylabel("learned reward\n(log-odds per step)")
        grid[2, 0].set_ylabel("true reward\n(points per step)")
        return as_svg(figure, "reward")


def curve_figure(lines: Sequence[Line]) -> str:
    """Success over updates; thin lines are runs, thick ones their mean."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        axes = figure.subplots()
        for line in lines:
            for run in line.values:
                axes.plot(line.steps, 100 * run, color=line.color, lw=0.7, alpha=0.4)
            mean = 100 * line.values.mean(axis=0)
            axes.plot(line.steps, mean, color=line.color, lw=2.2, marker="o", ms=4)
            axes.plot([], [], color=line.color, lw=2.2, marker="o", ms=4, label=line.title)
        axes.set(ylim=(-3, 103), xlim=(0, None))
        axes.set_xlabel("updates of the policy")
        axes.set_ylabel("successful episodes (%)")
        figure.legend(loc="outside right upper")
        return as_svg(figure, "curves")


def _row(figure: Figure, columns: int) -> Sequence[Axes]:
    axes: Any = figure.subplots(1, columns, squeeze=False)
    return list(axes[0])

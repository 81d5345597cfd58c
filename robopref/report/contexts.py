"""What OPPO's encoder has learned, as a picture: contexts of segments in two dimensions."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import spearmanr

from robopref.data.dataset import TrajectoryDataset
from robopref.data.spans import segment_spans
from robopref.data.windows import Windows
from robopref.policies.oppo import OPPO, distances
from robopref.report.figures import STYLE
from robopref.structures import Segments

MOST_SEGMENTS = 1_000
INK = "#222222"


@torch.no_grad()
def contexts_picture(policy: OPPO, dataset: TrajectoryDataset, length: int, path: Path) -> float:
    """Draws contexts in the plane of their two largest spreads, coloured by true return, with z*.

    Args:
        policy: trained on the dataset.
        dataset: whose episodes are cut into pieces; its true rewards are only the colour.
        length: steps of a piece.
        path: PNG file.

    Returns:
        Rank correlation of nearness to `z*` with true return; NaN where all returns are equal.
    """
    pieces = _pieces(dataset, length)
    windows = Windows(dataset, policy.config.window, policy.device)
    spans = segment_spans(dataset, pieces, policy.device)
    contexts = policy.contexts(windows.steps(*spans, policy.config.encoder_steps))
    nearness = -distances(contexts, policy.optimal_context).cpu().numpy()
    sums = np.concatenate([[0.0], np.cumsum(dataset.rewards, dtype=np.float64)])
    begins = dataset.offsets[pieces.episodes] + pieces.starts
    returns = sums[begins + pieces.lengths] - sums[begins]
    told = float(np.ptp(returns)) > 0.0
    correlation = float(spearmanr(nearness, returns).statistic) if told else float("nan")

    centre = contexts.mean(0)
    spread = torch.linalg.svd(contexts - centre, full_matrices=False).Vh[:2].T
    flat = ((contexts - centre) @ spread).cpu().numpy()
    optimal = ((policy.optimal_context - centre) @ spread).cpu().numpy()
    with matplotlib.rc_context({**STYLE, "figure.facecolor": "white", "text.color": INK}):
        figure = Figure(figsize=(5.6, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for side in axes.spines.values():
            side.set_color(INK)
        axes.tick_params(colors=INK)
        points = axes.scatter(
            flat[:, 0], flat[:, 1], c=returns if told else nearness, s=14, cmap="viridis"
        )
        axes.scatter(
            optimal[0], optimal[1], s=320, marker="*", color="#d9332b", edgecolor="white",
            label="z*",
        )  # fmt: skip
        axes.set_title("Contexts of segments" + (f" (rank correlation {correlation:.2f})" * told))
        axes.set_xlabel("first principal component", color=INK)
        axes.set_ylabel("second principal component", color=INK)
        axes.legend(loc="best", labelcolor=INK)
        bar = figure.colorbar(points, ax=axes)
        bar.set_label("true return of the segment" if told else "nearness to z*", color=INK)
        bar.ax.tick_params(colors=INK)
        figure.savefig(path, dpi=130, facecolor="white")
    return correlation


def _pieces(dataset: TrajectoryDataset, length: int) -> Segments:
    """Pieces one after another; of too many, some spread evenly."""
    starts: list[NDArray[np.int64]] = [
        np.arange(0, max(steps - length, 0) + 1, length) for steps in dataset.lengths
    ]
    episodes = np.repeat(np.arange(len(dataset)), [len(found) for found in starts])
    begins = np.concatenate(starts)
    lengths = np.minimum(dataset.lengths[episodes] - begins, length)
    every = np.linspace(0, len(begins) - 1, min(len(begins), MOST_SEGMENTS)).astype(np.int64)
    return Segments(episodes[every], begins[every], lengths[every])

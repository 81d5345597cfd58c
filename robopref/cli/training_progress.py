"""How far a training is, in the terminal and at Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robopref.cli.wandb_run import wandb_run


@contextmanager
def told_of_metrics(
    config: Any, folder: Path, total: int, unit: str
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Yields what to tell how far the training is, and its metrics.

    Args:
        config: of the command; its options `policy` and `wandb` are read.
        folder: of the run.
        total: how much there is to do.
        unit: of what, such as updates.
    """
    with (
        wandb_run(config.wandb, folder, config) as log,
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit + ", {task.fields[note]}"),
            TimeRemainingColumn(),
        ) as progress,
    ):
        bar = progress.add_task(config.policy, total=total, note="")

        def show(step: int, metrics: Mapping[str, float]) -> None:
            note = f"{metrics['updates_per_second']:.0f} updates/s"
            if "episode/success" in metrics:
                note += f", success {metrics['episode/success']:.0%}"
            progress.update(bar, completed=step, note=note)
            log(step, metrics)

        yield show

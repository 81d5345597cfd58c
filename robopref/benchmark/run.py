"""Makes the cells of a suite that are missing, and summarises all that there are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from robopref.benchmark import policies, rewards, transfers
from robopref.benchmark.cell import Cell, record, short_name
from robopref.benchmark.suite import SuiteConfig, cells
from robopref.evaluation.statistics import mean
from robopref.files import atomic_path, read_json, write_json
from robopref.parallel import parallel
from robopref.processes import long_time_slices, one_thread

RESULTS_FILE = "results.parquet"
"""A row for each cell."""
BASELINES = {module.TABLE: module.BASELINE for module in (policies, rewards, transfers)}
"""Table to the method that the others are compared with."""

OnCell = Callable[[int, int, float], None]
"""Told the cells that are done, those there are, and the seconds that the rest should take."""


def run_suite(
    suite: SuiteConfig, folder: Path, workers: int, cluster: str, on_cell: OnCell
) -> pd.DataFrame:
    """Makes what is missing.

    Args:
        suite: what to measure.
        folder: of the suite; finished cells are kept there.
        workers: processes, all cores when 0.
        cluster: none when empty; see `parallel`.
        on_cell: told of progress.

    Returns:
        A row for each cell: its fields, `value`, and the `seconds` that it took.

    Raises:
        InputError: as the first cell that fails.
    """
    wanted = cells(suite)
    for env_id, mix in datasets(wanted):
        record(env_id, mix, suite.data, folder, workers, cluster)
    missing = [cell for cell in wanted if not _path(folder, cell).exists()]
    seconds = {
        (cell.table, cell.method): float(read_json(_path(folder, cell))["seconds"])
        for cell in wanted
        if _path(folder, cell).exists()
    }

    def left(first: int) -> float:
        known = float(np.mean([*seconds.values()])) if seconds else 0.0
        costs = (seconds.get((cell.table, cell.method), known) for cell in missing[first:])
        return sum(costs) / (workers or os.cpu_count() or 1)

    done = len(wanted) - len(missing)
    on_cell(done, len(wanted), left(0))
    results = parallel(_maker, (suite, str(folder)), missing, workers, cluster)
    for number, (cell, took) in enumerate(zip(missing, results, strict=True), start=1):
        seconds[cell.table, cell.method] = took
        on_cell(done + number, len(wanted), left(number))
    rows = [asdict(cell) | read_json(_path(folder, cell)) for cell in wanted]
    table = pd.DataFrame(rows)
    with atomic_path(folder / RESULTS_FILE) as temporary:
        table.to_parquet(temporary, index=False)
    return table


def datasets(wanted: Sequence[Cell]) -> list[tuple[str, str]]:
    """Tasks and mixes of behaviours that cells need."""
    mixes = {module.TABLE: module.MIX for module in (policies, rewards, transfers)}
    found = [(cell.task, mixes[cell.table]) for cell in wanted]
    sources = [cell for cell in wanted if cell.source]
    found += [
        (cell.source, policies.SOURCE_MIX if cell.table == policies.TABLE else transfers.MIX)
        for cell in sources
    ]
    return list(dict.fromkeys(found))


def _path(folder: Path, cell: Cell) -> Path:
    return folder / "cells" / f"{cell.key}.json"


def _maker(suite: SuiteConfig, folder: str) -> Callable[[Cell], float]:
    """What makes a cell, keeps its figure, and gives the seconds that it took."""
    one_thread()
    long_time_slices()
    home, played = Path(folder), suite.policies

    def make(cell: Cell) -> float:
        start = time.monotonic()
        if cell.table == policies.TABLE:
            value = policies.success(cell, suite.data, played.updates, played.episodes, home)
        elif cell.table == rewards.TABLE:
            value = rewards.accuracy(cell, home)
        else:
            value = transfers.accuracy(cell, home)
        took = time.monotonic() - start
        path = _path(home, cell)
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"value": value, "seconds": round(took, 2)})
        return took

    return make


def summarise(results: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each method under each condition: mean over tasks and seeds, 95 % interval, and
    the paired difference to the table's baseline.

    Args:
        results: as `run_suite` gives them.
    """
    return [
        row
        for (table, labels, teacher), group in results.groupby(
            ["table", "labels", "teacher"], sort=False
        )
        for row in _rows(str(table), int(labels), str(teacher), group, results)
    ]


def _rows(
    table: str, labels: int, teacher: str, group: pd.DataFrame, results: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    same = results[results.table == table]
    for method, found in group.groupby("method", sort=False):
        row: dict[str, Any] = {
            "table": table, "method": str(method), "labels": labels, "teacher": teacher,
        }  # fmt: skip
        scores = _matrix(found)
        row |= _figures("", scores)
        row["per_task"] = {
            short_name(task): round(float(value), 4)
            for task, value in found.groupby("task", sort=False).value.mean().items()
        }
        baseline = same[same.method == BASELINES[table]]
        # Of a baseline that knows of no labels there is one row for all numbers of them.
        baseline = baseline[baseline.labels.isin([labels, 0])]
        baseline = baseline[baseline.teacher == teacher]
        # Where labels are carried over, what needs none has no source to be paired by.
        shared = ["task", "seed"] + (["source"] if baseline.source.any() else [])
        paired = found.merge(baseline, on=shared, suffixes=("", "_baseline"))
        if method != BASELINES[table] and len(paired) == len(found):
            paired["value"] -= paired.value_baseline
            row |= _figures("over_", _matrix(paired))
        yield row


def _matrix(found: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(runs, tasks): where every pair of tasks occurs once, each is a run."""
    if found.table.eq(transfers.TABLE).all():
        return np.asarray(found[["value"]], dtype=float)
    whole = found.pivot_table(index="seed", columns="task", values="value").dropna()
    return np.asarray(whole, dtype=float)


def _figures(name: str, scores: np.ndarray[Any, np.dtype[np.float64]]) -> Mapping[str, float]:
    estimate = mean(scores)
    named = {
        f"{name}value": estimate.value,
        f"{name}low": estimate.low,
        f"{name}high": estimate.high,
    }
    return {key: round(value, 4) for key, value in named.items()}

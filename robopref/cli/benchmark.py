"""Makes a suite of tables: policies from labels, rewards, and transferred labels.

A suite is gone on with by the same command: finished cells stay in its folder. The results are
there as Parquet (a row for each cell), as JSON (means with intervals) and as a page.

Usage:
  robopref benchmark SUITE [options]     SUITE: smoke, laptop, paper, or another of configs/suite

Examples:
  robopref benchmark smoke
  robopref benchmark laptop
  robopref benchmark laptop suite.policies.methods=[oppo,cloning] suite.policies.seeds=5 name=oppo
  robopref benchmark paper cluster=ray
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from robopref.benchmark.run import run_suite, summarise
from robopref.benchmark.suite import SuiteConfig
from robopref.cli.config import register, run, shipped_folder
from robopref.cli.runs import CONFIG_FILE
from robopref.cli.sweep import check_same_options
from robopref.errors import InputError
from robopref.files import atomic_path, write_json
from robopref.report.benchmark import TABLES, write_results_page

SUMMARY_FILE, PAGE_FILE = "summary.json", "results.html"
PACKAGES = ("robopref", "torch", "metaworld", "robosuite", "mujoco", "POT", "rliable")
"""Whose versions the results depend on."""


@dataclass
class BenchmarkConfig:
    """Options of `robopref benchmark`."""

    suite: SuiteConfig = field(default_factory=SuiteConfig)
    """The tables."""
    workers: int = 0
    """Processes, one for each core when 0."""
    cluster: str = ""
    """Where cells are made: on this machine when empty, or ray, or a Ray cluster's address."""
    name: str = ""
    """Name of the folder under runs/benchmark, that of the suite when empty."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise InputError(f"workers={self.workers}: must be at least 0")


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the suite's name and Hydra overrides."""
    suites = sorted(path.stem for path in (shipped_folder("configs") / "suite").glob("*.yaml"))
    arguments = list(arguments) or ["--help"]
    if not arguments[0].startswith("-"):
        if arguments[0] not in suites:
            raise InputError(
                f"benchmark {arguments[0]}: no such suite; choose from {', '.join(suites)}"
            )
        arguments[0] = f"suite={arguments[0]}"
    register("suite/schema", SuiteConfig)
    run("benchmark", BenchmarkConfig, arguments, benchmark)


def benchmark(config: BenchmarkConfig) -> None:
    """Makes the cells that are missing, and writes and prints what came out."""
    folder = Path("runs") / "benchmark" / (config.name or config.suite.name)
    settings = OmegaConf.structured(config)
    if (folder / CONFIG_FILE).is_file():
        check_same_options(folder, settings.suite, "suite.")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / CONFIG_FILE) as temporary:
        temporary.write_text(OmegaConf.to_yaml(settings), encoding="utf-8")
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells, about {task.fields[left]} left"),
    )
    bar = progress.add_task(config.suite.name, total=None, left="?")

    def show(done: int, total: int, left_s: float) -> None:
        progress.start()
        left = f"{left_s / 60:.0f} min" if left_s >= 60 else f"{left_s:.0f} s"
        progress.update(bar, completed=done, total=total, left=left)

    try:
        results = run_suite(config.suite, folder, config.workers, config.cluster, show)
    finally:
        if progress.live.is_started:
            progress.stop()
    summary = summarise(results)
    write_json(folder / SUMMARY_FILE, summary)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    installed = {each.name: each.version for each in importlib.metadata.distributions()}
    versions = ", ".join(f"{name} {installed[name]}" for name in PACKAGES if name in installed)
    write_results_page(folder / PAGE_FILE, config.suite.name, summary, {
        "cells": len(results),
        "hours": round(float(results.seconds.sum()) / 3600, 2),
        "machine": machine,
        "versions": versions,
    })  # fmt: skip
    for row in summary:
        condition = f"{row['labels']} labels, {row['teacher']}" if row["labels"] else "no labels"
        print(
            f"{TABLES[row['table']][0]:20} {row['method']:26} {condition:20} "
            f"{100 * row['value']:5.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
        )
    print(f"{folder / PAGE_FILE}: open it in a browser")

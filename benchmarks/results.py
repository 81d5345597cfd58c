"""What every benchmark shares: its options, and the JSON form of its results."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from robopref.cli.config import shipped_folder
from robopref.evaluation.statistics import mean
from robopref.files import write_json

ROBOPREF = str(Path(sys.executable).parent / "robopref")
"""The command line program of this environment."""


def parse_arguments(description: str, name: str) -> argparse.Namespace:
    """Parses `--quick` and `--json`; see `argument_parser`."""
    return argument_parser(description, name).parse_args()


def argument_parser(description: str, name: str) -> argparse.ArgumentParser:
    """A parser of `--quick` and `--json`, to which a benchmark may add.

    Args:
        description: what `--help` says.
        name: results go to `results/<name>.json` unless told otherwise.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="smaller, within ten minutes")
    parser.add_argument("--json", type=Path, default=Path(f"results/{name}.json"))
    return parser


def shipped_mix(name: str) -> dict[str, Any]:
    """Shares and noise of a mix of behaviours under `configs/mix`."""
    settings = OmegaConf.load(shipped_folder("configs") / "mix" / f"{name}.yaml")
    return dict(OmegaConf.to_container(settings))  # type: ignore[arg-type]  # a mapping


def success_of_seeds(scores: NDArray[np.float64]) -> dict[str, Any]:
    """Success over seeds (S,) as entries of a row: the mean, its interval, and each seed's."""
    estimate = mean(scores[:, None])
    return {
        "success": round(float(scores.mean()), 4),
        "low": round(estimate.low, 4),
        "high": round(estimate.high, 4),
        "per_seed": [round(float(score), 3) for score in scores],
    }


def write_results(
    path: Path,
    headline: Mapping[str, float],
    table: Sequence[Mapping[str, Any]],
    packages: Sequence[str],
) -> None:
    """Writes figures, machine and versions.

    Args:
        path: JSON file.
        headline: metric to number.
        table: rows.
        packages: distributions whose versions matter.
    """
    write_json(
        path,
        {
            "headline": dict(headline),
            "table": list(table),
            "machine": {
                "cores": os.cpu_count(),
                "processor": platform.machine(),
                "system": platform.system(),
                "threads": 1,
            },
            "versions": {
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in packages},
            },
        },
    )

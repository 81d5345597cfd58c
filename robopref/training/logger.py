"""Metrics of a run: `metrics.jsonl` and TensorBoard events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from robopref.files import atomic_path


class MetricsLogger:
    """Appends one line per step; a resumed run first drops what it is going to repeat."""

    def __init__(self, run_dir: Path, step: int = 0) -> None:
        """
        Args:
            run_dir: the run's folder.
            step: where the run goes on; later lines are dropped.
        """
        from torch.utils.tensorboard.writer import SummaryWriter  # slow to import

        self._path = run_dir / "metrics.jsonl"
        run_dir.mkdir(parents=True, exist_ok=True)
        kept = _keep_until(self._path, step)
        self.last = (
            {name: value for name, value in kept[-1].items() if name != "step"} if kept else {}
        )
        self._file = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(run_dir), purge_step=step + 1 if step else None)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes one line and one TensorBoard point per metric."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._events.add_scalar(name, value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._events.close()


def read_metrics(run_dir: Path) -> list[dict[str, float]]:
    """Reads the lines of `metrics.jsonl`; a last line cut off by a kill is left out."""
    path = run_dir / "metrics.jsonl"
    if not path.exists():
        return []
    return [
        json.loads(line)
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True)
        if line.endswith("\n")
    ]


def _keep_until(path: Path, step: int) -> list[dict[str, float]]:
    if not path.exists():
        return []
    kept = [line for line in read_metrics(path.parent) if line["step"] <= step]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    return kept

"""Evaluations on the way, in a process of their own, so that training does not wait for them.

The policy as it stands is put into a folder under `evaluation/waiting/`; a worker process plays the
episodes and leaves the result there, and the training writes it into `evaluation/metrics.jsonl` as
soon as it finds it. So a kill loses no evaluation: a resumed run finds the folders of those that
its checkpoint was behind, and lets them be played.

    python -m robopref.training.evaluations    # the worker: reads folders from standard input
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from robopref.errors import InputError
from robopref.evaluation.rollout import evaluate
from robopref.files import atomic_folder, read_json, write_json
from robopref.policies.base import Policy
from robopref.policies.registry import load_policy
from robopref.processes import one_thread
from robopref.training.logger import MetricsLogger, read_metrics

WAITING, REQUEST, RESULT = "waiting", "request.json", "result.json"


class Evaluations:
    """The learning curve of a run, as a context."""

    def __init__(
        self,
        folder: Path,
        step: int,
        played: Mapping[str, Any],
        beside: bool,
    ) -> None:
        """
        Args:
            folder: gets `metrics.jsonl`, TensorBoard events, and what is waiting.
            step: where the run goes on; what was of later steps is dropped.
            played: arguments of `evaluate` beside the policy; no episodes make no evaluation.
            beside: whether a worker process plays them.
        """
        self._curve, self._folder, self._beside = folder, folder / WAITING, beside
        self._played = dict(played)
        self._since = step
        self._logger: MetricsLogger | None = None
        self._worker: subprocess.Popen[str] | None = None
        self._asked: list[int] = []
        """Steps that are waited for, in order."""
        written = {line["step"] for line in read_metrics(folder) if line["step"] <= step}
        for found in sorted(self._folder.glob("[0-9]*")):
            if int(found.name) > step or int(found.name) in written:
                shutil.rmtree(found)
            else:
                self._ask(int(found.name))
        self._seen = written | set(self._asked)

    def look(self, policy: Policy, step: int) -> None:
        """Has `policy` evaluated as it stands after `step`, unless that was done before.

        Raises:
            InputError: if an evaluation failed.
        """
        if step in self._seen or not self._played["episodes"]:
            return
        self._seen.add(step)
        if not self._beside:
            self._log(step, evaluate(policy, **self._played).summary)
            return
        with atomic_folder(self._folder / f"{step:08d}") as temporary:
            policy.save(temporary)
            write_json(temporary / REQUEST, self._played)
        self._ask(step)
        self._collect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            while self._asked and kind is None:
                self._collect()
                time.sleep(0.02)
        finally:
            if self._worker is not None:
                self._worker.kill()
                self._worker.wait()
            if self._logger is not None:
                self._logger.__exit__(kind, error, trace)

    def _log(self, step: int, summary: Mapping[str, float]) -> None:
        if self._logger is None:  # a run without evaluations leaves no file
            self._logger = MetricsLogger(self._curve, self._since)
        self._logger.log(step, summary)

    def _ask(self, step: int) -> None:
        self._asked.append(step)
        if self._worker is None:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "robopref.training.evaluations"],
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is the training's
            )
        assert self._worker.stdin is not None
        try:
            self._worker.stdin.write(f"{self._folder / f'{step:08d}'}\n")
            self._worker.stdin.flush()
        except BrokenPipeError:  # the worker has ended: `_collect` says so
            pass

    def _collect(self) -> None:
        """Writes down the results that are there, in the order of their steps."""
        while self._asked:
            folder = self._folder / f"{self._asked[0]:08d}"
            assert self._worker is not None
            ended = self._worker.poll()
            if not (folder / RESULT).exists():
                if ended is not None:
                    raise InputError(
                        f"{folder}: the process that evaluates ended with {ended}; resume the run, "
                        "or set evaluation.beside=false to see why"
                    )
                return
            result = read_json(folder / RESULT)
            if "error" in result:
                shutil.rmtree(folder)
                raise InputError(
                    f"{result['error']} (evaluation.beside=false evaluates in the training's own "
                    "process, where an environment registered by your script is known)"
                )
            self._log(self._asked.pop(0), result)
            shutil.rmtree(folder)


def _work() -> None:
    """Plays what each line of standard input names, until there are no more."""
    one_thread()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # simulators print
    for line in sys.stdin:
        folder = Path(line.rstrip("\n"))
        if (folder / RESULT).exists():
            continue
        try:
            request = read_json(folder / REQUEST)
            result: dict[str, Any] = evaluate(load_policy(folder), **request).summary
        except InputError as error:
            result = {"error": str(error)}
        write_json(folder / RESULT, result)


if __name__ == "__main__":
    _work()

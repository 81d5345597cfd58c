"""A reward that learns while people answer: how good it is by now, and what to ask next.

Every so many answers a process of its own fits a reward to them. Some pairs, the same ones every
time, are held out; their share that the reward gets right is the curve that the page shows. With an
active strategy the reward also chooses the next questions.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from robopref.data.dataset import TrajectoryDataset
from robopref.files import read_json, write_json
from robopref.label.export import preferences_of
from robopref.label.learning import LearningConfig
from robopref.label.questions import PAIR, Piece, Question
from robopref.label.store import Store
from robopref.preferences.active import UNIFORM
from robopref.preferences.dataset import save_preferences

LABELS, REQUEST, RESULT, CURVE = "labels.parquet", "request.json", "result.json", "curve.json"
FLAT = 0.01
"""How much the held-out accuracy has to rise to count as better."""


class Learner:
    """Watches the answers from a thread, and lets the reward learn in a process."""

    def __init__(
        self,
        config: LearningConfig,
        store: Store,
        dataset: TrajectoryDataset,
        path: Path,
        segment_length: int,
        budget: int,
        text: str,
        folder: Path,
        seed: int,
    ) -> None:
        """
        Args:
            config: when and how.
            store: has the answers, and gets the questions.
            dataset: that is labelled.
            path: its file.
            segment_length: of the pairs, 0 for whole episodes.
            budget: questions in all.
            text: of the questions that are added.
            folder: where requests, results and the curve lie.
            seed: seed of fits and choices.
        """
        self.config, self._store, self._dataset, self._folder = config, store, dataset, folder
        self._request = {
            "dataset": str(path.absolute()), "segment_length": segment_length, "seed": seed,
            "strategy": config.strategy, "epochs": config.epochs,
        }  # fmt: skip
        self._budget, self._text = budget, text
        folder.mkdir(parents=True, exist_ok=True)
        curve = folder / CURVE
        self.curve: list[dict[str, float]] = read_json(curve) if curve.exists() else []
        """`answers` and held-out `accuracy` after each fit."""
        self._answered, self._ended = threading.Event(), False
        self._process: subprocess.Popen[bytes] | None = None
        self._tried = int(self.curve[-1]["answers"]) if self.curve else 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def on_answer(self) -> None:
        """To be called after each answer."""
        self._answered.set()

    def summary(self) -> dict[str, Any]:
        """What the page shows."""
        return {"curve": self.curve, "strategy": self.config.strategy}

    def close(self) -> None:
        """Ends thread and process."""
        self._ended = True
        if self._process is not None:
            self._process.kill()
        self._answered.set()
        self._thread.join(timeout=5.0)

    def _watch(self) -> None:
        while not self._ended:
            self._answered.wait()
            self._answered.clear()
            try:
                self._fit_if_due()
            except Exception:  # the page goes on without the curve
                logging.getLogger(__name__).exception("the reward could not be fitted")

    def _fit_if_due(self) -> None:
        if self._ended or not self.config.every:
            return
        count = self._store.count()
        if count < self._tried + self.config.every:
            return
        self._tried = count
        preferences = preferences_of(self._store.answers(), self._dataset)
        questions = self._store.questions()
        asked = [q.pieces for q in questions if q.kind == PAIR and not q.repeats]
        left = max(self._budget - len(questions), 0) if self.config.strategy != UNIFORM else 0
        save_preferences(self._folder / LABELS, preferences)
        write_json(
            self._folder / REQUEST,
            {
                **self._request,
                "asked": asked,
                "count": min(self.config.every, left),
            },
        )
        (self._folder / RESULT).unlink(missing_ok=True)
        command = [sys.executable, "-m", "robopref.label.fit", str(self._folder)]
        self._process = subprocess.Popen(command, start_new_session=True)
        if self._process.wait() or self._ended:
            return
        result = read_json(self._folder / RESULT)
        self.curve.append({"answers": count, "accuracy": result["accuracy"]})
        write_json(self._folder / CURVE, self.curve)
        if is_flat([point["accuracy"] for point in self.curve], self.config.stop_when_flat):
            self._store.close_open_questions()
        elif result["pairs"]:
            added = [tuple(Piece(*piece) for piece in pair) for pair in result["pairs"]]
            self._store.add_questions([Question(PAIR, self._text, pair) for pair in added])


def is_flat(accuracies: list[float], fits: int) -> bool:
    """Whether the last `fits` accuracies bring nothing beyond the best one before; never for 0."""
    if not fits or len(accuracies) <= fits:
        return False
    return max(accuracies[-fits:]) < max(accuracies[:-fits]) + FLAT

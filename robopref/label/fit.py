"""The process in which a reward learns from the answers so far, apart from the page's.

python -m robopref.label.fit FOLDER    # reads a request and labels there, writes a result
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from robopref.data.robomimic import load_dataset
from robopref.data.segments import segments_of_length
from robopref.errors import InputError
from robopref.evaluation.reward_quality import label_accuracy
from robopref.files import read_json, write_json
from robopref.label.learner import LABELS, REQUEST, RESULT
from robopref.label.questions import piece_of
from robopref.preferences.active import UNIFORM
from robopref.preferences.dataset import Preferences, load_preferences
from robopref.preferences.queries import Pairs
from robopref.processes import one_thread
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.questions import choose_pairs
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import relabel
from robopref.seeding import numpy_generator
from robopref.structures import Segments

HELD_OUT = 5
"""One pair in so many is held out."""


def fit(folder: Path) -> None:
    """Fits a reward to the labels in `folder`, tests it, and chooses pairs; writes the result."""
    request = read_json(folder / REQUEST)
    dataset = load_dataset(request["dataset"], images=False)
    preferences = load_preferences(folder / LABELS)
    config = BradleyTerryConfig(epochs=request["epochs"])
    seed, apart = request["seed"], held_out(preferences)
    judged = apart & (preferences.labels != 0.5)
    accuracy, model = 0.5, None
    try:
        if judged.any():
            tested = make_reward(config, dataset, seed)
            tested.fit(preferences[~apart], dataset, seed)
            rewards = relabel(dataset, tested).mean
            accuracy = label_accuracy(rewards, preferences[judged], dataset)
        if request["count"]:
            model = make_reward(config, dataset, seed)
            model.fit(preferences, dataset, seed)
    except InputError as error:  # such as all answers alike: nothing to learn from yet
        print(f"robopref: no reward from {len(preferences)} labels yet ({error})", file=sys.stderr)
        model = None
    pairs: list[Any] = []
    if request["count"]:
        segments = segments_of_length(dataset, request["segment_length"])
        table = np.array(request["asked"], dtype=np.int64).reshape(-1, 2, 3)
        asked: Pairs = (Segments(*table[:, 0].T), Segments(*table[:, 1].T))
        chosen = choose_pairs(
            request["strategy"] if model else UNIFORM, dataset, segments, request["count"],
            numpy_generator(seed, f"after {len(preferences)}"), model, asked,
        )  # fmt: skip
        pairs = [[piece_of(side, i) for side in chosen] for i in range(request["count"])]
    write_json(folder / RESULT, {"accuracy": accuracy, "pairs": pairs})


def held_out(preferences: Preferences) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(B,): pairs that no fit sees, the same ones however many there are and whichever side is
    the first.
    """
    sides = [
        np.stack(list(vars(side).values()), axis=1).tolist()
        for side in (preferences.first, preferences.second)
    ]
    names = [repr(sorted(pair)).encode() for pair in zip(*sides, strict=True)]
    return np.array([zlib.crc32(name) % HELD_OUT == 0 for name in names], dtype=bool)


if __name__ == "__main__":
    one_thread()
    fit(Path(sys.argv[1]))

"""Pickles as the library imitation writes them, made without it."""

from __future__ import annotations

import io
import pickle
import sys
import types
from dataclasses import dataclass

import numpy as np


def imitation_pickle(fragments1, fragments2, preferences, protocol=4) -> bytes:
    """A pickle as the library writes it, of stand-ins with its names."""

    @dataclass(frozen=True)
    class TrajectoryWithRew:
        obs: np.ndarray
        acts: np.ndarray
        infos: np.ndarray
        terminal: bool
        rews: np.ndarray

    class PreferenceDataset:
        pass

    modules = {
        "imitation.data.types": TrajectoryWithRew,
        "imitation.algorithms.preference_comparisons": PreferenceDataset,
    }
    parents = ["imitation", "imitation.data", "imitation.algorithms"]
    stands = {name: types.ModuleType(name) for name in [*parents, *modules]}
    for name, kind in modules.items():
        kind.__module__, kind.__qualname__ = name, kind.__name__
        setattr(stands[name], kind.__name__, kind)
    before = {name: sys.modules.get(name) for name in stands}
    sys.modules.update(stands)
    try:
        value = PreferenceDataset()
        value.fragments1 = [TrajectoryWithRew(*fragment) for fragment in fragments1]
        value.fragments2 = [TrajectoryWithRew(*fragment) for fragment in fragments2]
        value.max_size, value.preferences = None, preferences
        stream = io.BytesIO()
        pickle.dump(value, stream, protocol)
        return stream.getvalue()
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module

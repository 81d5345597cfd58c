"""How good each labelled segment is, from comparisons alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from robopref.preferences.dataset import Preferences
from robopref.preferences.queries import distinct_segments
from robopref.structures import Segments

PRIOR = 0.1
"""Weight of the squared strengths: keeps those of segments that always won finite."""


def segment_strengths(preferences: Preferences) -> tuple[Segments, NDArray[np.float64]]:
    """Bradley-Terry strengths (Bradley and Terry 1952), with a normal prior, of `M` segments.

    Returns:
        The segments that occur, each once, and their strengths (M,): the log-odds of one being
        preferred to another is the difference of theirs.
    """
    segments, (first, second) = distinct_segments(preferences.first, preferences.second)

    def loss(strengths: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = strengths[second] - strengths[first]
        # -y log sigmoid(d) - (1 - y) log sigmoid(-d) = log(1 + exp(d)) - y d
        each = np.logaddexp(0.0, logits) - preferences.labels * logits
        slope = preferences.confidence * (0.5 + 0.5 * np.tanh(0.5 * logits) - preferences.labels)
        gradient = PRIOR * strengths
        np.add.at(gradient, second, slope)
        np.subtract.at(gradient, first, slope)
        total = preferences.confidence @ each + 0.5 * PRIOR * strengths @ strengths
        return float(total), gradient

    found = minimize(loss, np.zeros(len(segments)), jac=True, method="L-BFGS-B")
    return segments, found.x

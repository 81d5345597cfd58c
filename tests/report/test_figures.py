"""Figures are sound SVG whose text takes the colour of the page."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from robopref.report.figures import (
    BLUE,
    INK,
    Line,
    curve_figure,
    kept_accuracy,
    label_figure,
    plan_figure,
    reward_figure,
)


def figures() -> dict[str, str]:
    rng = np.random.default_rng(0)
    labels, truth = rng.random(50), rng.random(50) < 0.5
    steps = np.arange(20.0)
    curve = Line("one arm", BLUE, np.array([100, 200]), np.array([[0.0, 1.0], [0.5, 0.5]]))
    return {
        "plan": plan_figure({"a": rng.random((4, 6)), "b": np.eye(4, 6)}),
        "labels": label_figure({"ours": labels, "theirs": rng.random(50)}, truth, "ours"),
        "reward": reward_figure({"good": (steps, np.ones(20), steps), "bad": (steps, None, steps)}),
        "curves": curve_figure([curve]),
    }


@pytest.mark.parametrize("name", ["plan", "labels", "reward", "curves"])
def test_figures_are_svg_in_the_colour_of_the_text(name):
    svg = figures()[name]
    ElementTree.fromstring(svg)
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert INK not in svg


def test_ids_of_figures_on_one_page_differ():
    import re

    found = [set(re.findall(r' id="(clip\w+|p[0-9a-f]{10})"', svg)) for svg in figures().values()]
    assert all(found)
    assert len(set.union(*found)) == sum(map(len, found))


def test_the_same_content_gives_the_same_picture():
    assert figures() == figures()


def test_accuracy_among_the_surest():
    labels = np.array([0.9, 0.45, 0.2, 0.6])
    truth = np.array([True, True, False, False])
    kept, right = kept_accuracy(labels, truth)
    # surest first: 0.9 right, 0.2 right, 0.6 wrong, 0.45 wrong
    np.testing.assert_allclose(kept, [25, 50, 75, 100])
    np.testing.assert_allclose(right, [100, 100, 200 / 3, 50])

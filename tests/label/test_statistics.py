"""How steadily people judge, on answers whose figures are worked out by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from robopref.label.questions import Piece, Question
from robopref.label.statistics import agreement, annotator_statistics
from robopref.label.store import Answer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LETTERS = {"f": "first", "s": "second", "e": "equal"}


def given(number: int, name: str, letter: str, time: float | None = 2.0, **question: Any) -> Answer:
    pieces = question.pop("pieces", (Piece(number, 0, 5), Piece(number + 100, 0, 5)))
    answer: dict[str, Any] = {"choice": LETTERS[letter]} if letter in LETTERS else {"skip": True}
    asked = Question("pair", "?", pieces, **question)
    return Answer(number, asked, name, answer, "", time, NOW)


def ratings(**people: str) -> list[Answer]:
    return [
        given(number, name, letter)
        for name, letters in people.items()
        for number, letter in enumerate(letters)
        if letter != "."
    ]


def test_a_persons_habits() -> None:
    one, two = (Piece(1, 0, 5), Piece(2, 0, 5)), (Piece(3, 0, 5), Piece(4, 0, 5))
    answers = [
        given(0, "ana", "f", 1.0, pieces=one),
        given(1, "ana", "f", 3.0, pieces=two),
        given(2, "ana", "e", 5.0),
        given(3, "ana", "-", None),
        given(4, "ana", "s", 7.0, pieces=one[::-1], repeats=True),  # the same one again
        given(5, "ana", "f", 9.0, pieces=two[::-1], repeats=True),  # the other one
        given(6, "ben", "s"),
    ]
    ana, ben = annotator_statistics(answers)["people"]
    assert (ana["answers"], ana["skipped"], ana["median_time_s"]) == (6, 1, 5.0)
    assert ana["left_share"] == 0.75  # f f s f
    assert (ana["repeated"], ana["consistency"]) == (2, 0.5)
    assert ben["left_share"] == 0.0 and math.isnan(ben["consistency"])
    alone = annotator_statistics(answers, "ben")
    assert [person["name"] for person in alone["people"]] == ["ben"] and alone["agreement"] == {}


def test_agreement_of_two_worked_by_hand() -> None:
    """10 questions, 8 alike. Both say first 6 times: chance is .36 + .16 = .52, kappa .28 / .48."""
    found = agreement(ratings(ana="ffffffssss", ben="fffffsssfs"[:10]))
    assert found["questions"] == 10
    assert found["cohen_kappa"] == pytest.approx((0.8 - 0.52) / 0.48)
    assert found["fleiss_kappa"] == pytest.approx((0.8 - 0.52) / 0.48)
    # Krippendorff: disagreement 4 of 20 values; expected 2 * 12 * 8 / (20 * 19).
    assert found["krippendorff_alpha"] == pytest.approx(1 - (4 / 20) / (2 * 12 * 8 / (20 * 19)))


def test_full_agreement_and_none_to_tell() -> None:
    found = agreement(ratings(ana="fsef", ben="fsef", cem="fsef"))
    assert found["krippendorff_alpha"] == found["fleiss_kappa"] == found["cohen_kappa"] == 1.0
    for people in ({"ana": "fs"}, {"ana": "ff", "ben": "ff"}, {"ana": "f.", "ben": ".s"}, {}):
        found = agreement(ratings(**people))
        for name in ("krippendorff_alpha", "fleiss_kappa", "cohen_kappa"):
            assert math.isnan(found[name]), people


def test_gaps_are_allowed() -> None:
    found = agreement(ratings(ana="fsf.sf", ben="fs.fsf", cem="fsffs."))
    assert found["questions"] == 6 and found["krippendorff_alpha"] == 1.0

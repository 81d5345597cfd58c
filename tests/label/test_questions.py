"""Which questions are asked, and which answers count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robopref.data.segments import whole_episodes
from robopref.errors import InputError
from robopref.label.questions import (
    REPEAT_AFTER,
    TEXTS,
    Piece,
    Question,
    QuestionsConfig,
    check_answer,
    make_questions,
    preferred_pairs,
)
from robopref.preferences.queries import uniform_pairs

A, B, C = Piece(0, 0, 12), Piece(1, 0, 12), Piece(2, 4, 5)


def made(dataset: Any, count: int, **options: Any) -> list[Question]:
    segments, rng = whole_episodes(dataset), np.random.default_rng(0)
    return make_questions(
        segments, count, QuestionsConfig(**options), rng,
        lambda pairs: uniform_pairs(segments, pairs, rng),
    )  # fmt: skip


def test_kinds_take_turns_with_their_number_of_videos(dataset: Any) -> None:
    kinds = list(TEXTS)
    questions = made(dataset, 12, kinds=kinds, repeat_share=0.0, attributes=["gentler", "faster"])
    assert [question.kind for question in questions] == kinds * 2
    assert [len(question.pieces) for question in questions[:6]] == [2, 4, 1, 3, 1, 2]
    assert [q.attribute for q in questions if q.attribute] == ["gentler", "faster"]
    assert questions[5].text == "Which robot is gentler?"
    for question in questions:
        assert len(set(question.pieces)) == len(question.pieces)


def test_some_pairs_come_again_later_with_their_sides_exchanged(dataset: Any) -> None:
    questions = made(dataset, 40, repeat_share=0.25)
    again = [question for question in questions if question.repeats]
    assert len(questions) == 50 and len(again) == 10
    for question in again:
        before = Question(question.kind, question.text, question.pieces[::-1])
        assert questions.index(question) - questions.index(before) >= min(
            REPEAT_AFTER, len(questions) - 1 - questions.index(before)
        )


def test_names_of_pieces() -> None:
    assert Piece.parse(C.key) == C
    for wrong in ("", "1-2", "1-2-3-4", "a-b-c", "1-2--3", "../1-2-3", "1-2-٣", "9" * 13 + "-1-1"):
        assert Piece.parse(wrong) is None


@pytest.mark.parametrize(
    ("kind", "pieces", "right", "wrong"),
    [
        ("pair", (A, B), [{"choice": "first"}, {"choice": "equal"}, {"skip": True}],
         [{}, {"choice": "third"}, {"choice": "first", "more": 1}, {"skip": False}, {"choice": 0}]),
        ("triplet", (A, B, C), [{"choice": "second"}], [{"order": [0, 1, 2]}]),
        ("ranking", (A, B, C), [{"order": [2, 0, 1]}],
         [{"order": [0, 1]}, {"order": [0, 1, 1]}, {"order": [True, 0, 2]}, {"order": "012"}]),
        ("score", (A,), [{"score": 0}, {"score": 7.5}, {"score": 10}],
         [{"score": 11}, {"score": True}, {"score": "5"}, {"score": float("nan")}]),
        ("success", (A,), [{"success": False}, {"success": True, "step": 12}],
         [{"success": True, "step": 13}, {"success": False, "step": 3}, {"success": 1},
          {"success": True, "step": 1.5}]),
    ],
)  # fmt: skip
def test_answers(kind: str, pieces: Any, right: Any, wrong: Any) -> None:
    question = Question(kind, "?", pieces)
    for answer in right:
        check_answer(question, answer)
    for answer in wrong:
        with pytest.raises(InputError, match=f"is none to a {kind} question"):
            check_answer(question, answer)


def test_what_answers_say_about_pairs() -> None:
    pair = Question("pair", "?", (A, B))
    assert preferred_pairs(pair, {"choice": "second"}) == [(A, B, 1.0)]
    assert preferred_pairs(pair, {"choice": "equal"}) == [(A, B, 0.5)]
    assert preferred_pairs(pair, {"skip": True}) == []
    ranking = Question("ranking", "?", (A, B, C))
    assert preferred_pairs(ranking, {"order": [2, 0, 1]}) == [
        (C, A, 0.0), (B, C, 1.0), (A, B, 0.0)
    ]  # fmt: skip
    assert preferred_pairs(Question("score", "?", (A,)), {"score": 3}) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ["duel"]}, "duel is no kind of question"),
        ({"kinds": []}, "at least one"),
        ({"kinds": ["pair", "pair"]}, "name each kind once"),
        ({"kinds": ["pair", "score"], "text": "?"}, "is for one kind"),
        ({"kinds": ["attribute"], "attributes": [""]}, "needs names"),
        ({"ranking_size": 2}, "ranking_size must be at least 3"),
        ({"overlap": 1.5}, "ask.overlap=1.5"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        QuestionsConfig(**options)


def test_too_few_segments(dataset: Any) -> None:
    with pytest.raises(InputError, match="one needs 30 different segments, and the dataset has 20"):
        made(dataset, 1, kinds=["ranking"], ranking_size=30)

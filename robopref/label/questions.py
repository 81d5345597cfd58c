"""What a person can be asked about pieces of episodes, and what counts as an answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from robopref.errors import InputError
from robopref.preferences.queries import Pairs
from robopref.preferences.triplets import LABEL_OF_CHOICE, TRIPLET
from robopref.structures import Segments

PAIR, RANKING, SCORE, SUCCESS, ATTRIBUTE = "pair", "ranking", "score", "success", "attribute"
TEXTS: Mapping[str, str] = {
    PAIR: "Which robot does the task better?",
    RANKING: "Put the videos in order, the best first.",
    SCORE: "How well does the robot do the task?",
    TRIPLET: "Which is closer to A: B or C?",
    SUCCESS: "Does the robot succeed, and when?",
    ATTRIBUTE: "Which robot is {attribute}?",
}
"""Kind of question to its usual text."""
CHOICES = ("first", "second", "equal")
BEST_SCORE = 10
SKIPPED: dict[str, Any] = {"skip": True}
REPEAT_AFTER = 10
"""Questions between a pair and its repetition, at least."""


class Piece(NamedTuple):
    """A segment of an episode."""

    episode: int
    start: int
    length: int

    @property
    def key(self) -> str:
        """Its name in addresses and file names."""
        return f"{self.episode}-{self.start}-{self.length}"

    @staticmethod
    def parse(key: str) -> Piece | None:
        """The piece of a name, None if it is none."""
        parts = key.split("-")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
            return None
        if any(len(part) > 12 for part in parts):
            return None
        return Piece(*map(int, parts))


@dataclass(frozen=True)
class Question:
    """One question; a triplet's first piece is what the other two are compared with."""

    kind: str
    text: str
    pieces: tuple[Piece, ...]
    attribute: str = ""
    repeats: bool = False
    """Whether it was asked before with its sides exchanged, to see how steady a person judges."""


@dataclass
class QuestionsConfig:
    """Which questions are asked."""

    kinds: list[str] = field(default_factory=lambda: [PAIR])
    """Of pair, ranking, score, triplet, success and attribute; several take turns."""
    text: str = ""
    """What is asked, when there is one kind; its usual text when empty."""
    attributes: list[str] = field(default_factory=lambda: ["gentler"])
    """What attribute questions compare by, such as gentler or faster."""
    ranking_size: int = 4
    """Videos in a ranking."""
    repeat_share: float = 0.1
    """Share of the pairs that are asked again later with their sides exchanged."""
    overlap: float = 0.0
    """Share of the questions that more than one person answers."""
    people: int = 2
    """How many answer those."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in TEXTS:
                raise InputError(
                    f"ask.kinds: {kind} is no kind of question; choose from {', '.join(TEXTS)}"
                )
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise InputError("ask.kinds: name each kind once, and at least one")
        if self.text and len(self.kinds) > 1:
            raise InputError("ask.text: is for one kind of question; leave it out")
        if ATTRIBUTE in self.kinds and not all(self.attributes):
            raise InputError("ask.attributes: needs names, such as [gentler,faster]")
        if self.ranking_size < 3 or self.people < 2:
            raise InputError("ask: ranking_size must be at least 3 and people at least 2")
        for name in ("repeat_share", "overlap"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"ask.{name}={getattr(self, name)}: must lie in [0, 1]")


def make_questions(
    segments: Segments,
    count: int,
    config: QuestionsConfig,
    rng: np.random.Generator,
    pairs: Callable[[int], Pairs],
) -> list[Question]:
    """Makes `count` questions, their repetitions beside.

    Args:
        segments: what other questions than pairs draw from.
        count: how many.
        config: which kinds.
        rng: source of randomness.
        pairs: gives so many different pairs to compare.

    Raises:
        InputError: if there are too few segments.
    """
    turns = [config.kinds[index % len(config.kinds)] for index in range(count)]
    number_of_pairs = sum(kind in (PAIR, ATTRIBUTE) for kind in turns)
    compared = pairs(number_of_pairs) if number_of_pairs else (segments[:0], segments[:0])
    needed = max(_size(kind, config) for kind in turns)
    if needed > len(segments):
        raise InputError(
            f"ask.kinds: one needs {needed} different segments, and the dataset has "
            f"{len(segments)}; give a shorter segment_length"
        )
    questions: list[Question] = []
    number, attribute = 0, 0
    for kind in turns:
        name = ""
        if kind in (PAIR, ATTRIBUTE):
            chosen = tuple(piece_of(side, number) for side in compared)
            number += 1
            if kind == ATTRIBUTE:
                name = config.attributes[attribute % len(config.attributes)]
                attribute += 1
        else:
            rows = rng.choice(len(segments), _size(kind, config), replace=False)
            chosen = tuple(piece_of(segments, int(row)) for row in rows)
        text = config.text or TEXTS[kind].format(attribute=name)
        questions.append(Question(kind, text, chosen, name))
    return _with_repetitions(questions, config.repeat_share, rng)


def _size(kind: str, config: QuestionsConfig) -> int:
    sizes = {RANKING: config.ranking_size, SCORE: 1, SUCCESS: 1, TRIPLET: 3}
    return sizes.get(kind, 2)


def piece_of(segments: Segments, index: int) -> Piece:
    """One of the segments."""
    return Piece(*(int(values[index]) for values in vars(segments).values()))


def _with_repetitions(
    questions: list[Question], share: float, rng: np.random.Generator
) -> list[Question]:
    found = [question for question in questions if question.kind == PAIR]
    placed = list(questions)
    for index in rng.choice(max(len(found), 1), round(share * len(found)), replace=False):
        question = found[int(index)]
        again = Question(question.kind, question.text, question.pieces[::-1], repeats=True)
        place = placed.index(question) + REPEAT_AFTER
        placed.insert(min(place, len(placed)), again)
    return placed


def check_answer(question: Question, answer: Mapping[str, Any]) -> None:
    """Raises `InputError` unless `answer` is one to this question."""
    if dict(answer) == SKIPPED:
        return
    names = {RANKING: "order", SCORE: "score", SUCCESS: "success"}
    wanted = names.get(question.kind, "choice")
    allowed = {wanted, "step"} if question.kind == SUCCESS else {wanted}
    value: Any = answer.get(wanted)
    if wanted == "choice":
        right = value in CHOICES
    elif wanted == "order":
        right = _is_order(value, len(question.pieces))
    elif wanted == "score":
        right = type(value) in (int, float) and 0 <= value <= BEST_SCORE
    else:
        right = type(value) is bool and _is_moment(answer, question.pieces[0])
    if set(answer) - allowed or not right:
        raise InputError(f"answer: {str(dict(answer))[:80]} is none to a {question.kind} question")


def _is_order(value: Any, size: int) -> bool:
    return (
        isinstance(value, list)
        and all(type(place) is int for place in value)
        and sorted(value) == list(range(size))
    )


def _is_moment(answer: Mapping[str, Any], piece: Piece) -> bool:
    step = answer.get("step")
    return step is None or (type(step) is int and answer["success"] and 0 <= step <= piece.length)


def preferred_pairs(
    question: Question, answer: Mapping[str, Any]
) -> Sequence[tuple[Piece, Piece, float]]:
    """What an answer says about pairs: first, second, and the label of the second.

    A ranking of k gives its k (k - 1) / 2 pairs, the better one on either side in turn. Scores,
    triplets, successes and skips give none.
    """
    if question.kind == RANKING and "order" in answer:
        best_first = [question.pieces[place] for place in answer["order"]]
        ordered = itertools.combinations(best_first, 2)
        return [
            (worse, better, 1.0) if number % 2 else (better, worse, 0.0)
            for number, (better, worse) in enumerate(ordered)
        ]
    if question.kind in (PAIR, ATTRIBUTE) and "choice" in answer:
        return [(*question.pieces, LABEL_OF_CHOICE[answer["choice"]])]  # type: ignore[list-item]  # two of them
    return []

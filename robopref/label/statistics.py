"""How steadily people judge: with themselves, and with one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.label.questions import ATTRIBUTE, CHOICES, PAIR, Piece
from robopref.label.store import Answer
from robopref.preferences.triplets import TRIPLET

COMPARED = (PAIR, ATTRIBUTE, TRIPLET)
"""Kinds whose answer is first, second or equal."""


def annotator_statistics(answers: Sequence[Answer], only: str | None = None) -> dict[str, Any]:
    """Statistics of each person, and of their agreement.

    Args:
        answers: all that stand.
        only: the one person to tell about; agreement is left out then.

    Returns:
        `people`, a list of `name`, `answers`, `skipped`, `median_time_s`, `left_share` (of the
        answers that are not equal, how many chose the first: 0.5 is fair), `repeated` and
        `consistency` (of pairs asked twice, how many got the same answer); and `agreement`, see
        `agreement`. NaN where there is nothing to tell.
    """
    by_person: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if only is None or answer.annotator == only:
            by_person[answer.annotator].append(answer)
    people = [_of_person(name, given) for name, given in sorted(by_person.items())]
    return {"people": people, "agreement": agreement(answers) if only is None else {}}


def _of_person(name: str, answers: Sequence[Answer]) -> dict[str, Any]:
    choices = [a.answer["choice"] for a in answers if "choice" in a.answer]
    sides = [choice for choice in choices if choice != "equal"]
    times = [a.response_time_s for a in answers if a.response_time_s is not None]
    same = _repetitions(answers)
    return {
        "name": name,
        "answers": len(answers),
        "skipped": sum("skip" in a.answer for a in answers),
        "median_time_s": float(np.median(times)) if times else float("nan"),
        "left_share": sides.count("first") / len(sides) if sides else float("nan"),
        "repeated": len(same),
        "consistency": float(np.mean(same)) if same else float("nan"),
    }


def _repetitions(answers: Sequence[Answer]) -> list[bool]:
    """For each pair that a person judged twice with exchanged sides, whether alike."""
    first: dict[tuple[Piece, ...], str] = {}
    same = []
    exchanged = {"first": "second", "second": "first", "equal": "equal"}
    for answer in answers:
        if answer.question.kind != PAIR or "choice" not in answer.answer:
            continue
        pieces, choice = answer.question.pieces, answer.answer["choice"]
        if answer.question.repeats and pieces[::-1] in first:
            same.append(first[pieces[::-1]] == exchanged[choice])
        elif not answer.question.repeats:
            first[pieces] = choice
    return same


def agreement(answers: Sequence[Answer]) -> dict[str, float]:
    """How far people agree about the same questions, beyond chance.

    Returns:
        `questions` that more than one person answered, `krippendorff_alpha` over all of them,
        `fleiss_kappa` over those that the same number of people answered (the most common number),
        and `cohen_kappa`, the mean over pairs of people. Choices are nominal. 1 is full agreement,
        0 what chance gives; NaN where there are fewer than two answers to compare.
    """
    table = _choices_by_question(answers)
    shared = [row for row in table.values() if len(row) > 1]
    result = {"questions": float(len(shared))}
    names = sorted({name for row in shared for name in row})
    ratings = np.full((len(names), len(shared)), np.nan)
    for column, row in enumerate(shared):
        for name, choice in row.items():
            ratings[names.index(name), column] = CHOICES.index(choice)
    result["krippendorff_alpha"] = _krippendorff(ratings)
    result["fleiss_kappa"] = _fleiss(ratings)
    result["cohen_kappa"] = _cohen(ratings)
    return result


def _choices_by_question(answers: Sequence[Answer]) -> dict[int, dict[str, str]]:
    table: dict[int, dict[str, str]] = defaultdict(dict)
    for answer in answers:
        if answer.question.kind in COMPARED and "choice" in answer.answer:
            table[answer.question_id][answer.annotator] = answer.answer["choice"]
    return table


def _krippendorff(ratings: NDArray[np.float64]) -> float:
    import krippendorff

    if _constant(ratings):
        return float("nan")
    return float(krippendorff.alpha(ratings, level_of_measurement="nominal"))


def _fleiss(ratings: NDArray[np.float64]) -> float:
    from statsmodels.stats.inter_rater import fleiss_kappa

    counts = np.stack([(ratings == choice).sum(0) for choice in range(len(CHOICES))], axis=1)
    raters = counts.sum(1)
    if _constant(ratings):
        return float("nan")
    alike = counts[raters == np.bincount(raters).argmax()]
    return float("nan") if (alike.sum(0) > 0).sum() < 2 else float(fleiss_kappa(alike))


def _cohen(ratings: NDArray[np.float64]) -> float:
    from statsmodels.stats.inter_rater import cohens_kappa

    found = []
    for one, two in combinations(ratings, 2):
        both = ~np.isnan(one) & ~np.isnan(two)
        if both.sum() > 1 and not _constant(np.stack([one[both], two[both]])):
            counts = np.zeros((len(CHOICES), len(CHOICES)))
            np.add.at(counts, (one[both].astype(int), two[both].astype(int)), 1)
            found.append(float(cohens_kappa(counts, return_results=False)))
    return float(np.mean(found)) if found else float("nan")


def _constant(ratings: NDArray[np.float64]) -> bool:
    """Whether chance cannot be told from agreement."""
    return len(np.unique(ratings[~np.isnan(ratings)])) < 2

"""Questions in the terminal: videos as files, answers by a letter, for a quick session over ssh."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robopref.label.questions import (
    BEST_SCORE,
    RANKING,
    SCORE,
    SUCCESS,
    Piece,
    Question,
    check_answer,
)
from robopref.label.store import Store
from robopref.label.videos import VideoCache

CHOICES = {"l": "first", "r": "second", "e": "equal"}
LEAVE, UNDO = "q", "u"


def ask_in_terminal(
    store: Store,
    videos: VideoCache,
    annotator: str,
    folder: Path,
    read: Callable[[str], str] = input,
    write: Callable[[str], None] = print,
) -> int:
    """Asks until there is no question left or the person leaves.

    Args:
        store: has the questions and gets the answers.
        videos: makes the videos.
        annotator: who answers.
        folder: gets a picture strip of each piece (`now-A.png`, ...), for terminals and editors
            that show pictures and not videos.
        read: asks for a line, as `input`.
        write: shows a line.

    Returns:
        Answers stored.
    """
    person, stored = store.annotator(annotator), 0
    leased = store.next_question(person)
    while leased is not None:
        _show(leased.question, videos, folder, write)
        upcoming = store.upcoming(person, 1)
        videos.prepare(piece for question in upcoming for piece in question.pieces)
        since = time.monotonic()
        given = _answer(leased.question, read, write)
        if given == LEAVE:
            return stored
        if given == UNDO:
            undone = store.undo(person)
            write("the last answer is taken back" if undone else "there is none to take back")
            if undone is not None:
                leased, stored = undone, stored - 1
            continue
        seconds = time.monotonic() - since
        leased = store.answer(person, leased.place, uuid.uuid4().hex, given, seconds).leased
        stored += 1
    write("no question is left; thank you")
    return stored


def _show(
    question: Question, videos: VideoCache, folder: Path, write: Callable[[str], None]
) -> None:
    write(f"\n{question.text}")
    videos.prepare(question.pieces)
    for name, piece in zip("ABCDEFGHIJ", question.pieces, strict=False):
        video = _wait(videos, piece)
        strip = folder / f"now-{name}.png"
        _write_strip(video, strip)
        write(f"  {name}: {video}\n     {strip}  ({piece.length} steps)")


def _wait(videos: VideoCache, piece: Piece) -> Path:
    while (path := videos.path(piece)) is None:
        time.sleep(0.05)
    return path


def _write_strip(video: Path, path: Path, pictures: int = 8) -> None:
    """Writes some pictures of a video side by side."""
    import cv2

    capture, frames = cv2.VideoCapture(str(video)), []
    while (found := capture.read())[0]:
        frames.append(found[1])
    capture.release()
    chosen = np.linspace(0, len(frames) - 1, min(pictures, len(frames))).round().astype(int)
    small = [
        cv2.resize(frames[index], (128, 128), interpolation=cv2.INTER_AREA) for index in chosen
    ]
    cv2.imwrite(str(path), np.concatenate(small, axis=1))


def _answer(question: Question, read: Callable[[str], str], write: Callable[[str], None]) -> Any:
    """An answer, or `LEAVE` or `UNDO`."""
    prompts = {
        RANKING: "letters, the best first (such as CAB)",
        SCORE: f"0 to {BEST_SCORE}",
        SUCCESS: "y or n, with the step of success (such as y 40)",
    }
    prompt = prompts.get(question.kind, "l left/first, r right/second, e equal")
    while True:
        try:
            line = read(f"[{prompt}; s skip, u undo, q leave] ").strip().lower()
        except EOFError:
            return LEAVE
        if line in (LEAVE, UNDO):
            return line
        given = _parse(question, line)
        try:
            check_answer(question, given)
        except ValueError as error:  # InputError is one
            write(str(error))
        else:
            return given


def _parse(question: Question, line: str) -> dict[str, Any]:
    if line == "s":
        return {"skip": True}
    if question.kind == RANKING:
        return {"order": [ord(letter) - ord("a") for letter in line.replace(" ", "")]}
    if question.kind == SCORE:
        return {"score": float(line) if line.replace(".", "", 1).isdigit() else None}
    if question.kind == SUCCESS:
        word, _, step = line.partition(" ")
        moment = {"step": int(step)} if step.isdigit() else {}
        return {"success": {"y": True, "n": False}.get(word), **moment}
    return {"choice": CHOICES.get(line)}

"""The label page's server.

GET  /                     the page
GET  /a/SECRET             a person's link: becomes a cookie, and leads to the page
GET  /api/session          who asks, and how much is left
POST /api/next             leases the next question; 204 when there is none
POST /api/answers          stores an answer, once, and gives the next question
POST /api/undo             takes the last answer back, and gives its question
GET  /api/statistics       how steadily people judge, and how good the reward is by now
GET  /videos/KEY.mp4       a video of a question that the person has, or is going to have
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Cookie, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from robopref.errors import InputError
from robopref.label.access import COOKIE, Access, Guard, Person
from robopref.label.questions import BEST_SCORE, Piece
from robopref.label.statistics import annotator_statistics
from robopref.label.store import BusyError, Store, TakenError, Turn
from robopref.label.videos import FRAMES_PER_SECOND, VideoCache, frame_step

STATIC = Path(__file__).parent / "static"
PAGES = {"index.html": "text/html", "label.css": "text/css", "label.js": "text/javascript"}
AHEAD = 3
"""Questions whose videos are made before they are asked."""
LONGEST_WAIT_S = 30.0
"""How long a request waits for a video that is being made."""


class AnswerIn(BaseModel):
    """What the page sends."""

    model_config = ConfigDict(extra="forbid", strict=True)
    place: int = Field(ge=1, le=2**62)
    client_id: str = Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9-]+$")
    answer: dict[str, Any]
    response_time_s: float = Field(ge=0.0, le=86_400.0)
    reason: str = Field(default="", max_length=2_000)


@dataclass
class Labelling:
    """What one server serves."""

    store: Store
    videos: VideoCache
    access: Access
    title: str
    """What is labelled, such as the dataset's name."""
    instructions: str = ""
    """Shown above the question."""
    secure: bool = False
    """Whether the page comes over TLS."""
    learning: Callable[[], dict[str, Any]] = dict
    """Gives what the reward learned from the answers so far."""
    on_answer: Callable[[], None] = lambda: None
    ending: Callable[[], bool] = lambda: False
    """Whether the server is about to end, so that nothing is to be waited for."""
    _visible: dict[int, set[Piece]] = field(default_factory=lambda: defaultdict(set))
    """Pieces that each person may see."""

    def shown(self, person: Person, turn: Turn) -> dict[str, Any]:
        """What the page gets of a turn; its videos are under way.

        Those of the following questions are made when the page asks for them, which it does as soon
        as it has the first ones: made at once, they would keep these from being shown.
        """
        pieces = list(turn.leased.question.pieces) if turn.leased else []
        following = [piece for question in turn.coming for piece in question.pieces]
        self._visible[person.id].update(pieces, following)
        self.videos.prepare(pieces)
        shown = None
        if turn.leased is not None:
            shown = {
                "place": turn.leased.place,
                "kind": turn.leased.question.kind,
                "text": turn.leased.question.text,
                "attribute": turn.leased.question.attribute,
                "until": turn.leased.until.isoformat(),
                "items": [_item(piece) for piece in pieces],
                "coming": [_address(piece) for piece in following],
            }
        return {"answered": turn.answered, "left": turn.left, "next": shown}

    def may_see(self, person: Person, piece: Piece) -> bool:
        """Whether a video belongs to a question that the person has, had, or is going to have."""
        return piece in self._visible[person.id]


def _item(piece: Piece) -> dict[str, Any]:
    return {
        "video": _address(piece),
        "steps": piece.length,
        "steps_per_frame": frame_step(piece.length),
        "frames_per_second": FRAMES_PER_SECOND,
    }


def _address(piece: Piece) -> str:
    return f"videos/{piece.key}.mp4"


def _person(
    request: Request, secret: Annotated[str | None, Cookie(alias=COOKIE, max_length=200)] = None
) -> Person:
    found: Person | None = request.app.state.labelling.access.person(secret)
    if found is None:
        raise HTTPException(401, "open the link that you were sent")
    return found


Who = Annotated[Person, Depends(_person)]


def create_app(labelling: Labelling) -> FastAPI:
    """The application, guarded."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    store = labelling.store
    app.add_middleware(Guard, loopback=labelling.access.open)
    app.state.labelling = labelling

    @app.exception_handler(BusyError)
    def busy(request: Any, error: BusyError) -> Response:
        logging.getLogger(__name__).error("database: %s", error)
        return JSONResponse(
            {"detail": "nothing can be stored now; the answer is kept in the browser"},
            503,
            {"Retry-After": "2"},
        )

    @app.exception_handler(RequestValidationError)
    def invalid(request: Any, error: RequestValidationError) -> Response:
        return JSONResponse({"detail": "the request is not one that the page sends"}, 422)

    @app.get("/a/{secret}")
    def enter(secret: str) -> Response:
        if store.annotator_of(secret) is None:
            raise HTTPException(403, "this link is not valid; ask for a new one")
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE, secret, max_age=90 * 86_400, httponly=True, samesite="strict",
            secure=labelling.secure,
        )  # fmt: skip
        return response

    @app.get("/")
    def index() -> Response:
        return _page("index.html")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in PAGES:
            raise HTTPException(404, "no such file")
        return _page(name)

    @app.get("/api/session")
    def session(who: Who) -> dict[str, Any]:
        return {
            "annotator": who.name,
            "owner": who.owner,
            "title": labelling.title,
            "instructions": labelling.instructions,
            "best_score": BEST_SCORE,
        }

    @app.post("/api/next")
    def following(who: Who) -> dict[str, Any]:
        return labelling.shown(who, store.turn(who.id, AHEAD))

    @app.post("/api/answers")
    def answer(who: Who, given: AnswerIn) -> dict[str, Any]:
        try:
            turn = store.answer(
                who.id, given.place, given.client_id, given.answer, given.response_time_s,
                given.reason, AHEAD,
            )  # fmt: skip
        except InputError as error:
            raise HTTPException(422, str(error)) from error
        except TakenError as error:
            raise HTTPException(409, "the question has gone to somebody else") from error
        labelling.on_answer()
        return {"stored": True, **labelling.shown(who, turn)}

    @app.post("/api/undo")
    def undo(who: Who) -> dict[str, Any]:
        store.undo(who.id)
        return labelling.shown(who, store.turn(who.id, AHEAD))

    @app.get("/api/statistics")
    def statistics(who: Who) -> dict[str, Any]:
        name = None if who.owner else who.name
        found = annotator_statistics(store.answers(), name)
        found["learning"] = labelling.learning() if who.owner else {}
        known: dict[str, Any] = _without_nan(found)
        return known

    @app.get("/videos/{key}.mp4")
    async def video(who: Who, key: str) -> Response:
        piece = Piece.parse(key)
        if piece is None or not labelling.may_see(who, piece):
            raise HTTPException(404, "no such video")
        labelling.videos.prepare([piece])
        waited = 0.0
        while (path := _made(labelling, piece)) is None and waited < LONGEST_WAIT_S:
            if labelling.ending():
                break
            await asyncio.sleep(0.02)
            waited += 0.02
        if path is None:
            raise HTTPException(503, "the video is being made; try again")
        return FileResponse(
            path, media_type="video/mp4", headers={"Cache-Control": "private, max-age=86400"}
        )

    return app


def _made(labelling: Labelling, piece: Piece) -> Path | None:
    try:
        return labelling.videos.path(piece)
    except InputError as error:
        logging.getLogger(__name__).error("%s", error)
        raise HTTPException(500, "the video cannot be made; see the server's output") from error


def _page(name: str) -> Response:
    return FileResponse(
        STATIC / name, media_type=PAGES[name], headers={"Cache-Control": "no-cache"}
    )


def _without_nan(values: Any) -> Any:
    """JSON has no NaN: what is not known is null."""
    if isinstance(values, dict):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values

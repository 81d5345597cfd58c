"""Questions, leases and answers in a database: SQLite in a file, or PostgreSQL by address.

Every question has as many places as people are to answer it. A place is leased to one person at a
time and comes back when the lease runs out. An answer is one transaction, and is acknowledged after
its commit; the page's own number of an answer makes a repeated delivery harmless. Undone answers
stay in the table, marked.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, aliased

from robopref.errors import InputError
from robopref.label.database import WRITERS, first_line, open_database, without_password
from robopref.label.questions import Question, check_answer
from robopref.label.tables import LONGEST_NAME, Annotator, Asked, Given, Place, Project


@dataclass(frozen=True)
class Leased:
    """A question in a person's hands."""

    place: int
    question: Question
    until: datetime


@dataclass(frozen=True)
class Turn:
    """What a person sees after an answer."""

    leased: Leased | None
    coming: list[Question]
    answered: int
    """Answers of the person."""
    left: int
    """Answers that all questions still lack."""


@dataclass(frozen=True)
class Answer:
    """A stored answer that was not undone."""

    question_id: int
    question: Question
    annotator: str
    answer: dict[str, Any]
    reason: str
    response_time_s: float | None
    created_at: datetime


class TakenError(Exception):
    """The question is no longer this person's."""


class BusyError(Exception):
    """The database cannot write now: full disk, or no connection. Nothing was stored."""


class Store:
    """The database of one project."""

    def __init__(self, url: str, dataset: str, lease_s: float = 600.0) -> None:
        """
        Args:
            url: SQLAlchemy's, such as `sqlite:///labels.db` or
                `postgresql+psycopg://user@host/labels`.
            dataset: fingerprint of the dataset that is labelled.
            lease_s: seconds that a person has for a question.

        Raises:
            InputError: if the database cannot be opened or belongs to another dataset.
        """
        self._lease = timedelta(seconds=lease_s)
        self._engine = open_database(url)
        self._sqlite = self._engine.dialect.name == "sqlite"
        # SQLite has one writer, and those that wait for it sleep for longer and longer; taking
        # turns here costs less.
        self._turns = threading.BoundedSemaphore(1 if self._sqlite else WRITERS)
        with self._transaction() as session:
            project = session.get(Project, 1)
            if project is None:
                session.add(Project(id=1, dataset=dataset))
            elif project.dataset != dataset:
                raise InputError(
                    f"database={without_password(url)}: holds labels of dataset "
                    f"{project.dataset}, not of {dataset}; give the project a database of its own"
                )

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def add_questions(
        self, questions: Sequence[Question], people: Sequence[int] | None = None
    ) -> None:
        """Appends questions, in order.

        Args:
            questions: what is asked.
            people: how many are to answer each; one when None.
        """
        with self._transaction() as session:
            rows = [
                Asked(
                    kind=question.kind,
                    text=question.text,
                    attribute=question.attribute,
                    pieces=json.dumps(question.pieces),
                    repeats=question.repeats,
                )
                for question in questions
            ]
            session.add_all(rows)
            session.flush()
            for row, count in zip(rows, people or [1] * len(rows), strict=True):
                session.add_all(Place(question_id=row.id) for _ in range(count))

    def questions(self) -> list[Question]:
        """All questions so far, in order."""
        with self._transaction(writes=False) as session:
            return [row.question for row in session.scalars(select(Asked).order_by(Asked.id))]

    def annotator(self, name: str) -> int:
        """Number of the person of that name, who is added when new."""
        with self._transaction() as session:
            return _annotator(session, name).id

    def new_token(self, name: str) -> str:
        """A new secret of a person, in place of an older one; only its hash is kept."""
        token = secrets.token_urlsafe(24)
        with self._transaction() as session:
            _annotator(session, name).token_hash = _hash(token)
        return token

    def annotator_of(self, token: str) -> tuple[int, str] | None:
        """Number and name of the person with that secret."""
        with self._transaction(writes=False) as session:
            found = session.scalar(select(Annotator).where(Annotator.token_hash == _hash(token)))
            return (found.id, found.name) if found else None

    def next_question(self, annotator: int, now: datetime | None = None) -> Leased | None:
        """Leases the first open question to a person; the one that they have, if they have one."""
        with self._transaction() as session:
            return self._lease_next(session, annotator, _naive(now or datetime.now(UTC)))

    def upcoming(self, annotator: int, count: int) -> list[Question]:
        """The open questions that a person could be asked, the first ones first."""
        with self._transaction(writes=False) as session:
            found = session.execute(self._open(annotator, _naive(datetime.now(UTC)), count))
            return [asked.question for _, asked in found]

    def turn(self, annotator: int, ahead: int) -> Turn:
        """`next_question`, with what comes after it and how far the person is, at once.

        Args:
            annotator: the person.
            ahead: how many of the following questions to look at.
        """
        with self._transaction() as session:
            return self._turn_of(session, annotator, ahead)

    def answer(
        self,
        annotator: int,
        place_id: int,
        client_id: str,
        answer: dict[str, Any],
        response_time_s: float | None = None,
        reason: str = "",
        ahead: int = 0,
    ) -> Turn:
        """Stores an answer, and gives what comes next; delivering it again changes nothing.

        Raises:
            InputError: if it is no answer to the question.
            TakenError: if the place is another person's by now, or has another answer.
            BusyError: if nothing can be written.
        """
        given = Given(
            place_id=place_id,
            annotator_id=annotator,
            client_id=client_id,
            answer=json.dumps(answer),
            reason=reason,
            response_time_s=response_time_s,
            created_at=_naive(datetime.now(UTC)),
        )
        try:
            with self._transaction() as session:
                self._keep(session, given)
                return self._turn_of(session, annotator, ahead)
        except (TakenError, IntegrityError) as error:
            with self._transaction() as session:
                known = session.scalar(select(Given).where(Given.client_id == client_id))
                if known is None or (known.annotator_id, known.place_id) != (annotator, place_id):
                    raise TakenError from error
                return self._turn_of(session, annotator, ahead)  # it was delivered before

    def _keep(self, session: Session, given: Given) -> None:
        statement = (
            select(Place, Asked)
            .join(Asked, Asked.id == Place.question_id)
            .where(Place.id == given.place_id)
        )
        if not self._sqlite:
            statement = statement.with_for_update(of=Place)
        found = session.execute(statement).first()
        if found is None or found[0].annotator_id != given.annotator_id or found[0].answered:
            raise TakenError
        place, asked = found
        check_answer(asked.question, json.loads(given.answer))
        place.answered, given.question_id = True, place.question_id
        session.add(given)
        session.flush()

    def _turn_of(self, session: Session, annotator: int, ahead: int) -> Turn:
        now = _naive(datetime.now(UTC))
        leased = self._lease_next(session, annotator, now)
        session.flush()
        coming = []
        if ahead:
            following = session.execute(self._open(annotator, now, ahead))
            coming = [asked.question for _, asked in following]
        given = select(func.count()).select_from(Given).where(
            Given.annotator_id == annotator, Given.undone.is_(False)
        )  # fmt: skip
        left = select(func.count()).select_from(Place).where(Place.answered.is_(False))
        counts = select(given.scalar_subquery(), left.scalar_subquery())
        return Turn(leased, coming, *session.execute(counts).one())

    def undo(self, annotator: int) -> Leased | None:
        """Takes back a person's last answer and leases its question to them again."""
        with self._transaction() as session:
            last = session.scalar(
                select(Given)
                .where(Given.annotator_id == annotator, Given.undone.is_(False))
                .order_by(Given.id.desc())
                .limit(1)
            )
            if last is None:
                return None
            session.execute(  # the question that they have now goes back
                update(Place)
                .where(Place.annotator_id == annotator, Place.answered.is_(False))
                .values(annotator_id=None, lease_until=None)
            )
            last.undone = True
            place = session.get_one(Place, last.place_id)
            place.answered = False
            place.lease_until = _naive(datetime.now(UTC)) + self._lease
            return _leased(place, session.get_one(Asked, place.question_id))

    def close_open_questions(self) -> None:
        """Asks nothing more: drops the places that nobody has taken."""
        with self._transaction() as session:
            for place in session.scalars(
                select(Place).where(Place.answered.is_(False), Place.annotator_id.is_(None))
            ):
                session.delete(place)

    def count(self) -> int:
        """How many answers stand."""
        with self._transaction(writes=False) as session:
            rows = select(func.count()).select_from(Given).where(Given.undone.is_(False))
            return session.scalar(rows) or 0

    def answers(self) -> list[Answer]:
        """All answers that stand, in the order they were given."""
        columns = (
            Given.question_id, Given.annotator_id, Given.answer, Given.reason,
            Given.response_time_s, Given.created_at,
        )  # fmt: skip
        with self._transaction(writes=False) as session:
            asked = {row.id: row.question for row in session.scalars(select(Asked))}
            names = {row.id: row.name for row in session.scalars(select(Annotator))}
            rows = session.execute(
                select(*columns).where(Given.undone.is_(False)).order_by(Given.id)
            ).all()
        return [
            Answer(
                row.question_id,
                asked[row.question_id],
                names[row.annotator_id],
                json.loads(row.answer),
                row.reason,
                row.response_time_s,
                row.created_at.replace(tzinfo=UTC),
            )
            for row in rows
        ]

    def _lease_next(self, session: Session, annotator: int, now: datetime) -> Leased | None:
        own = session.execute(
            select(Place, Asked)
            .join(Asked, Asked.id == Place.question_id)
            .where(
                Place.annotator_id == annotator,
                Place.answered.is_(False),
                Place.lease_until >= now,
            )
        ).first()
        found = own or session.execute(self._open(annotator, now, 1, lock=True)).first()
        if found is None:
            return None
        place, asked = found
        place.annotator_id, place.lease_until = annotator, now + self._lease
        return _leased(place, asked)

    def _open(self, annotator: int, now: datetime, count: int, lock: bool = False) -> Any:
        """Places that this person may take and their questions, in the order of these."""
        own = aliased(Place)
        taken = select(own.id).where(
            own.annotator_id == annotator,
            own.question_id == Place.question_id,
            own.id != Place.id,  # a lease of theirs that ran out does not count
        )
        statement = (
            select(Place, Asked)
            .join(Asked, Asked.id == Place.question_id)
            .where(
                Place.answered.is_(False),
                or_(Place.annotator_id.is_(None), Place.lease_until < now),
                ~taken.exists(),
            )
            .order_by(Place.id)
            .limit(count)
        )
        if lock and not self._sqlite:
            statement = statement.with_for_update(skip_locked=True, of=Place)
        return statement

    @contextmanager
    def _transaction(self, writes: bool = True) -> Iterator[Session]:
        """A session that commits at the end, and only then returns."""
        if writes:
            self._turns.acquire()
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session
        except OperationalError as error:
            raise BusyError(first_line(error)) from error
        finally:
            if writes:
                self._turns.release()


def _leased(place: Place, asked: Asked) -> Leased:
    return Leased(place.id, asked.question, (place.lease_until or datetime.min).replace(tzinfo=UTC))


def _annotator(session: Session, name: str) -> Annotator:
    if not 0 < len(name) <= LONGEST_NAME:
        raise InputError(f"annotator {name[:20]!r}: a name has 1 to {LONGEST_NAME} letters")
    found = session.scalar(select(Annotator).where(Annotator.name == name))
    if found is None:
        found = Annotator(name=name)
        session.add(found)
        session.flush()
    return found


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _naive(moment: datetime) -> datetime:
    """UTC without a zone, as both databases keep it."""
    return moment.astimezone(UTC).replace(tzinfo=None)

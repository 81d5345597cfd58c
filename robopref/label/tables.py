"""The database's tables."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from robopref.label.questions import Piece, Question

LONGEST_NAME = 80


class Base(DeclarativeBase):
    """The tables."""


class Project(Base):
    """The one row that says what is labelled here."""

    __tablename__ = "project"
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset: Mapped[str] = mapped_column(String(200))
    """Its fingerprint."""


class Annotator(Base):
    """A person."""

    __tablename__ = "annotators"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME), unique=True)
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)


class Asked(Base):
    """A question."""

    __tablename__ = "questions"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(Text)
    attribute: Mapped[str] = mapped_column(String(LONGEST_NAME))
    pieces: Mapped[str] = mapped_column(Text)
    repeats: Mapped[bool]

    @property
    def question(self) -> Question:
        """As it is asked."""
        pieces = tuple(Piece(*piece) for piece in json.loads(self.pieces))
        return Question(self.kind, self.text, pieces, self.attribute, self.repeats)


class Place(Base):
    """Room for one person's answer to a question."""

    __tablename__ = "places"
    id: Mapped[int] = mapped_column(primary_key=True)
    question_id: Mapped[int] = mapped_column(ForeignKey("questions.id"))
    annotator_id: Mapped[int | None] = mapped_column(ForeignKey("annotators.id"))
    lease_until: Mapped[datetime | None]
    answered: Mapped[bool] = mapped_column(default=False)
    # Two partial indexes of few rows: what is open, and what a person has taken.
    __table_args__ = (
        Index("open_places", "id", sqlite_where=~answered, postgresql_where=~answered),
        Index("taken_places", "annotator_id", "question_id"),
    )


class Given(Base):
    """An answer."""

    __tablename__ = "answers"
    id: Mapped[int] = mapped_column(primary_key=True)
    place_id: Mapped[int] = mapped_column(ForeignKey("places.id"), index=True)
    question_id: Mapped[int] = mapped_column(ForeignKey("questions.id"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id"), index=True)
    client_id: Mapped[str] = mapped_column(String(64), unique=True)
    answer: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    response_time_s: Mapped[float | None]
    created_at: Mapped[datetime]
    undone: Mapped[bool] = mapped_column(default=False)

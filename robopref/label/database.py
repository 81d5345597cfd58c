"""Opening a database, and what is said when that fails."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from robopref.errors import InputError
from robopref.label.tables import Base

WRITERS = 2
"""Transactions at once on PostgreSQL. Python runs one thread at a time, so more of them would only
make each take longer."""


def open_database(url: str) -> Engine:
    """Connects and makes the tables that are missing.

    Args:
        url: SQLAlchemy's.

    Raises:
        InputError: if that fails.
    """
    try:
        engine = create_engine(url, pool_size=WRITERS, max_overflow=16)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _set_up_sqlite)
        Base.metadata.create_all(engine)
    except (SQLAlchemyError, ArgumentError, ImportError) as error:
        raise InputError(
            f"database={without_password(url)}: cannot be opened ({first_line(error)}); give "
            "sqlite:///FILE, or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        ) from error
    return engine


def without_password(url: str) -> str:
    """An address to show."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url.split("@")[-1]


def first_line(error: BaseException) -> str:
    """What went wrong, in a line."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _set_up_sqlite(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    # A commit is on the disk when it returns, and readers do not wait for it.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()

"""The database: leases, one transaction an answer, nothing lost and nothing twice."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from robopref.errors import InputError
from robopref.label.store import BusyError, Store, TakenError
from tests.label.conftest import pairs

FIRST = {"choice": "first"}


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store in each kind of database."""
    url = f"sqlite:///{tmp_path / 'either.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
    store = Store(url, "walks")
    yield store
    store.close()


def test_questions_come_in_order_and_end(either: Store) -> None:
    either.add_questions(pairs(3))
    ana = either.annotator("ana")
    for expected in pairs(3):
        leased = either.next_question(ana)
        assert leased is not None and leased.question == expected
        again = either.next_question(ana)  # a reload keeps it, with a new lease
        assert again is not None and again.place == leased.place
        either.answer(ana, leased.place, f"answer-{leased.place}", FIRST, 1.5, "why")
    assert either.next_question(ana) is None
    stored = either.answers()
    assert [answer.question for answer in stored] == pairs(3)
    assert stored[0].answer == FIRST and stored[0].reason == "why"
    assert stored[0].response_time_s == 1.5 and stored[0].annotator == "ana"
    turn = either.turn(ana, 3)
    assert (turn.leased, turn.coming, turn.answered, turn.left) == (None, [], 3, 0)


def test_two_people_never_have_the_same_question(either: Store) -> None:
    either.add_questions(pairs(2))
    ana, ben = either.annotator("ana"), either.annotator("ben")
    first, second = either.next_question(ana), either.next_question(ben)
    assert first and second and first.question != second.question
    assert either.next_question(either.annotator("cem")) is None
    with pytest.raises(TakenError):
        either.answer(ben, first.place, "answer-of-ben", FIRST)


def test_a_lease_that_runs_out_goes_to_somebody_else(either: Store) -> None:
    either.add_questions(pairs(1))
    ana, ben = either.annotator("ana"), either.annotator("ben")
    leased = either.next_question(ana)
    assert leased is not None and either.next_question(ben) is None
    later = datetime.now(UTC) + timedelta(seconds=601)
    taken = either.next_question(ben, later)
    assert taken is not None and taken.place == leased.place
    with pytest.raises(TakenError):
        either.answer(ana, leased.place, "answer-ana", FIRST)
    either.answer(ben, leased.place, "answer-ben", FIRST)
    # Too late but not taken yet: the answer counts, and whoever let it run out may have it again.
    either.add_questions(pairs(2)[1:])
    leased = either.next_question(ana)
    again = either.next_question(ana, later)
    assert leased is not None and again is not None and again.place == leased.place


def test_shared_questions_go_to_different_people(either: Store) -> None:
    either.add_questions(pairs(2), [2, 1])
    ana, ben = either.annotator("ana"), either.annotator("ben")
    first = either.next_question(ana)
    shared = either.next_question(ben)
    assert first and shared and first.question == shared.question and first.place != shared.place
    either.answer(ana, first.place, "answer-1", FIRST)
    following = either.next_question(ana)
    assert following is not None and following.question == pairs(2)[1]


def test_delivering_again_changes_nothing(either: Store) -> None:
    either.add_questions(pairs(2))
    ana, ben = either.annotator("ana"), either.annotator("ben")
    leased = either.next_question(ana)
    assert leased is not None
    for _ in range(3):
        either.answer(ana, leased.place, "answer-1", FIRST)
    assert len(either.answers()) == 1
    with pytest.raises(InputError, match="is none to a pair question"):
        following = either.next_question(ana)
        assert following is not None
        either.answer(ana, following.place, "answer-0", {"score": 3})
    with pytest.raises(TakenError):  # another answer to the same
        either.answer(ana, leased.place, "answer-2", FIRST)
    with pytest.raises(TakenError):  # another person's number
        either.answer(ben, leased.place, "answer-1", FIRST)


def test_a_number_that_another_one_has_acknowledges_nothing(either: Store) -> None:
    either.add_questions(pairs(2))
    ana, ben = either.annotator("ana"), either.annotator("ben")
    first, second = either.next_question(ana), either.next_question(ben)
    assert first is not None and second is not None
    either.answer(ana, first.place, "answer-1", FIRST)
    with pytest.raises(TakenError):
        either.answer(ben, second.place, "answer-1", FIRST)
    assert [answer.annotator for answer in either.answers()] == ["ana"]
    # Of an answer that was undone, a late second delivery is harmless too.
    either.undo(ana)
    either.answer(ana, first.place, "answer-1", FIRST)
    assert either.answers() == []
    either.answer(ben, second.place, "answer-2", FIRST)


def test_undo_gives_the_question_back(either: Store) -> None:
    either.add_questions(pairs(2))
    ana, ben = either.annotator("ana"), either.annotator("ben")
    assert either.undo(ana) is None
    first = either.next_question(ana)
    assert first is not None
    either.answer(ana, first.place, "answer-1", FIRST)
    second = either.next_question(ana)
    undone = either.undo(ana)
    assert undone is not None and undone.place == first.place
    assert either.answers() == []
    free = either.next_question(ben)  # the one that ana had meanwhile is free again
    assert second is not None and free is not None and free.place == second.place
    either.answer(ana, undone.place, "answer-1", FIRST)  # a late delivery of the undone answer
    assert either.answers() == []
    either.answer(ana, undone.place, "answer-3", {"choice": "second"})
    assert [answer.answer for answer in either.answers()] == [{"choice": "second"}]


def test_secrets_name_people_and_only_hashes_are_kept(tmp_path: Path, store: Store) -> None:
    secret = store.new_token("ana")
    assert store.annotator_of(secret) == (store.annotator("ana"), "ana")
    assert store.annotator_of("") is None and store.annotator_of(secret[:-1]) is None
    assert secret.encode() not in (tmp_path / "labels.db").read_bytes()
    newer = store.new_token("ana")
    assert store.annotator_of(secret) is None and store.annotator_of(newer) is not None


def test_many_at_once_lose_and_double_nothing(either: Store) -> None:
    either.add_questions(pairs(120))
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            person = either.annotator(name)
            while (leased := either.next_question(person)) is not None:
                either.answer(person, leased.place, f"{name}-{leased.place:06}", FIRST)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"person {i}",)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    questions = [answer.question for answer in either.answers()]
    assert len(questions) == 120 and set(questions) == set(pairs(120))


def test_a_store_that_was_killed_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'labels.db'}"
    before = Store(url, "walks")
    before.add_questions(pairs(3))
    ana = before.annotator("ana")
    leased = before.next_question(ana)
    assert leased is not None
    before.answer(ana, leased.place, "answer-1", FIRST)
    after = Store(url, "walks")  # the first one was never closed
    assert [answer.annotator for answer in after.answers()] == ["ana"]
    following = after.next_question(after.annotator("ana"))
    assert following is not None and following.question == pairs(3)[1]


def test_when_nothing_can_be_written_nothing_is_acknowledged(store: Store) -> None:
    store.add_questions(pairs(2))
    ana = store.annotator("ana")
    leased = store.next_question(ana)
    assert leased is not None
    with store._engine.begin() as connection:  # as a full disk answers
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    store._engine.dispose()
    from sqlalchemy import event

    event.listen(
        store._engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count={pages}")
    )
    with pytest.raises(BusyError, match="full"):
        for number in range(200):
            store.answer(ana, leased.place, f"answer-{number}", FIRST, None, "x" * 20_000)
            leased = store.undo(ana)
            assert leased is not None
    assert len(store.answers()) <= 1


def test_refusals(tmp_path: Path, store: Store) -> None:
    url = f"sqlite:///{tmp_path / 'labels.db'}"
    with pytest.raises(InputError, match="holds labels of dataset walks, not of other"):
        Store(url, "other")
    with pytest.raises(InputError, match="cannot be opened"):
        Store("sqlite:////no/such/folder/labels.db", "walks")
    with pytest.raises(InputError, match=r"database=.*\*\*\*.*cannot be opened"):
        Store("postgresql+psycopg://me:secret@127.0.0.1:1/none", "walks")
    with pytest.raises(InputError, match="cannot be opened"):
        Store("no address", "walks")
    for name in ("", "x" * 81):
        with pytest.raises(InputError, match="1 to 80 letters"):
            store.annotator(name)

"""Idempotency keys: the second request gets the first answer, or is told why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from xray_app.errors import BadInput, InProgress
from xray_app.store import idempotency
from xray_app.store.database import Database
from xray_app.store.idempotency import StoredAnswer
from xray_app.store.tables import IdempotencyRow
from xray_app.types import ItemCount


def _age(db: Database, by: timedelta) -> None:
    with db.write() as session:
        session.execute(update(IdempotencyRow).values(created_at=datetime.now(UTC) - by))


def test_the_second_request_gets_the_first_answer(db: Database) -> None:
    assert idempotency.begin(db, "anna", "k", "r1") is None
    assert idempotency.get(db, "anna", "k") is None
    with pytest.raises(InProgress, match="still"):
        idempotency.begin(db, "anna", "k", "r1")
    idempotency.put(db, "anna", "k", 201, '{"id": "x"}')
    answer = StoredAnswer(201, '{"id": "x"}')
    assert idempotency.begin(db, "anna", "k", "r1") == answer == idempotency.get(db, "anna", "k")
    with pytest.raises(BadInput, match="another request"):
        idempotency.begin(db, "anna", "k", "r2")
    assert idempotency.begin(db, "ben", "k", "r2") is None


def test_a_failed_request_may_be_sent_again(db: Database) -> None:
    idempotency.begin(db, "anna", "k", "r1")
    idempotency.forget(db, "anna", "k")
    assert idempotency.begin(db, "anna", "k", "r1") is None
    idempotency.put(db, "anna", "k", 200, "null")
    idempotency.forget(db, "anna", "k")
    assert idempotency.begin(db, "anna", "k", "r1") == StoredAnswer(200, "null")


def test_a_request_that_died_with_its_server_may_be_sent_again(db: Database) -> None:
    idempotency.begin(db, "anna", "k", "r1")
    _age(db, timedelta(minutes=29, seconds=50))
    with pytest.raises(InProgress, match="still"):
        idempotency.begin(db, "anna", "k", "r1")
    _age(db, timedelta(minutes=30, seconds=1))
    assert idempotency.begin(db, "anna", "k", "r1") is None


def test_a_server_that_starts_alone_frees_what_the_dead_one_left_open(db: Database) -> None:
    idempotency.begin(db, "anna", "open", "r1")
    idempotency.begin(db, "anna", "answered", "r1")
    idempotency.put(db, "anna", "answered", 200, "null")
    idempotency.free_open(db)
    assert idempotency.begin(db, "anna", "open", "r2") is None
    assert idempotency.begin(db, "anna", "answered", "r1") == StoredAnswer(200, "null")


def test_the_answer_is_kept_with_the_work_or_not_at_all(db: Database) -> None:
    def work_that_fails() -> None:
        with db.write() as session:
            idempotency.answer(session, ItemCount(label="knife", count=1))
            raise RuntimeError

    idempotency.begin(db, "anna", "k", "r1")
    at_work = idempotency.CURRENT.set(idempotency.Keyed("anna", "k", 201))
    try:
        with pytest.raises(RuntimeError):
            work_that_fails()
        with pytest.raises(InProgress):
            idempotency.begin(db, "anna", "k", "r1")
        with db.write() as session:
            idempotency.answer(session, ItemCount(label="knife", count=2))
            idempotency.answer(session, None)  # of something else done meanwhile
    finally:
        idempotency.CURRENT.reset(at_work)
    with db.write() as session:
        idempotency.answer(session, None)  # nobody's request
    idempotency.forget(db, "anna", "k")
    idempotency.put(db, "anna", "k", 500, "{}")
    assert idempotency.get(db, "anna", "k") == StoredAnswer(201, '{"label":"knife","count":2}')


def test_keys_are_kept_for_a_day_and_forgotten_after_it(db: Database) -> None:
    idempotency.begin(db, "anna", "k", "r1")
    idempotency.put(db, "anna", "k", 200, "null")
    _age(db, timedelta(hours=23, minutes=59))
    assert idempotency.begin(db, "anna", "k", "r1") == StoredAnswer(200, "null"), "not given up as unanswered"
    _age(db, timedelta(hours=24, seconds=1))
    assert idempotency.begin(db, "anna", "k", "r2") is None


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb"])
def test_odd_keys_are_bad_input(db: Database, key: str) -> None:
    with pytest.raises(BadInput):
        idempotency.begin(db, "anna", key, "r1")

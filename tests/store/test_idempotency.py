"""Idempotency keys: the second request gets the first answer, or is told why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from xray_app.errors import BadInput, Conflict
from xray_app.store import idempotency
from xray_app.store.database import Database
from xray_app.store.idempotency import StoredAnswer
from xray_app.store.tables import IdempotencyRow


def _age(db: Database, by: timedelta) -> None:
    with db.write() as session:
        session.execute(update(IdempotencyRow).values(created_at=datetime.now(UTC) - by))


def test_the_second_request_gets_the_first_answer(db: Database) -> None:
    assert idempotency.begin(db, "anna", "k", "r1") is None
    assert idempotency.get(db, "anna", "k") is None
    with pytest.raises(Conflict, match="still"):
        idempotency.begin(db, "anna", "k", "r1")
    idempotency.put(db, "anna", "k", 201, '{"id": "x"}')
    answer = StoredAnswer(201, '{"id": "x"}')
    assert idempotency.begin(db, "anna", "k", "r1") == answer == idempotency.get(db, "anna", "k")
    with pytest.raises(Conflict, match="another request"):
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
    _age(db, timedelta(minutes=1, seconds=50))
    with pytest.raises(Conflict, match="still"):
        idempotency.begin(db, "anna", "k", "r1")
    _age(db, timedelta(minutes=2, seconds=1))
    assert idempotency.begin(db, "anna", "k", "r1") is None


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

"""The first answer to a POST that carries an Idempotency-Key, for whoever sends it again.

What is stored for a request and the answer to it are one transaction: a server that dies after it gives the answer
again when it is asked once more, and one that dies before has done nothing. What a stored row starts (a run) is taken
up by whoever looks after such rows, not by the request.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel
from sqlalchemy import delete
from sqlalchemy.orm import Session

from xray_app.errors import BadInput, InProgress
from xray_app.store.database import Database
from xray_app.store.tables import IdempotencyRow

MAX_KEY = 200
KEPT = timedelta(hours=24)
ABANDONED = timedelta(minutes=30)
"""A request of another server that was not answered by then died with it; a server's own are freed at its start."""


@dataclass
class Keyed:
    """A request with a key, while it is worked on.

    Attributes:
        username, key: whose it is.
        status: the HTTP status of its route's answer.
    """

    username: str
    key: str
    status: int = 200


CURRENT: ContextVar[Keyed | None] = ContextVar("keyed request", default=None)
"""The request whose work this thread or task does, if it has a key."""


@dataclass(frozen=True)
class StoredAnswer:
    """The first answer: HTTP status and JSON body."""

    status: int
    body: str


def answer(session: Session, value: BaseModel | None) -> None:
    """Keeps the answer to the request being worked on in the transaction of its work; the first one counts.

    Args:
        session: of the work's own transaction.
        value: what the route answers; None is JSON's null.
    """
    keyed = CURRENT.get()
    row = session.get(IdempotencyRow, (keyed.username, keyed.key)) if keyed else None
    if keyed is not None and row is not None and row.status is None:
        row.status, row.body = keyed.status, value.model_dump_json() if value is not None else "null"


def begin(db: Database, username: str, key: str, request_sha256: str) -> StoredAnswer | None:
    """Reserve a key for a request that is about to be worked on.

    Args:
        db: the store.
        username: keys are each user's own.
        key: the header's value, 1 to 200 characters.
        request_sha256: of method, path and parsed fields, so that a key is not used for two different requests.

    Returns:
        The first answer where there was one; None: go ahead, then call `put` or `forget`.

    Raises:
        BadInput: an empty or overlong key, or one that was used for another request.
        InProgress: the first one is still being worked on.
    """
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise BadInput(f"An Idempotency-Key has 1 to {MAX_KEY} printable characters.")
    now = datetime.now(UTC)
    with db.write() as session:
        session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < now - KEPT))
        row = session.get(IdempotencyRow, (username, key))
        if row is not None and row.status is None and row.created_at < now - ABANDONED:
            session.delete(row)
            session.flush()
            row = None
        if row is None:
            session.add(IdempotencyRow(username=username, key=key, request_sha256=request_sha256, created_at=now))
            return None
        if row.request_sha256 != request_sha256:
            raise BadInput("This Idempotency-Key was used for another request. Take a new key for a new request.")
        if row.status is None or row.body is None:
            raise InProgress("The first request with this Idempotency-Key is still being worked on. Ask again.")
        return StoredAnswer(row.status, row.body)


def free_open(db: Database) -> None:
    """Frees the keys of requests that were never answered: their server is dead. For the only server of a database."""
    with db.write() as session:
        session.execute(delete(IdempotencyRow).where(IdempotencyRow.status.is_(None)))


def put(db: Database, username: str, key: str, status: int, body: str) -> None:
    """Keep the answer to a request that `begin` let through, unless its work has kept one already."""
    with db.write() as session:
        row = session.get(IdempotencyRow, (username, key))
        if row is not None and row.status is None:
            row.status, row.body = status, body


def forget(db: Database, username: str, key: str) -> None:
    """Free a key whose request failed, so that it can be tried again."""
    with db.write() as session:
        row = session.get(IdempotencyRow, (username, key))
        if row is not None and row.status is None:
            session.delete(row)


def get(db: Database, username: str, key: str) -> StoredAnswer | None:
    """The first answer kept under a key, None where there is none."""
    with db.read() as session:
        row = session.get(IdempotencyRow, (username, key))
        if row is None or row.status is None or row.body is None:
            return None
        return StoredAnswer(row.status, row.body)

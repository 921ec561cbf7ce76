"""The first answer to a POST that carries an Idempotency-Key, for whoever sends it again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete

from xray_app.errors import BadInput, Conflict
from xray_app.store.database import Database
from xray_app.store.tables import IdempotencyRow

MAX_KEY = 200
KEPT = timedelta(hours=24)
# A request that has not been answered by then died with its server; its key is free again.
ABANDONED = timedelta(minutes=2)


@dataclass(frozen=True)
class StoredAnswer:
    """The first answer: HTTP status and JSON body."""

    status: int
    body: str


def begin(db: Database, username: str, key: str, request_sha256: str) -> StoredAnswer | None:
    """Reserve a key for a request that is about to be worked on.

    Args:
        db: the store.
        username: keys are each user's own.
        key: the header's value, 1 to 200 characters.
        request_sha256: of method, path and body, so that a key is not used for two different requests.

    Returns:
        The first answer where there was one; None: go ahead, then call `put` or `forget`.

    Raises:
        BadInput: an empty or overlong key.
        Conflict: the key was used for another request, or the first one is still being worked on.
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
            raise Conflict("This Idempotency-Key was used for another request.")
        if row.status is None or row.body is None:
            raise Conflict("The first request with this Idempotency-Key is still being worked on.")
        return StoredAnswer(row.status, row.body)


def put(db: Database, username: str, key: str, status: int, body: str) -> None:
    """Keep the answer to a request that `begin` let through."""
    with db.write() as session:
        row = session.get(IdempotencyRow, (username, key))
        if row is not None:
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

"""Lists newest first or by a score, a page at a time; a page stays right while rows are added before it."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from xray_app.errors import BadInput

MAX_LIMIT = 500
NO_CURSOR = "This page cursor is not one of ours; leave `after` out to start again."


class Dated(Protocol):
    """A row that has an id and was made at some time."""

    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


Row = TypeVar("Row", bound=Dated)


def newest_first(
    session: Session,
    query: Select[Row],
    created_at: InstrumentedAttribute[datetime],
    id: InstrumentedAttribute[str],
    limit: int,
    after: str | None,
) -> tuple[list[Row], str | None]:
    """The next `limit` rows past the cursor `after`, and the cursor to go on with (None at the end).

    Args:
        session: of a read or a write.
        query: selects whole rows; the order and the bounds are put on it here.
        created_at: the rows' time column.
        id: the rows' id column, which settles the order of one moment's rows.
        limit: rows a page, 1 to 500.
        after: a cursor that an earlier page gave, or None for the newest.

    Raises:
        BadInput: a limit out of range, or a cursor that no page gave.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInput(f"limit is 1 to {MAX_LIMIT}, not {limit}.")
    if after is not None:
        query = query.where(tuple_(created_at, id) < tuple_(*_decode(after)))
    # One row more than asked for tells whether there is another page.
    rows = list(session.scalars(query.order_by(created_at.desc(), id.desc()).limit(limit + 1)))
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, _encode(rows[-1]) if more else None


def score_cursor(score: float, id: str) -> str:
    """The cursor of a list in the order of a score, after a row of this score and id."""
    return base64.urlsafe_b64encode(f"{score!r}|{id}".encode()).decode()


def read_score_cursor(cursor: str) -> tuple[float, str]:
    """The score and id of a cursor that `score_cursor` gave.

    Raises:
        BadInput: a cursor that no page gave.
    """
    try:
        score, bar, id = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition("|")
        number = float(score)
    except ValueError:
        bar = ""
    if not bar or number != number or abs(number) > 1e9:
        raise BadInput(NO_CURSOR)
    return number, id


def _encode(row: Dated) -> str:
    return base64.urlsafe_b64encode(f"{row.created_at.isoformat()}|{row.id}".encode()).decode()


def _decode(cursor: str) -> tuple[datetime, str]:
    try:
        when, bar, id = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition("|")
        moment = datetime.fromisoformat(when)
    except ValueError:
        bar = ""
    if not bar or moment.tzinfo is None:
        raise BadInput(NO_CURSOR)
    return moment, id

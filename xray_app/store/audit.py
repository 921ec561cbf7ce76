"""Who did what and when, of the acts that change what others may do or see; appended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from xray_app.store.database import Database
from xray_app.store.tables import AuditRow


@dataclass(frozen=True)
class Entry:
    """One act."""

    created_at: datetime
    who: str
    what: str
    details: Mapping[str, Any]


def add(db: Database, who: str, what: str, details: Mapping[str, Any] | None = None) -> None:
    """Append an act; `details` are JSON-able facts of it, never a secret."""
    with db.write() as session:
        write(session, who, what, details)


def newest(db: Database, limit: int = 100) -> list[Entry]:
    """The last acts, newest first."""
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
    with db.read() as session:
        return [Entry(row.created_at, row.who, row.what, json.loads(row.details)) for row in session.scalars(query)]


def write(session: Session, who: str, what: str, details: Mapping[str, Any] | None = None) -> None:
    """As `add`, within a transaction: the act and its entry are stored together or not at all."""
    session.add(AuditRow(created_at=datetime.now(UTC), who=who, what=what, details=json.dumps(dict(details or {}))))

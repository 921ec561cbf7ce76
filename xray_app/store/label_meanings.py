"""What was said of other data sets' labels: kept, so that the next import asks no more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import select

from xray_app.store.database import Database
from xray_app.store.exchange_tables import LabelMeaningRow
from xray_app.taxonomy import Taxonomy

MAX_LABEL = 200


def said(db: Database, taxonomy: Taxonomy) -> dict[str, str | None]:
    """By normalised label the class it was said to be, None where it is ignored. Classes that are gone are left out."""
    with db.read() as session:
        rows = session.execute(select(LabelMeaningRow.label, LabelMeaningRow.class_name)).all()
    return {label: name for label, name in rows if name is None or taxonomy.find(name) is not None}


def keep(db: Database, meanings: Mapping[str, str | None], by: str) -> None:
    """Keeps what somebody says of labels, over what was said of them before.

    Args:
        db: the store.
        meanings: by normalised label a canonical class name, or None to ignore its boxes.
        by: who says so.

    Raises:
        StorageFailed: disk full or read-only.
    """
    if not meanings:
        return
    with db.write() as session:
        for label, name in meanings.items():
            row = LabelMeaningRow(label=label[:MAX_LABEL], class_name=name, said_by=by, said_at=datetime.now(UTC))
            session.merge(row)

"""What a model reached on a hold-out, kept per hold-out hash so that it is not measured again."""

from __future__ import annotations

from datetime import UTC, datetime

from xray_app.store.database import Database
from xray_app.store.tables import HoldoutFigureRow


def get(db: Database, holdout_sha256: str, model_key: str) -> str | None:
    """The JSON document kept for this model on this hold-out, None where it was not measured yet."""
    with db.read() as session:
        row = session.get(HoldoutFigureRow, (holdout_sha256, model_key))
        return None if row is None else row.document


def put(db: Database, holdout_sha256: str, model_key: str, document: str) -> None:
    """Keep a JSON document of figures (a MetricSet, with or without each bag's outcome).

    Args:
        db: the store.
        holdout_sha256: hash of the hold-out's samples.
        model_key: says which model, adapter and policy were measured, at most 200 characters.
        document: JSON; replaces what was kept under the same two keys.
    """
    with db.write() as session:
        session.merge(
            HoldoutFigureRow(
                holdout_sha256=holdout_sha256,
                model_key=model_key,
                document=document,
                created_at=datetime.now(UTC),
            )
        )

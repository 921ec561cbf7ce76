"""What the analyst decided about a bag, appended."""

from __future__ import annotations

import builtins
from datetime import UTC, datetime
from uuid import uuid4

from pydantic import ValidationError
from sqlalchemy import select

from xray_app.errors import BadInput, NotFound
from xray_app.store import analyses, queue
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow, DecisionRow
from xray_app.store.usefulness import of_decision
from xray_app.types import Action, Decision


def add(
    db: Database, analysis_id: str, decision: Action, seconds: float | None, note: str | None, author: str
) -> Decision:
    """Append a decision.

    Args:
        db: the store.
        analysis_id: what it is about.
        decision: CLEAR, REVIEW or SEARCH.
        seconds: how long the analyst looked, None where not measured.
        note: free words.
        author: who decided.

    Raises:
        NotFound: no analysis has this id.
        BadInput: another word, or seconds below zero or not finite.
    """
    try:
        value = Decision(
            id=uuid4().hex,
            analysis_id=analysis_id,
            author=author,
            created_at=datetime.now(UTC),
            decision=decision,
            seconds=seconds,
            note=note,
        )
    except ValidationError as error:
        raise BadInput("A decision is CLEAR, REVIEW or SEARCH, its seconds a finite number.") from error
    if value.seconds is not None and value.seconds < 0:
        raise BadInput("A decision takes no less than 0 seconds.")
    with db.write() as session:
        analysis = analyses.read(session, analysis_id)
        session.add(DecisionRow(**value.model_dump()))
        queue.give_reason(session, analysis_id, "decision", of_decision(analysis, value.decision, author))
    return value


def list(db: Database, analysis_id: str) -> builtins.list[Decision]:
    """All decisions about an analysis, oldest first.

    Raises:
        NotFound: no analysis has this id.
    """
    query = (
        select(DecisionRow)
        .where(DecisionRow.analysis_id == analysis_id)
        .order_by(DecisionRow.created_at, DecisionRow.id)
    )
    with db.read() as session:
        if session.get(AnalysisRow, analysis_id) is None:
            raise NotFound("There is no analysis with this id.")
        return [
            Decision.model_validate({name: getattr(row, name) for name in Decision.model_fields})
            for row in session.scalars(query)
        ]

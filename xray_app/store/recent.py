"""What one person analysed lately, with what was decided about it: the desk's queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow, DecisionRow
from xray_app.types import Analysis


@dataclass(frozen=True)
class Recent:
    """An analysis and its newest decision's word, None where nobody decided yet."""

    analysis: Analysis
    decision: str | None


def of_user(db: Database, username: str, since: datetime, limit: int = 60) -> list[Recent]:
    """The newest `limit` analyses this user made since a moment, oldest first."""
    newest_decision = (
        select(DecisionRow.decision)
        .where(DecisionRow.analysis_id == AnalysisRow.id)
        .order_by(DecisionRow.created_at.desc(), DecisionRow.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(AnalysisRow.document, newest_decision)
        .where(AnalysisRow.created_by == username, AnalysisRow.created_at >= since)
        .order_by(AnalysisRow.created_at.desc(), AnalysisRow.id.desc())
        .limit(limit)
    )
    with db.read() as session:
        rows = session.execute(query).tuples().all()
    return [Recent(Analysis.model_validate_json(document), decision) for document, decision in reversed(rows)]

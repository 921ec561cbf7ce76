"""What the hand search found, appended: the only real ground truth in operation."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import select

from xray_app.correction.labels import Labels
from xray_app.correction.revision import read_counts
from xray_app.correction.usefulness import of_outcome
from xray_app.errors import NotFound
from xray_app.store import analyses, bags, facts, idempotency, known_truths, queue
from xray_app.store.database import Database
from xray_app.store.fact_tables import FoundItemRow
from xray_app.store.tables import AnalysisRow, OutcomeRow
from xray_app.types import ItemCount, Outcome


def add(
    db: Database,
    analysis_id: str,
    found: Iterable[ItemCount],
    note: str | None,
    author: str,
    taxonomy: Labels,
) -> Outcome:
    """Append what a hand search found; nothing found is an outcome too.

    Raises:
        NotFound: no analysis has this id.
        UnknownLabel: a label that is neither a class nor an alias.
        BadInput: more than 99 of one class.
    """
    counts = read_counts(found, taxonomy)
    value = Outcome(
        id=uuid4().hex,
        analysis_id=analysis_id,
        author=author,
        created_at=datetime.now(UTC),
        found=tuple(ItemCount(label=label, count=count) for label, count in counts.items()),
        note=note,
    )
    with db.write() as session:
        analysis = analyses.read(session, analysis_id)
        session.add(
            OutcomeRow(
                id=value.id,
                analysis_id=analysis_id,
                author=author,
                created_at=value.created_at,
                document=value.model_dump_json(),
            )
        )
        items = [taxonomy.item(label, count) for label, count in counts.items()]
        session.flush()
        for item in items:
            session.add(FoundItemRow(outcome_id=value.id, label=item.label, status=item.status.value))
        if not items:
            bags.settle(session, analysis.scan)  # it may train from now on, and must not be measured with then
        queue.give_reason(session, analysis_id, "outcome", of_outcome(analysis, items))
        facts.follow(session, analysis_id)
        known_truths.follow(session, analysis_id)
        idempotency.answer(session, value)
    return value


def history(db: Database, analysis_id: str) -> list[Outcome]:
    """All outcomes of an analysis, oldest first.

    Raises:
        NotFound: no analysis has this id.
    """
    query = (
        select(OutcomeRow).where(OutcomeRow.analysis_id == analysis_id).order_by(OutcomeRow.created_at, OutcomeRow.id)
    )
    with db.read() as session:
        if session.get(AnalysisRow, analysis_id) is None:
            raise NotFound("There is no analysis with this id.")
        return [Outcome.model_validate_json(row.document) for row in session.scalars(query)]

"""Corrections that are not saved yet: one a person and analysis, so that a reload or another machine goes on."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from xray_app.errors import NotFound
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow, CorrectionRow, DraftRow
from xray_app.types import CorrectionIn


def put(db: Database, analysis_id: str, username: str, draft: CorrectionIn) -> None:
    """Keep a draft in place of the one before.

    Raises:
        NotFound: no analysis has this id.
    """
    with db.write() as session:
        _put(session, analysis_id, username, draft)


def keep(db: Database, analysis_id: str, username: str, draft: CorrectionIn) -> None:
    """As `put`, unless this person has saved the analysis since: a draft sent on the way may come after the save.

    Raises:
        NotFound: no analysis has this id.
    """
    with db.write() as session:
        if not saved_newest(session, analysis_id, username, draft.base_revision):
            _put(session, analysis_id, username, draft)


def _put(session: Session, analysis_id: str, username: str, draft: CorrectionIn) -> None:
    if session.get(AnalysisRow, analysis_id) is None:
        raise NotFound("There is no analysis with this id.")
    session.merge(
        DraftRow(
            username=username,
            analysis_id=analysis_id,
            updated_at=datetime.now(UTC),
            document=draft.model_dump_json(),
        )
    )


def saved_newest(session: Session, analysis_id: str, username: str, after: int = 0) -> bool:
    """Whether an analysis has a revision later than `after`, and this person saved its newest."""
    of_it = select(CorrectionRow.revision, CorrectionRow.author).where(CorrectionRow.analysis_id == analysis_id)
    newest = session.execute(of_it.order_by(CorrectionRow.revision.desc()).limit(1)).first()
    return newest is not None and newest.revision > after and newest.author == username


def get(db: Database, analysis_id: str, username: str) -> CorrectionIn | None:
    """This person's draft, None where there is none."""
    with db.read() as session:
        row = session.get(DraftRow, (username, analysis_id))
    return CorrectionIn.model_validate_json(row.document) if row else None


def others(db: Database, analysis_id: str, username: str) -> list[tuple[str, datetime]]:
    """Who else has an unsaved draft of this analysis, and since when, the newest first."""
    query = (
        select(DraftRow.username, DraftRow.updated_at)
        .where(DraftRow.analysis_id == analysis_id, DraftRow.username != username)
        .order_by(DraftRow.updated_at.desc())
    )
    with db.read() as session:
        return [(name, moment) for name, moment in session.execute(query)]


def drop(db: Database, analysis_id: str, username: str) -> None:
    """Throw a draft away."""
    with db.write() as session:
        forget(session, analysis_id, username)


def forget(session: Session, analysis_id: str, username: str) -> None:
    """As `drop`, within the write that saves the correction."""
    session.execute(delete(DraftRow).where(DraftRow.username == username, DraftRow.analysis_id == analysis_id))

"""What is known of every scan by now: its newest accepted correction, or the prediction where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from xray_app.store import facts
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow, CorrectionReviewRow, CorrectionRow
from xray_app.types import Analysis, Correction

BATCH = 200
_status = func.coalesce(CorrectionReviewRow.status, CorrectionRow.first_status)


@dataclass(frozen=True)
class Known:
    """One scan of one bag, and where what is known of it stands.

    Attributes:
        analysis_id: the analysis that was corrected; without a correction, the newest.
        correction_id: the newest accepted correction of any of the scan's analyses; None: a prediction alone.
        at: when it was analysed.
        level: the risk of that analysis.
        by: who corrected it, or who had it analysed.
    """

    analysis_id: str
    correction_id: str | None
    at: datetime
    level: str
    by: str


def known(db: Database) -> list[Known]:
    """Every scan of every bag once, oldest analysis first; of several corrections the latest accepted counts."""
    corrected = (
        select(
            CorrectionRow.analysis_id,
            CorrectionRow.id,
            CorrectionRow.author,
            CorrectionRow.created_at,
            func.row_number()
            .over(partition_by=CorrectionRow.analysis_id, order_by=CorrectionRow.revision.desc())
            .label("place"),
        )
        .outerjoin(CorrectionReviewRow, CorrectionReviewRow.correction_id == CorrectionRow.id)
        .where(_status == "accepted")
        .subquery()
    )
    query = (
        select(
            AnalysisRow.id,
            AnalysisRow.scan_id,
            AnalysisRow.bag_id,
            AnalysisRow.created_at,
            AnalysisRow.risk_level,
            AnalysisRow.created_by,
            corrected.c.id,
            corrected.c.author,
            corrected.c.created_at,
        )
        .outerjoin(corrected, (corrected.c.analysis_id == AnalysisRow.id) & (corrected.c.place == 1))
        .where(facts.counted(AnalysisRow.id))
        .order_by(AnalysisRow.created_at, AnalysisRow.id)
    )
    found: dict[tuple[str, str], tuple[tuple[bool, datetime], Known]] = {}
    with db.read() as session:
        for id, scan, bag, at, level, analysed_by, correction, author, corrected_at in session.execute(query):
            # A correction before any prediction, then the later one.
            weight = (correction is not None, corrected_at or at)
            if (scan, bag) not in found or found[scan, bag][0] <= weight:
                found[scan, bag] = weight, Known(id, correction, at, level, author or analysed_by)
    return sorted((one for _, one in found.values()), key=lambda one: (one.at, one.analysis_id))


def documents(db: Database, wanted: Sequence[Known]) -> Iterator[tuple[Analysis, Correction | None]]:
    """The analyses and corrections of `wanted`, in its order, a few hundred at a time."""
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        with db.read() as session:
            analysed = dict(
                session.execute(
                    select(AnalysisRow.id, AnalysisRow.document).where(
                        AnalysisRow.id.in_([one.analysis_id for one in batch])
                    )
                ).all()
            )
            corrected = dict(
                session.execute(
                    select(CorrectionRow.id, CorrectionRow.document).where(
                        CorrectionRow.id.in_([one.correction_id for one in batch if one.correction_id])
                    )
                ).all()
            )
        for one in batch:
            correction = None
            if one.correction_id is not None:
                correction = Correction.model_validate_json(corrected[one.correction_id])
                correction = correction.model_copy(update={"status": "accepted"})
            yield Analysis.model_validate_json(analysed[one.analysis_id]), correction

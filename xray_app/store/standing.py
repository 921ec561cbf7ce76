"""What stands for a scan by now: which analyses count, which correction holds, which scans are held out.

Whoever counts, lists, exports or trains on corrections asks here, so that all of them mean the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from xray_app.store.database import Database
from xray_app.store.fact_tables import FactsRow
from xray_app.store.tables import AnalysisRow, CorrectionRow
from xray_app.types import Analysis, Correction, ReviewStatus

BATCH = 200
"""Documents read in one query."""


# --- conditions of queries ----------------------------------------------------------------------------------


def counted(analysis_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """The condition that an analysis is traffic, for a query that names it in this column.

    A test image never is, and a blind scan is once its prediction may be seen: these have no facts before.
    """
    of_traffic = aliased(FactsRow)
    return select(of_traffic.id).where(of_traffic.id == analysis_id).exists()


def newest_accepted() -> ColumnElement[bool]:
    """The condition on `CorrectionRow` that it is the newest accepted revision of an analysis that counts.

    This is what trains, tests, is exported and summed up.
    """
    return _newest_of("accepted") & counted(CorrectionRow.analysis_id)


def newest_not_rejected() -> ColumnElement[bool]:
    """The condition on `CorrectionRow` that it is its analysis's newest revision, those rejected left out.

    This is what is shown, and what the next revision is compared with (`correction.revision.standing`).
    """
    return _newest_of("pending", "accepted")


def _newest_of(*wanted: ReviewStatus) -> ColumnElement[bool]:
    later = aliased(CorrectionRow)
    replaced = (
        select(later.id)
        .where(
            later.analysis_id == CorrectionRow.analysis_id,
            later.revision > CorrectionRow.revision,
            later.status.in_(wanted),
        )
        .exists()
    )
    return CorrectionRow.status.in_(wanted) & ~replaced


# --- answers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
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


def of_scans(db: Database) -> list[Standing]:
    """Every scan of every bag once, oldest analysis first; of several corrections the latest accepted counts."""
    corrected = (
        select(CorrectionRow.analysis_id, CorrectionRow.id, CorrectionRow.author, CorrectionRow.created_at)
        .where(newest_accepted())
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
        .outerjoin(corrected, corrected.c.analysis_id == AnalysisRow.id)
        .where(counted(AnalysisRow.id))
        .order_by(AnalysisRow.created_at, AnalysisRow.id)
    )
    found: dict[tuple[str, str], tuple[tuple[bool, datetime], Standing]] = {}
    with db.read() as session:
        for id, scan, bag, at, level, analysed_by, correction, author, corrected_at in session.execute(query):
            # A correction before any prediction, then the later one.
            weight = (correction is not None, corrected_at or at)
            if (scan, bag) not in found or found[scan, bag][0] <= weight:
                found[scan, bag] = weight, Standing(id, correction, at, level, author or analysed_by)
    return sorted((one for _, one in found.values()), key=lambda one: (one.at, one.analysis_id))


def accepted(db: Database) -> list[tuple[Analysis, Correction]]:
    """The accepted correction of every scan of a bag that has one, of both splits, oldest analysis first.

    This is what may train (`split` "train") or test (`split` "holdout"). A scan that was analysed and corrected more
    than once would otherwise weigh double, and two people's answers could contradict each other.
    """
    wanted = [one for one in of_scans(db) if one.correction_id is not None]
    return [(analysis, correction) for analysis, correction in documents(db, wanted) if correction is not None]


def documents(db: Database, wanted: Sequence[Standing]) -> Iterator[tuple[Analysis, Correction | None]]:
    """The analyses and corrections of `wanted`, in its order, a few hundred at a time."""
    for start in range(0, len(wanted), BATCH):
        batch = wanted[start : start + BATCH]
        analysed = select(AnalysisRow).where(AnalysisRow.id.in_([one.analysis_id for one in batch]))
        corrected = select(CorrectionRow).where(
            CorrectionRow.id.in_([one.correction_id for one in batch if one.correction_id])
        )
        with db.read() as session:
            analyses = {row.id: row.document for row in session.scalars(analysed)}
            corrections = {row.id: correction_of(row) for row in session.scalars(corrected)}
        for one in batch:
            correction = None if one.correction_id is None else corrections[one.correction_id]
            yield Analysis.model_validate_json(analyses[one.analysis_id]), correction


def held_out_scans(db: Database) -> frozenset[str]:
    """Ids of scans with an accepted correction in a bag of the hold-out, whatever other bags they lie in.

    The split goes by bag, and one picture may lie in several: dropped at the desk its bag is its hash, imported
    it is its file's name. In any of them it is one the hold-out asks about.
    """
    query = (
        select(AnalysisRow.scan_id)
        .join(CorrectionRow, CorrectionRow.analysis_id == AnalysisRow.id)
        .where(CorrectionRow.side == "holdout", newest_accepted())
    )
    with db.read() as session:
        return frozenset(session.scalars(query))


def correction_of(row: CorrectionRow) -> Correction:
    """A stored correction. Its document holds the status and the side of its bag when it was saved; a review, or a
    bag's move to the other side, is the newer word."""
    return Correction.model_validate_json(row.document).model_copy(update={"status": row.status, "split": row.side})

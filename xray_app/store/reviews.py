"""What waits for a second person: the newest revision of each analysis that nobody has reviewed yet."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from xray_app.correction.statements import BagStanding
from xray_app.store.database import Database
from xray_app.store.standing import counted, newest_not_rejected, of_bags
from xray_app.store.tables import AnalysisRow, CorrectionReviewRow, CorrectionRow
from xray_app.types import Analysis, Correction


@dataclass(frozen=True)
class Waiting:
    """A pending revision with the analysis it corrects, and what the bag stands at."""

    analysis: Analysis
    correction: Correction
    bag: BagStanding


@dataclass(frozen=True)
class Review:
    """A second person's word on a revision: accepted or rejected, or withdrawn where it was taken back."""

    revision: int
    status: str
    reviewer: str
    comment: str | None


def waiting(db: Database, reviewer: str, limit: int = 50) -> list[Waiting]:
    """What this person may review, the longest waiting first.

    A revision that a newer one replaced is left out, unless that one was rejected.
    """
    query = (
        select(AnalysisRow.document, CorrectionRow.document)
        .join(CorrectionRow, CorrectionRow.analysis_id == AnalysisRow.id)
        .where(
            CorrectionRow.status == "pending",
            CorrectionRow.author != reviewer,
            newest_not_rejected(),
            counted(CorrectionRow.analysis_id),
        )
        .order_by(CorrectionRow.created_at, CorrectionRow.id)
        .limit(limit)
    )
    with db.read() as session:
        found = [
            (Analysis.model_validate_json(analysis), Correction.model_validate_json(correction))
            for analysis, correction in session.execute(query)
        ]
    bags = of_bags(db, [analysis.scan.bag_id for analysis, _ in found])
    return [Waiting(analysis, correction, bags[analysis.scan.bag_id]) for analysis, correction in found]


def count_own(db: Database, author: str) -> int:
    """How many of this person's own revisions wait for somebody else."""
    query = (
        select(func.count())
        .select_from(CorrectionRow)
        .where(
            CorrectionRow.status == "pending",
            CorrectionRow.author == author,
            counted(CorrectionRow.analysis_id),
        )
    )
    with db.read() as session:
        return session.scalar(query) or 0


def of_analysis(db: Database, analysis_id: str) -> list[Review]:
    """All reviews of an analysis's revisions, by revision, and of one in the order they were given."""
    query = (
        select(
            CorrectionRow.revision,
            CorrectionReviewRow.status,
            CorrectionReviewRow.reviewer,
            CorrectionReviewRow.comment,
        )
        .join(CorrectionRow, CorrectionRow.id == CorrectionReviewRow.correction_id)
        .where(CorrectionRow.analysis_id == analysis_id)
        .order_by(CorrectionRow.revision, CorrectionReviewRow.number)
    )
    with db.read() as session:
        return [Review(*row) for row in session.execute(query)]

"""Which pictures are kept for testing, whatever other bags they lie in."""

from __future__ import annotations

from sqlalchemy import func, select

from xray_app.store import facts
from xray_app.store.database import Database
from xray_app.store.tables import AnalysisRow, CorrectionReviewRow, CorrectionRow


def held_out_scans(db: Database) -> frozenset[str]:
    """Ids of scans with an accepted correction in a bag of the hold-out.

    The split goes by bag, and one picture may lie in several: dropped at the desk its bag is its hash, imported
    it is its file's name. In any of them it is one the hold-out asks about.
    """
    query = (
        select(AnalysisRow.scan_id)
        .join(CorrectionRow, CorrectionRow.analysis_id == AnalysisRow.id)
        .outerjoin(CorrectionReviewRow, CorrectionReviewRow.correction_id == CorrectionRow.id)
        .where(
            CorrectionRow.split == "holdout",
            func.coalesce(CorrectionReviewRow.status, CorrectionRow.first_status) == "accepted",
            facts.counted(AnalysisRow.id),
        )
    )
    with db.read() as session:
        return frozenset(session.scalars(query))

"""Scans that more than one person corrected: what agreement between people is computed from."""

from __future__ import annotations

from itertools import combinations

from sqlalchemy import func, select

from xray_app.store.database import Database
from xray_app.store.standing import counted
from xray_app.store.tables import CorrectionRow
from xray_app.types import Correction

MOST_SCANS = 2000

Pairs = dict[tuple[str, str], list[tuple[Correction, Correction]]]


def pairs(db: Database) -> Pairs:
    """By two people, in the order of their names: of each scan both corrected, the newest word of either.

    Of the 2000 scans corrected last. The second person saw what the first had saved: agreement computed from
    these is an upper bound.
    """
    by_two = (
        select(CorrectionRow.analysis_id)
        .where(counted(CorrectionRow.analysis_id))
        .group_by(CorrectionRow.analysis_id)
        .having(func.count(CorrectionRow.author.distinct()) > 1)
        .order_by(func.max(CorrectionRow.created_at).desc())
        .limit(MOST_SCANS)
        .subquery()
    )
    query = (
        select(CorrectionRow.analysis_id, CorrectionRow.author, CorrectionRow.document)
        .join(by_two, by_two.c.analysis_id == CorrectionRow.analysis_id)
        .order_by(CorrectionRow.analysis_id, CorrectionRow.revision)
    )
    newest: dict[str, dict[str, str]] = {}
    with db.read() as session:
        for analysis_id, author, document in session.execute(query):
            newest.setdefault(analysis_id, {})[author] = document
    found: Pairs = {}
    for by_author in newest.values():
        read = {author: Correction.model_validate_json(document) for author, document in by_author.items()}
        for first, second in combinations(sorted(read), 2):
            found.setdefault((first, second), []).append((read[first], read[second]))
    return found

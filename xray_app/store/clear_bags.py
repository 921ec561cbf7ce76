"""Bags that hold nothing prohibited, by a search or by two people, though nobody corrected them: they teach too."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from xray_app.store import bags
from xray_app.store.database import Database
from xray_app.store.decisions import not_withdrawn
from xray_app.store.fact_tables import FactsRow
from xray_app.store.tables import AnalysisRow, BagRow, DecisionRow
from xray_app.types import Analysis, Split

ClearScan = tuple[Analysis, Split]


def searched_in_vain(db: Database) -> list[ClearScan]:
    """The newest analysis of each scan of the bags in which a hand search found nothing at all, and their side.

    Bags of which a person says more, by a correction or another search, are left out: that counts. In the order of
    bags and scans.
    """
    nothing = select(FactsRow.bag_id).where(FactsRow.outcome == "nothing")
    more = select(FactsRow.bag_id).where(or_(FactsRow.outcome == "found", _corrected()))
    with db.write() as session:
        return _newest(session, AnalysisRow.bag_id.in_(nothing) & AnalysisRow.bag_id.not_in(more))


def cleared_twice(db: Database) -> list[ClearScan]:
    """As `searched_in_vain`, of the bags that two people cleared independently of each other, and nobody searched.

    Independently: each cleared an analysis that they had asked for, and nobody had decided about it before them.
    """
    first = (
        select(DecisionRow.analysis_id, func.min(DecisionRow.created_at).label("at"))
        .where(not_withdrawn())
        .group_by(DecisionRow.analysis_id)
        .subquery()
    )
    twice = (
        select(AnalysisRow.bag_id)
        .join(FactsRow, FactsRow.id == AnalysisRow.id)
        .join(DecisionRow, DecisionRow.analysis_id == AnalysisRow.id)
        .join(first, (first.c.analysis_id == DecisionRow.analysis_id) & (first.c.at == DecisionRow.created_at))
        .where(DecisionRow.author == AnalysisRow.created_by, DecisionRow.decision == "CLEAR", not_withdrawn())
        .group_by(AnalysisRow.bag_id)
        .having(func.count(DecisionRow.author.distinct()) > 1)
    )
    held = (
        select(AnalysisRow.bag_id)
        .join(DecisionRow, DecisionRow.analysis_id == AnalysisRow.id)
        .where(DecisionRow.decision != "CLEAR", not_withdrawn())
    )
    more = select(FactsRow.bag_id).where(or_(FactsRow.outcome != "", _corrected()))
    of_bag = AnalysisRow.bag_id
    with db.write() as session:
        return _newest(session, of_bag.in_(twice) & of_bag.not_in(held) & of_bag.not_in(more))


def _corrected() -> ColumnElement[bool]:
    return FactsRow.correction.in_(("pending", "accepted"))


def _newest(session: Session, condition: ColumnElement[bool]) -> list[ClearScan]:
    """The newest analysis of each scan; a side that nobody has said yet is said now, since it decides what trains."""
    query = (
        select(AnalysisRow.document, BagRow.split)
        .join(FactsRow, FactsRow.id == AnalysisRow.id)
        .outerjoin(BagRow, BagRow.bag_id == AnalysisRow.bag_id)
        .where(condition)
        .order_by(AnalysisRow.bag_id, AnalysisRow.scan_id, AnalysisRow.created_at.desc(), AnalysisRow.id)
    )
    found: dict[tuple[str, str], ClearScan] = {}
    for document, side in session.execute(query).all():
        analysis = Analysis.model_validate_json(document)
        key = (analysis.scan.bag_id, analysis.scan.id)
        if key not in found:
            own = bags.settle(session, analysis.scan) if side is None else bags.as_split(side)
            found[key] = (analysis, own)
    return list(found.values())

"""The desk's queue: what one person analysed lately, and what is left to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Row, ScalarSelect, func, select
from sqlalchemy.orm import aliased

from xray_app.correction.statements import BagStanding
from xray_app.store.database import Database
from xray_app.store.decisions import has_mark, not_withdrawn
from xray_app.store.fact_tables import FactsRow
from xray_app.store.standing import of_bags
from xray_app.store.tables import AnalysisRow, DecisionMarkRow, DecisionRow, OutcomeRow
from xray_app.store.tip import Sight, is_trial, sights
from xray_app.types import POLICY, Analysis


@dataclass(frozen=True)
class Recent:
    """An analysis in somebody's queue.

    Attributes:
        analysis: what the models said.
        decision: the newest standing decision's word, None where nobody decided yet.
        bag: what its bag stands at.
        sight: what may be seen of it.
    """

    analysis: Analysis
    decision: str | None
    bag: BagStanding
    sight: Sight = field(default_factory=Sight)


@dataclass(frozen=True)
class Shift:
    """One person's queue.

    Attributes:
        waiting: nobody decided yet; bags that people found to be HIGH first, then the oldest.
        waiting_in_all: how many there are, of which `waiting` may be the first.
        searching: sent to a hand search whose outcome nobody has recorded yet; the newest first.
        done: decided, and nothing left to record; the newest first.
    """

    waiting: list[Recent]
    waiting_in_all: int
    searching: list[Recent]
    done: list[Recent]


def of_user(db: Database, username: str, since: datetime, limit: int = 60) -> Shift:
    """What this user analysed since a moment, at most `limit` that wait and as many that do not."""
    decision = _newest_decision()
    outcome, same_bag = aliased(OutcomeRow), aliased(AnalysisRow)
    # A bag is searched once, whatever the number of its views.
    recorded = (
        select(outcome.id)
        .join(same_bag, same_bag.id == outcome.analysis_id)
        .where(same_bag.bag_id == AnalysisRow.bag_id)
        .exists()
    )
    to_record = (decision == "SEARCH") & ~recorded & ~is_trial(AnalysisRow.id)
    own = (AnalysisRow.created_by == username, AnalysisRow.created_at >= since)
    waits = (*own, decision.is_(None))
    newest = (AnalysisRow.created_at.desc(), AnalysisRow.id.desc())
    columns = select(AnalysisRow.document, decision)
    in_order = (_found_by_people().desc(), AnalysisRow.created_at, AnalysisRow.id)
    with db.read() as session:
        waiting = session.execute(columns.where(*waits).order_by(*in_order).limit(limit)).all()
        in_all = session.scalar(select(func.count()).select_from(AnalysisRow).where(*waits)) or 0
        searching = session.execute(columns.where(*own, to_record).order_by(*newest).limit(limit)).all()
        settled: ColumnElement[bool] = decision.is_not(None) & ~to_record
        done = session.execute(columns.where(*own, settled).order_by(*newest).limit(limit)).all()
    return Shift(_read(db, waiting), in_all, _read(db, searching), _read(db, done))


def left_over(db: Database, username: str, before: datetime, limit: int = 60) -> tuple[list[Recent], int]:
    """What this user analysed before a moment and nobody decided about or corrected: the newest first, and how many.

    A test image is not among them: no bag was left over with it.
    """
    of_user = (FactsRow.analyst == username, FactsRow.decision == "", FactsRow.correction == "")
    waits = (*of_user, FactsRow.created_at < before)
    query = select(AnalysisRow.document, FactsRow.decision).join(FactsRow, FactsRow.id == AnalysisRow.id).where(*waits)
    with db.read() as session:
        rows = session.execute(query.order_by(FactsRow.created_at.desc()).limit(limit)).all()
        in_all = session.scalar(select(func.count()).select_from(FactsRow).where(*waits)) or 0
    return _read(db, [(document, None) for document, _ in rows]), in_all


def flagged(db: Database, supervisor: str, analysis_id: str | None = None, limit: int = 20) -> list[Recent]:
    """Analyses that others cleared although their bag is HIGH and no supervisor has seen yet, newest first.

    Args:
        db: the store.
        supervisor: who may look; their own decisions are left out.
        analysis_id: of this one only.
        limit: at most so many.
    """
    query = (
        select(AnalysisRow.document, DecisionRow.decision)
        .join(DecisionRow, DecisionRow.analysis_id == AnalysisRow.id)
        .join(DecisionMarkRow, DecisionMarkRow.decision_id == DecisionRow.id)
        .where(
            DecisionMarkRow.kind == "flagged",
            ~has_mark("seen"),
            not_withdrawn(),
            DecisionRow.author != supervisor,
        )
        .order_by(DecisionMarkRow.created_at.desc(), DecisionMarkRow.id.desc())
        .limit(limit)
    )
    if analysis_id is not None:
        query = query.where(AnalysisRow.id == analysis_id)
    with db.read() as session:
        rows = session.execute(query).all()
    return list({one.analysis.id: one for one in _read(db, rows)}.values())


def _read(db: Database, rows: Sequence[Row[str, str | None]] | Sequence[tuple[str, str | None]]) -> list[Recent]:
    found = [(Analysis.model_validate_json(document), decision) for document, decision in rows]
    seen = sights(db, [analysis.id for analysis, _ in found])
    bags = of_bags(db, [analysis.scan.bag_id for analysis, _ in found])
    return [
        Recent(analysis, decision, bags[analysis.scan.bag_id], seen.get(analysis.id, Sight()))
        for analysis, decision in found
    ]


def _found_by_people() -> ColumnElement[bool]:
    """The condition that people, not the models, found a bag to be HIGH; a hidden one stays in its place."""
    facts = aliased(FactsRow)
    by_people = facts.standing_by.not_in(("", POLICY))
    return select(facts.id).where(facts.id == AnalysisRow.id, facts.standing_level == "HIGH", by_people).exists()


def _newest_decision() -> ScalarSelect[str]:
    return (
        select(DecisionRow.decision)
        .where(DecisionRow.analysis_id == AnalysisRow.id, not_withdrawn())
        .order_by(DecisionRow.created_at.desc(), DecisionRow.id.desc())
        .limit(1)
        .scalar_subquery()
    )

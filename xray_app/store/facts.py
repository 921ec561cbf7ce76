"""What search and insights ask of an analysis: one narrow row, its labels, and the days to sum up anew.

An analysis without this row is no traffic: a test image never has one, a blind scan has one once its prediction
may be seen. Every query over analyses that counts, lists, exports or trains asks for `standing.counted`.

All of it can be made again from the rows it is gathered from. It is written in their transaction, so it is
never behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from xray_app.correction.usefulness import of_standing
from xray_app.risk import by_policy, severity, standing, worst
from xray_app.scan.appearance import Appearance
from xray_app.store import queue
from xray_app.store.database import Database
from xray_app.store.fact_tables import AppearanceRow, FactsRow, FoundItemRow, LabelFactRow, StaleDayRow
from xray_app.store.standing import (
    BATCH,
    bare_risk,
    correction_of,
    newest_not_rejected,
    read_bags,
    stands_over,
)
from xray_app.store.tables import (
    AnalysisRow,
    CorrectionRow,
    DecisionMarkRow,
    DecisionRow,
    OutcomeRow,
)
from xray_app.taxonomy import Taxonomy
from xray_app.types import NOT_ANALYSED, POLICY, Analysis, Outcome, Status

MAX_LABEL = 100


def add(session: Session, analysis: Analysis, created_by: str) -> None:
    """The facts of a new analysis, whose own row is there already."""
    scan, agreement = analysis.scan, analysis.agreement
    row = session.get_one(AnalysisRow, analysis.id)
    session.add(
        FactsRow(
            id=analysis.id,
            created_at=row.created_at,
            day=row.created_at.astimezone(UTC).date(),
            analyst=created_by,
            scan_id=scan.id,
            bag_id=scan.bag_id,
            scanner_id=scan.scanner_id or "",
            # Its own group: what no model saw, no model missed.
            adapter=(analysis.models.vlm.adapter or "") if analysis.analysed else NOT_ANALYSED,
            risk_level=analysis.risk.level,
            standing_level=analysis.risk.level,
            standing_action=analysis.risk.action,
            standing_reason=analysis.risk.reason,
            standing_by=POLICY,
            disagree=bool(agreement.vlm_only or agreement.detector_only),
            opaque_fraction=analysis.opaque_fraction,
            decision="",
            outcome="",
            correction="",
            missed=False,
        )
    )
    session.flush()
    vlm = {item.label for item in analysis.report.items}
    detector = {box.label for box in analysis.boxes if box.source == "model"}
    for label in sorted(vlm | detector):
        if len(label) <= MAX_LABEL:
            _label(session, row, label).by_vlm = label in vlm
            _label(session, row, label).by_detector = label in detector
    _stand(session, [scan.bag_id])
    _mark_stale(session, scan.bag_id)


def follow(session: Session, analysis_id: str) -> None:
    """Brings the facts up to what was decided, found and corrected, after a row of these was added."""
    session.flush()
    facts = session.get(FactsRow, analysis_id)
    if facts is None:  # no traffic, or not yet
        return
    analysis = session.get_one(AnalysisRow, analysis_id)
    mark = (DecisionMarkRow.decision_id == DecisionRow.id) & (DecisionMarkRow.kind == "withdrawn")
    withdrawn = select(DecisionMarkRow.id).where(mark).exists()
    decision = session.scalars(
        select(DecisionRow)
        .where(DecisionRow.analysis_id == analysis_id, ~withdrawn)
        .order_by(DecisionRow.created_at.desc(), DecisionRow.id.desc())
        .limit(1)
    ).first()
    facts.analyst = decision.author if decision else analysis.created_by
    facts.decision, facts.seconds = (decision.decision, decision.seconds) if decision else ("", None)
    outcome_row = session.scalars(
        select(OutcomeRow)
        .where(OutcomeRow.analysis_id == analysis_id)
        .order_by(OutcomeRow.created_at.desc(), OutcomeRow.id.desc())
        .limit(1)
    ).first()
    outcome = Outcome.model_validate_json(outcome_row.document) if outcome_row else None
    facts.outcome = ("found" if outcome.found else "nothing") if outcome else ""
    facts.outcome_at = outcome.created_at if outcome else None
    of_this = CorrectionRow.analysis_id == analysis_id
    # What was rejected is nobody's word: an earlier revision stands, or the prediction.
    newest = session.scalar(select(CorrectionRow).where(of_this, newest_not_rejected()))
    rejected = newest is None and session.scalar(select(CorrectionRow.id).where(of_this).limit(1)) is not None
    correction = correction_of(newest) if newest else None
    facts.correction = correction.status if correction else "rejected" if rejected else ""
    person = set(correction.counts) if correction else set()
    search = {item.label for item in outcome.found} if outcome else set()
    known = {row.label: row for row in session.scalars(select(LabelFactRow).filter_by(analysis_id=analysis_id))}
    for label in sorted(person | search | known.keys()):
        if len(label) <= MAX_LABEL:
            row = known.get(label) or _label(session, analysis, label)
            row.by_person, row.by_search = label in person, label in search
            known[label] = row
    facts.missed = facts.adapter != NOT_ANALYSED and any(
        (row.by_person or row.by_search) and not (row.by_vlm or row.by_detector) for row in known.values()
    )
    _stand(session, [facts.bag_id])
    _mark_stale(session, facts.bag_id)


def complete(db: Database, taxonomy: Taxonomy) -> None:
    """Works out what stands over analyses that were stored before it was kept.

    Args:
        db: the store.
        taxonomy: says what the labels are that hand searches found then; one that is no class of it any more counts
            as prohibited.
    """
    unjudged = select(FoundItemRow.label).where(FoundItemRow.status == "").distinct()
    with db.write() as session:
        for label in session.scalars(unjudged).all():
            known = taxonomy.find(label)
            status = known.status if known else Status.PROHIBITED
            session.execute(
                update(FoundItemRow)
                .where(FoundItemRow.label == label, FoundItemRow.status == "")
                .values(status=status.value)
            )
    waiting = select(FactsRow.bag_id).where(FactsRow.standing_by == "").distinct().limit(BATCH)
    bags: list[str] = [""]
    while bags:
        with db.write() as session:
            bags = list(session.scalars(waiting))
            _stand(session, bags)


def _stand(session: Session, bag_ids: Sequence[str]) -> None:
    """Brings up to date what stands over each analysis of these bags, and what that tells the annotators' queue."""
    session.flush()
    found = read_bags(session, bag_ids)
    # Without the documents: a lane may put a day's scans into one bag.
    rows = select(FactsRow, AnalysisRow.risk_level, AnalysisRow.action).join(AnalysisRow, AnalysisRow.id == FactsRow.id)
    for facts, level, action in session.execute(rows.where(FactsRow.bag_id.in_(bag_ids))).all():
        bag, own = found[facts.bag_id], bare_risk(level, action)
        stands = worst((standing(own, bag.people.get(facts.scan_id)), bag.risk), lambda one: one)
        is_own = stands.by == POLICY and severity(stands) == severity(own)
        kept = stands_over(facts)
        if facts.standing_by and kept == (stands.model_copy(update={"reason": kept.reason}) if is_own else stands):
            continue
        if is_own:
            document = session.scalar(select(AnalysisRow.document).where(AnalysisRow.id == facts.id)) or ""
            stands = by_policy(Analysis.model_validate_json(document).risk)
        facts.standing_level, facts.standing_action = stands.level, stands.action
        facts.standing_reason, facts.standing_by = stands.reason, stands.by
        # What a hand search of this very scan found against the models, the queue is told as its outcome.
        reason = None if facts.outcome == "found" else of_standing(own, stands)
        queue.give_reason(session, facts.id, "standing", reason)
    session.flush()


def add_appearance(session: Session, scan_id: str, appearance: Appearance) -> None:
    """How a stored scan looks, once; the perceptual hash is added to what was kept before there was one."""
    row = session.get(AppearanceRow, scan_id)
    if row is not None:
        row.perceptual_hash = row.perceptual_hash or appearance.perceptual_hash
    else:
        session.add(
            AppearanceRow(
                scan_id=scan_id,
                organic=appearance.organic,
                mixed=appearance.mixed,
                metal=appearance.metal,
                brightness=appearance.brightness,
                perceptual_hash=appearance.perceptual_hash,
            )
        )
        for bag_id in session.scalars(
            select(FactsRow.bag_id)
            .join(AnalysisRow, AnalysisRow.id == FactsRow.id)
            .where(AnalysisRow.scan_id == scan_id)
        ).all():
            _mark_stale(session, bag_id)


def _label(session: Session, analysis: AnalysisRow, label: str) -> LabelFactRow:
    row = session.get(LabelFactRow, (analysis.id, label))
    if row is None:
        row = LabelFactRow(
            analysis_id=analysis.id,
            label=label,
            created_at=analysis.created_at,
            by_vlm=False,
            by_detector=False,
            by_person=False,
            by_search=False,
        )
        session.add(row)
    return row


def _mark_stale(session: Session, bag_id: str) -> None:
    # A bag counts once, on one day; what happens to one of its views may move it to another.
    session.flush()
    days: list[date] = list(session.scalars(select(FactsRow.day).where(FactsRow.bag_id == bag_id).distinct()))
    for day in days:
        if session.get(StaleDayRow, day) is None:
            session.add(StaleDayRow(day=day))

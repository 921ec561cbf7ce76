"""Test images and blind scans: what is true of them, and who may see what of them when.

A test image is a bag of known truth that comes to an analyst between real ones. It never joins the traffic: it has
no facts and no place in the queue (see `standing.counted`). A blind scan is a real bag (or a test image) whose
prediction nobody sees before somebody has decided about it; it joins the traffic then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from xray_app.errors import Conflict
from xray_app.store import campaigns, facts, queue
from xray_app.store.database import Database
from xray_app.store.fact_tables import FactsRow, LabelFactRow
from xray_app.store.standing import correction_of, newest_not_rejected
from xray_app.store.tables import (
    AnalysisRow,
    BagRow,
    BlindRow,
    CorrectionRow,
    DecisionMarkRow,
    DecisionRow,
    TrialRow,
)
from xray_app.types import XYXY, Analysis, Correction, Status, Value

HIDDEN_FOR = timedelta(hours=12)
"""A blind scan that nobody decided about in a working shift is shown: a bag must not be lost."""
SIMULATED = "simulated"
MOST_READ = 300
"""Of the newest analyses, how many are looked through for threats or clear bags."""

Result = Literal["hit", "miss", "false alarm", "rightly cleared"]
Knew = Literal["blind", "revised"]


class Truth(Value):
    """What is true of a test image.

    Attributes:
        label: the threat laid into it; None: a clear bag.
        xyxy: its box, pixels of the image; None with `label`.
        host: id of the scan it was laid into, or "simulated".
        cut_from: id of the scan the threat was cut from, or "simulated"; None with `label`.
    """

    label: str | None = None
    xyxy: XYXY | None = None
    host: str = SIMULATED
    cut_from: str | None = None


@dataclass(frozen=True)
class Tested:
    """A test image that was answered."""

    truth: Truth
    result: Result


@dataclass(frozen=True)
class Sight:
    """What may be seen of an analysis now.

    Attributes:
        hidden: its prediction may not be sent to anybody.
        blind: it was decided, or is to be decided, without the prediction.
        test: of a test image that was answered; None for all others.
    """

    hidden: bool = False
    blind: bool = False
    test: Tested | None = None


def result_of(label: str | None, decision: str) -> Result:
    """How a decision answers a test image. Sent to review or to search, a bag was not let go: that is an alarm."""
    alarm = decision != "CLEAR"
    if label:
        return "hit" if alarm else "miss"
    return "false alarm" if alarm else "rightly cleared"


# --- what the other rooms of the store ask, each in its own transaction -------------------------------------


def enter(session: Session, analysis: Analysis, created_by: str, blind: bool, truth: Truth | None) -> None:
    """A new analysis, whose own row is there: a test image, hidden, or traffic.

    Views of one bag are hidden together or not at all: one would give the other away.
    """
    now = datetime.now(UTC)
    _show_forgotten(session, now)
    others = select(AnalysisRow.id).where(AnalysisRow.bag_id == analysis.scan.bag_id, AnalysisRow.id != analysis.id)
    if session.scalar(others.limit(1)) is not None:
        still = select(BlindRow.analysis_id).where(BlindRow.bag_id == analysis.scan.bag_id, BlindRow.shown_at.is_(None))
        blind = session.scalar(still.limit(1)) is not None
    if truth is not None:
        session.add(
            TrialRow(analysis_id=analysis.id, created_at=now, label=truth.label or "", document=truth.model_dump_json())
        )
    if blind:
        session.add(BlindRow(analysis_id=analysis.id, bag_id=analysis.scan.bag_id, created_at=now, shown_at=None))
    if not blind and truth is None:
        queue.add(session, analysis)
        facts.add(session, analysis, created_by)
    session.flush()


def answer(session: Session, bag_id: str) -> dict[str, Knew]:
    """A decision about a bag is about to be kept: shows what was hidden of it.

    Returns:
        By analysis, what the decision's author knows: "blind" where the prediction was hidden until now,
        "revised" where a blind decision stands already. All others are left out.

    Raises:
        Conflict: it is a test image that was answered.
    """
    decided = select(DecisionRow.id).where(DecisionRow.analysis_id == AnalysisRow.id).exists()
    answered = select(AnalysisRow.id).where(AnalysisRow.bag_id == bag_id, decided, is_trial(AnalysisRow.id))
    if session.scalar(answered.limit(1)) is not None:
        raise Conflict("This was a test image, and it is answered. Go on with the next scan.")
    knew: dict[str, Knew] = {}
    for row in session.scalars(select(BlindRow).where(BlindRow.bag_id == bag_id)).all():
        if row.shown_at is None:
            _show(session, row, datetime.now(UTC))
            knew[row.analysis_id] = "blind"
        elif _was_decided_blind(session, row.analysis_id):
            knew[row.analysis_id] = "revised"
    return knew


def refuse_withdrawal(session: Session, decision: DecisionRow) -> None:
    """The first answer to a test image or a blind scan stays: what came up after it was not to change it.

    Raises:
        Conflict: the decision is such an answer.
    """
    if session.get(TrialRow, decision.analysis_id) is not None:
        raise Conflict("This was a test image: its answer stays.")
    if _has_mark(session, decision.id, "blind"):
        raise Conflict("This scan was blind: the first answer stays on record. Decide anew if the bag is to go on.")


def refuse_correction(session: Session, analysis_id: str) -> None:
    """An answered test image has nothing to correct.

    Raises:
        Conflict: it is one.
    """
    decided = select(DecisionRow.id).where(DecisionRow.analysis_id == analysis_id).limit(1)
    if session.get(TrialRow, analysis_id) is not None and session.scalar(decided) is not None:
        raise Conflict("This was a test image: there is nothing to correct.")


def is_trial(analysis_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """The condition that an analysis is of a test image, for a query that names it in this column."""
    return select(TrialRow.analysis_id).where(TrialRow.analysis_id == analysis_id).exists()


def is_hidden(analysis_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """The condition that an analysis may not be seen yet."""
    return select(BlindRow.analysis_id).where(BlindRow.analysis_id == analysis_id, BlindRow.shown_at.is_(None)).exists()


def hidden(session: Session, analysis_id: str) -> bool:
    """Whether an analysis may not be seen yet."""
    row = session.get(BlindRow, analysis_id)
    return row is not None and row.shown_at is None


def _show_forgotten(session: Session, now: datetime) -> None:
    old = select(BlindRow).where(BlindRow.shown_at.is_(None), BlindRow.created_at < now - HIDDEN_FOR)
    for row in session.scalars(old).all():
        _show(session, row, now)


def _show(session: Session, row: BlindRow, now: datetime) -> None:
    row.shown_at = now
    session.flush()
    if session.get(TrialRow, row.analysis_id) is not None:
        return
    stored = session.get_one(AnalysisRow, row.analysis_id)
    queue.add(session, Analysis.model_validate_json(stored.document))
    facts.add(session, Analysis.model_validate_json(stored.document), stored.created_by)
    session.flush()
    campaigns.remind(session, Analysis.model_validate_json(stored.document))
    first = session.scalar(select(CorrectionRow).filter_by(analysis_id=row.analysis_id, revision=1))
    if first is not None:
        items = Correction.model_validate_json(first.document).items
        queue.corrected(session, row.analysis_id, True, [item.label for item in items])
    facts.follow(session, row.analysis_id)


def _was_decided_blind(session: Session, analysis_id: str) -> bool:
    query = (
        select(DecisionMarkRow.id)
        .join(DecisionRow, DecisionRow.id == DecisionMarkRow.decision_id)
        .where(DecisionRow.analysis_id == analysis_id, DecisionMarkRow.kind == "blind")
    )
    return session.scalar(query.limit(1)) is not None


def _has_mark(session: Session, decision_id: str, kind: str) -> bool:
    query = select(DecisionMarkRow.id).where(DecisionMarkRow.decision_id == decision_id, DecisionMarkRow.kind == kind)
    return session.scalar(query.limit(1)) is not None


# --- reading ------------------------------------------------------------------------------------------------


def sight(db: Database, analysis_id: str) -> Sight:
    """What may be seen of an analysis. Of a test image nothing is told before it is answered."""
    return sights(db, [analysis_id]).get(analysis_id, Sight())


def sights(db: Database, analysis_ids: Collection[str]) -> dict[str, Sight]:
    """As `sight`, of many; those of which there is nothing to say are left out."""
    answered = (
        select(TrialRow, DecisionRow.decision)
        .join(DecisionRow, DecisionRow.analysis_id == TrialRow.analysis_id)
        .where(TrialRow.analysis_id.in_(analysis_ids))
    )
    with db.read() as session:
        blind = session.scalars(select(BlindRow).where(BlindRow.analysis_id.in_(analysis_ids))).all()
        found = {row.analysis_id: Sight(hidden=row.shown_at is None, blind=True) for row in blind}
        for trial, decision in session.execute(answered):
            test = Tested(Truth.model_validate_json(trial.document), result_of(trial.label, decision))
            found[trial.analysis_id] = replace(found.get(trial.analysis_id, Sight()), test=test)
    return found


def clear_scans(db: Database, username: str, held_out: bool = False) -> list[str]:
    """Scans known to hold nothing prohibited or restricted, newest first; those this person had as a test left out.

    With `held_out` only of bags that nothing is trained on.

    Known: a person listed all classes and none such, and the correction was accepted; or a hand search found
    nothing and nobody said otherwise.
    """
    query = (
        select(FactsRow.id, FactsRow.scan_id, FactsRow.correction)
        .where(
            FactsRow.outcome.in_(("", "nothing")),
            (FactsRow.correction == "accepted") | ((FactsRow.correction == "") & (FactsRow.outcome == "nothing")),
        )
        .order_by(FactsRow.created_at.desc(), FactsRow.id.desc())
        .limit(MOST_READ)
    )
    if held_out:
        query = query.where(_held_out())
    with db.read() as session:
        had = (
            select(TrialRow.document)
            .join(AnalysisRow, AnalysisRow.id == TrialRow.analysis_id)
            .where(AnalysisRow.created_by == username)
        )
        seen = {Truth.model_validate_json(document).host for document in session.scalars(had)}
        rows = [row for row in session.execute(query) if row[1] not in seen]
        corrected = _newest_corrections(session, [id for id, _, correction in rows if correction])
    harmless = {
        id
        for id, correction in corrected.items()
        if correction.labelled_classes is None
        and all(item.status is Status.ALLOWED for item in correction.items)
        and all(box.status is Status.ALLOWED for box in correction.boxes)
    }
    return list(dict.fromkeys(scan for id, scan, correction in rows if not correction or id in harmless))


def threat_boxes(db: Database, labels: Collection[str], held_out: bool = False) -> list[tuple[str, str, XYXY]]:
    """Boxes of these labels in accepted corrections of at most `MOST_READ` analyses: scan, label, box.

    With `held_out` only of bags that nothing is trained on.
    """
    query = (
        select(FactsRow.id, FactsRow.scan_id)
        .join(LabelFactRow, LabelFactRow.analysis_id == FactsRow.id)
        .where(FactsRow.correction == "accepted", LabelFactRow.by_person, LabelFactRow.label.in_(labels))
        .distinct()
        .order_by(FactsRow.id)
        .limit(MOST_READ)
    )
    if held_out:
        query = query.where(_held_out())
    with db.read() as session:
        scans = dict(session.execute(query).all())
        corrected = _newest_corrections(session, scans)
    return [
        (scans[id], box.label, box.xyxy)
        for id, correction in corrected.items()
        for box in correction.boxes
        if box.label in labels
    ]


def _held_out() -> ColumnElement[bool]:
    return select(BagRow.bag_id).where(BagRow.bag_id == FactsRow.bag_id, BagRow.split == "holdout").exists()


def _newest_corrections(session: Session, analysis_ids: Iterable[str]) -> dict[str, Correction]:
    query = (
        select(CorrectionRow)
        .where(CorrectionRow.analysis_id.in_(list(analysis_ids)), newest_not_rejected())
        .order_by(CorrectionRow.analysis_id)
    )
    return {row.analysis_id: correction_of(row) for row in session.scalars(query)}

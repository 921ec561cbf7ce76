"""What the analyst decided about a bag, appended.

A decision is stored with the key that makes it, so that a closed browser loses none. One taken back at once
is withdrawn by a mark appended beside it: whoever counts decisions counts those that are `not_withdrawn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import uuid4

from pydantic import ValidationError
from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from xray_app.correction.statements import BagStanding
from xray_app.correction.usefulness import of_decision
from xray_app.errors import BadInput, Conflict, Forbidden, NeedsNote, NotFound
from xray_app.risk import clears_high
from xray_app.store import analyses, facts, idempotency, queue, tip
from xray_app.store.database import Database
from xray_app.store.standing import read_bags
from xray_app.store.tables import AnalysisRow, DecisionMarkRow, DecisionRow, TrialRow
from xray_app.types import Action, Decision

Mark = Literal["withdrawn", "flagged", "seen", "blind", "revised"]

UNDO_FOR = timedelta(seconds=5)
"""How long the desk offers to take a decision back."""
_ON_ITS_WAY = timedelta(seconds=5)  # the offer's last moment, over a slow network
_MARKS = ("flagged", "blind", "revised", "withdrawn_at")


def add(
    db: Database, analysis_id: str, decision: Action, seconds: float | None, note: str | None, author: str
) -> Decision:
    """Append a decision about one view. Clearing a bag that stands at HIGH flags it to a supervisor.

    Args:
        db: the store.
        analysis_id: what it is about.
        decision: CLEAR, REVIEW or SEARCH.
        seconds: how long the analyst looked, None where not measured.
        note: free words.
        author: who decided.

    Raises:
        NotFound: no analysis has this id.
        BadInput: another word, or seconds below zero or not finite.
        NeedsNote: it clears a bag that stands at HIGH, and the note does not say why. Of a blind bag only what people
            found counts: its author does not know what the models say, and is not told by this.
        Conflict: it is a test image that was answered.
    """
    with db.write() as session:
        row = session.get(AnalysisRow, analysis_id)
        if row is None:
            raise NotFound("There is no analysis with this id.")
        knew = tip.answer(session, row.bag_id)
        bag = read_bags(session, [row.bag_id])[row.bag_id]
        _refuse_without_note(session, row, bag, decision, note, blind="blind" in knew.values())
        value = _append(session, row, bag, decision, seconds, note, author, knew.get(row.id))
        idempotency.answer(session, value)
        return value


def add_for_bag(
    db: Database,
    analysis_id: str,
    decision: Action,
    seconds: float | None,
    note: str | None,
    author: str,
    *,
    seen: Sequence[str] | None = None,
) -> list[Decision]:
    """Append a decision about a bag: every view by its newest analysis, and what else waits of it; all or none.

    Args: as `add`; the seconds are kept with the view that was at hand, which comes first in the answer.
        seen: ids of the decisions about this view that the author knows of; None: whatever there are.

    Raises: as `add`; and Conflict where a newer decision than those seen stands, with its id as the detail `decision`:
        somebody else's, or the author's own from another window.
    """
    with db.write() as session:
        row = session.get(AnalysisRow, analysis_id)
        if row is None:
            raise NotFound("There is no analysis with this id.")
        knew = tip.answer(session, row.bag_id)
        newer = None if seen is None else _newer_than(session, analysis_id, seen)
        if newer is not None:
            words = f"{newer.author} has decided {newer.decision} meanwhile."
            raise Conflict(words, details={"decision": newer.id})
        bag = read_bags(session, [row.bag_id])[row.bag_id]
        _refuse_without_note(session, row, bag, decision, note, blind="blind" in knew.values())
        newest = [view for view in _views(session, row.bag_id) if view.scan_id != row.scan_id]
        decided = select(DecisionRow.id).where(DecisionRow.analysis_id == AnalysisRow.id, not_withdrawn()).exists()
        waiting = session.scalars(select(AnalysisRow).where(AnalysisRow.bag_id == row.bag_id, ~decided))
        others = {view.id: view for view in (*newest, *waiting) if view.id != row.id}.values()
        first = _append(session, row, bag, decision, seconds, note, author, knew.get(row.id))
        return [
            first,
            *(_append(session, view, bag, decision, None, note, author, knew.get(view.id)) for view in others),
        ]


def withdraw(db: Database, decision_ids: Sequence[str], author: str, now: datetime | None = None) -> None:
    """Take back one's own decisions of a moment ago; all or none.

    Raises:
        NotFound: no decision has such an id.
        Forbidden: somebody else decided.
        Conflict: it was too long ago, is withdrawn already, or answers a test image or a blind scan.
    """
    moment = now or datetime.now(UTC)
    try:
        with db.write() as session:
            for decision_id in decision_ids:
                row = session.get(DecisionRow, decision_id)
                if row is None:
                    raise NotFound("There is no decision with this id.")
                if row.author != author:
                    raise Forbidden("Only whoever decided may take a decision back.")
                tip.refuse_withdrawal(session, row)
                if moment - row.created_at > UNDO_FOR + _ON_ITS_WAY:
                    raise Conflict("It is too late to take this decision back. Open the scan and decide anew.")
                _mark(session, decision_id, "withdrawn", author)
                queue.give_reason(session, row.analysis_id, "decision", None)
                session.flush()
                facts.follow(session, row.analysis_id)
    except IntegrityError as error:
        raise Conflict("This decision has been taken back already.") from error


def see(db: Database, analysis_id: str, supervisor: str) -> None:
    """Record that a supervisor has seen the flagged decisions of an analysis.

    Raises:
        NotFound: no analysis has this id.
        Conflict: nothing is flagged that waits for somebody else's look.
    """
    open_flags = [one.id for one in standing(db, analysis_id) if one.flagged and one.author != supervisor]
    with db.write() as session:
        seen = select(DecisionMarkRow.decision_id).where(
            DecisionMarkRow.decision_id.in_(open_flags), DecisionMarkRow.kind == "seen"
        )
        unseen = set(open_flags) - set(session.scalars(seen))
        if not unseen:
            raise Conflict("Nothing about this scan waits for your look.")
        for decision_id in unseen:
            _mark(session, decision_id, "seen", supervisor)


def analysis_of(db: Database, decision_id: str) -> str:
    """The id of the analysis a decision is about.

    Raises:
        NotFound: no decision has this id.
    """
    with db.read() as session:
        row = session.get(DecisionRow, decision_id)
        if row is None:
            raise NotFound("There is no decision with this id.")
        return row.analysis_id


def not_withdrawn(decision: type[DecisionRow] = DecisionRow) -> ColumnElement[bool]:
    """The condition that a decision still stands, for a query over `decision` (the table or an alias of it)."""
    return ~has_mark("withdrawn", decision)


def has_mark(kind: Mark, decision: type[DecisionRow] = DecisionRow) -> ColumnElement[bool]:
    """The condition that a decision bears a mark."""
    mark = aliased(DecisionMarkRow)
    return select(mark.id).where(mark.decision_id == decision.id, mark.kind == kind).exists()


def history(db: Database, analysis_id: str) -> list[Decision]:
    """All decisions about an analysis, oldest first, the withdrawn ones among them.

    Raises:
        NotFound: no analysis has this id.
    """
    query = (
        select(DecisionRow)
        .where(DecisionRow.analysis_id == analysis_id)
        .order_by(DecisionRow.created_at, DecisionRow.id)
    )
    with db.read() as session:
        if session.get(AnalysisRow, analysis_id) is None:
            raise NotFound("There is no analysis with this id.")
        rows = session.scalars(query).all()
        of_these = DecisionMarkRow.decision_id.in_([row.id for row in rows])
        marks = {
            (mark.decision_id, mark.kind): mark.created_at
            for mark in session.scalars(select(DecisionMarkRow).where(of_these))
        }
    columns = [name for name in Decision.model_fields if name not in _MARKS]
    return [
        Decision(
            **{name: getattr(row, name) for name in columns},
            flagged=(row.id, "flagged") in marks,
            blind=(row.id, "blind") in marks,
            revised=(row.id, "revised") in marks,
            withdrawn_at=marks.get((row.id, "withdrawn")),
        )
        for row in rows
    ]


def standing(db: Database, analysis_id: str) -> list[Decision]:
    """The decisions about an analysis that were not withdrawn, oldest first.

    Raises:
        NotFound: no analysis has this id.
    """
    return [one for one in history(db, analysis_id) if one.withdrawn_at is None]


def _newer_than(session: Session, analysis_id: str, seen: Sequence[str]) -> DecisionRow | None:
    """The newest decision that stands, unless one as new was seen: that one may have been taken back since."""
    of_this = select(DecisionRow).where(DecisionRow.analysis_id == analysis_id)
    in_order = of_this.order_by(DecisionRow.created_at.desc(), DecisionRow.id.desc()).limit(1)
    newest = session.scalars(in_order.where(not_withdrawn())).first()
    known = session.scalars(in_order.where(DecisionRow.id.in_(seen))).first()
    if newest is None or (known is not None and (newest.created_at, newest.id) <= (known.created_at, known.id)):
        return None
    return newest


def _refuse_without_note(
    session: Session, row: AnalysisRow, bag: BagStanding, decision: Action, note: str | None, *, blind: bool
) -> None:
    # A test image asks as a real bag does: else the question would tell them apart.
    stands = bag.by_people if blind else bag.over(analyses.read(session, row.id))
    if stands is None or not clears_high(decision, (stands.level,)) or (note or "").strip():
        return
    raise NeedsNote(
        "This bag stands at HIGH, and clearing it needs a note that says why.",
        details={"standing": stands.model_dump(mode="json")},
    )


def _append(
    session: Session,
    row: AnalysisRow,
    bag: BagStanding,
    decision: Action,
    seconds: float | None,
    note: str | None,
    author: str,
    knew: tip.Knew | None,
) -> Decision:
    trial = session.get(TrialRow, row.id) is not None
    try:
        value = Decision(
            id=uuid4().hex,
            analysis_id=row.id,
            author=author,
            created_at=datetime.now(UTC),
            decision=decision,
            seconds=seconds,
            note=note,
            flagged=clears_high(decision, (row.risk_level, bag.risk.level)) and not trial,
            blind=knew == "blind",
            revised=knew == "revised",
        )
    except ValidationError as error:
        raise BadInput("A decision is CLEAR, REVIEW or SEARCH, its seconds a finite number.") from error
    if value.seconds is not None and value.seconds < 0:
        raise BadInput("A decision takes no less than 0 seconds.")
    session.add(DecisionRow(**value.model_dump(exclude=set(_MARKS))))
    session.flush()
    analysis = analyses.read(session, row.id)
    queue.give_reason(session, row.id, "decision", of_decision(analysis, value.decision, author, bag.over(analysis)))
    if value.flagged:
        _mark(session, value.id, "flagged", author)
    if knew:
        _mark(session, value.id, knew, author)
    facts.follow(session, row.id)
    return value


def _mark(session: Session, decision_id: str, kind: Mark, author: str) -> None:
    session.add(
        DecisionMarkRow(id=uuid4().hex, decision_id=decision_id, kind=kind, author=author, created_at=datetime.now(UTC))
    )


def _views(session: Session, bag_id: str) -> list[AnalysisRow]:
    """The newest analysis of each scan of a bag, oldest scan first."""
    query = select(AnalysisRow).where(AnalysisRow.bag_id == bag_id).order_by(AnalysisRow.created_at, AnalysisRow.id)
    newest: dict[str, AnalysisRow] = {}
    for row in session.scalars(query):
        newest[row.scan_id] = row
    return list(newest.values())

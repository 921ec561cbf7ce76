"""The annotators' queue: what to correct next, who is at work on what, and what was skipped.

An analysis gets its entry in the transaction that stores it; decisions, outcomes, corrections and reviews
change the entry in theirs. So the order is an index, and no page of the queue computes anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import Select, delete, exists, func, select, tuple_, update
from sqlalchemy.orm import Session

from xray_app.correction.usefulness import RARE, RARE_BELOW, REJECTED, Reasons, rarest, reasons_of, sightings
from xray_app.errors import BadInput, Conflict, NotFound
from xray_app.store.database import Database
from xray_app.store.drafts import saved_newest
from xray_app.store.fact_tables import CorrectedLabelRow
from xray_app.store.paging import MAX_LIMIT, read_score_cursor, score_cursor
from xray_app.store.standing import over_analyses
from xray_app.store.tables import AnalysisRow, CorrectionRow, QueueClaimRow, QueueRow, QueueSkipRow
from xray_app.types import Analysis, StandingRisk, Value

CLAIM = timedelta(minutes=15)
"""How long a claim lasts after the last sign of work on it."""

MAX_REASON = 200

Found = TypeVar("Found")


class Entry(Value):
    """An analysis that waits for an annotator.

    Attributes:
        risk_level: the models' own.
        standing: what stands over it, by the models and by people.
        score: the higher, the sooner; see `usefulness`.
        reasons: why, in words, the weightiest first.
        claimed_by: who is at work on it now, None where nobody is.
        skipped: what those said who passed it on, "name: reason" each.
    """

    analysis_id: str
    scan_id: str
    filename: str
    risk_level: str
    standing: StandingRisk
    created_at: datetime
    score: float
    reasons: tuple[str, ...]
    claimed_by: str | None
    claimed_until: datetime | None
    skipped: tuple[str, ...]


class Claim(Value):
    """Somebody's hold on an analysis."""

    analysis_id: str
    username: str
    expires_at: datetime


@dataclass(frozen=True)
class Standing:
    """How the queue stands: how many wait, and who is at work."""

    waiting: int
    claims: tuple[Claim, ...]


# --- reading ------------------------------------------------------------------------------------------------


def page(db: Database, limit: int = 50, after: str | None = None) -> tuple[list[Entry], str | None]:
    """The queue in order, and the cursor of the next page (None at the end).

    Raises:
        BadInput: a limit outside 1 to 500, or a cursor that no page gave.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInput(f"limit is 1 to {MAX_LIMIT}, not {limit}.")
    query = select(QueueRow).where(QueueRow.waiting.is_(True))
    if after is not None:
        query = query.where(tuple_(QueueRow.score, QueueRow.analysis_id) < tuple_(*read_score_cursor(after)))
    with db.read() as session:
        rows = list(session.scalars(_in_order(query).limit(limit + 1)))
        more = len(rows) > limit
        return _entries(session, rows[:limit]), score_cursor(
            rows[limit - 1].score, rows[limit - 1].analysis_id
        ) if more else None


def get(db: Database, analysis_id: str) -> Entry:
    """One analysis as the queue sees it, waiting or not.

    Raises:
        NotFound: no analysis has this id.
    """
    with db.read() as session:
        return _entries(session, [_row(session, analysis_id)])[0]


def standing(db: Database) -> Standing:
    """How many wait, and the claims in force, the oldest first."""
    claims = select(QueueClaimRow).where(QueueClaimRow.expires_at > _now()).order_by(QueueClaimRow.claimed_at)
    with db.read() as session:
        waiting = session.scalar(select(func.count()).select_from(QueueRow).where(QueueRow.waiting.is_(True)))
        return Standing(waiting or 0, tuple(_claim(row) for row in session.scalars(claims)))


def claim_of(db: Database, username: str) -> Claim | None:
    """What a person holds, None where nothing or no longer."""
    held = select(QueueClaimRow).where(QueueClaimRow.username == username, QueueClaimRow.expires_at > _now())
    with db.read() as session:
        row = session.scalar(held.limit(1))
        return _claim(row) if row else None


# --- claims -------------------------------------------------------------------------------------------------


def take_next(db: Database, username: str) -> Claim | None:
    """The scan this person should look at now, claimed for them; None when nothing waits for them.

    What they hold already comes back first, so that a reload goes on where they were. What somebody else
    holds, and what they skipped, is passed over.
    """
    now = _now()
    held = select(QueueClaimRow).where(QueueClaimRow.username == username, QueueClaimRow.expires_at > now)
    of_others = exists().where(
        QueueClaimRow.analysis_id == QueueRow.analysis_id,
        QueueClaimRow.expires_at > now,
        QueueClaimRow.username != username,
    )
    passed_on = exists().where(QueueSkipRow.analysis_id == QueueRow.analysis_id, QueueSkipRow.username == username)
    waiting = select(QueueRow.analysis_id).where(QueueRow.waiting.is_(True), ~of_others, ~passed_on)
    with db.write() as session:
        mine = session.scalar(held.limit(1))
        if mine is not None:
            mine.expires_at = now + CLAIM
            return _claim(mine)
        found = session.scalar(_in_order(waiting).limit(1))
        return None if found is None else _take(session, found, username, now)


def take(db: Database, analysis_id: str, username: str) -> Claim:
    """Claim one analysis, waiting or not; what this person held before is let go.

    Raises:
        NotFound: no analysis has this id.
        Conflict: somebody else is at work on it; who and until when is in `details`.
    """
    now = _now()
    with db.write() as session:
        _row(session, analysis_id)
        _refuse_claimed(session, analysis_id, username, now)
        return _take(session, analysis_id, username, now)


def renew(db: Database, analysis_id: str, username: str) -> Claim | None:
    """Prolong a claim, or take it again after it ran out. None where this person saved or skipped the scan since.

    Raises:
        NotFound: no analysis has this id.
        Conflict: somebody else has it now, or this person took another one meanwhile.
    """
    now = _now()
    with db.write() as session:
        _row(session, analysis_id)
        _refuse_claimed(session, analysis_id, username, now)
        another = select(QueueClaimRow.analysis_id).where(
            QueueClaimRow.username == username,
            QueueClaimRow.analysis_id != analysis_id,
            QueueClaimRow.expires_at > now,
        )
        if session.scalar(another.limit(1)) is not None:
            raise Conflict("You have taken another scan since, perhaps in another window. This one is free again.")
        skipped = session.get(QueueSkipRow, (analysis_id, username))
        done = skipped or saved_newest(session, analysis_id, username)
        if done and session.get(QueueClaimRow, analysis_id) is None:
            return None
        return _take(session, analysis_id, username, now)


def release(db: Database, analysis_id: str, username: str) -> None:
    """Let go of a claim; nothing happens where there is none."""
    with db.write() as session:
        session.execute(
            delete(QueueClaimRow).where(QueueClaimRow.analysis_id == analysis_id, QueueClaimRow.username == username)
        )


def skip(db: Database, analysis_id: str, username: str, reason: str) -> None:
    """Pass a scan on: it is not offered to this person again, and the next one sees the reason.

    Raises:
        NotFound: no analysis has this id.
        BadInput: no reason, or one longer than 200 characters.
    """
    words = reason.strip()
    if not words or len(words) > MAX_REASON:
        raise BadInput(f"Say in at most {MAX_REASON} characters why you skip it: the next person sees it.")
    with db.write() as session:
        _row(session, analysis_id)
        session.merge(
            QueueSkipRow(analysis_id=analysis_id, username=username, reason=words, created_at=_now())
        )  # skipped again: the newer reason counts
        session.execute(
            delete(QueueClaimRow).where(QueueClaimRow.analysis_id == analysis_id, QueueClaimRow.username == username)
        )


# --- what the other rooms of the store tell the queue, each in its own transaction --------------------------


def add(session: Session, analysis: Analysis) -> None:
    """An analysis was stored."""
    labels = list(sightings(analysis))
    counts = dict(
        session.execute(
            select(CorrectedLabelRow.label, CorrectedLabelRow.scans).where(CorrectedLabelRow.label.in_(labels))
        ).all()
    )
    reasons = reasons_of(analysis)
    row = QueueRow(
        analysis_id=analysis.id,
        waiting=True,
        rare_label=None if "control" in reasons else rarest(labels, counts),
    )
    _write(row, reasons)
    session.add(row)


def give_reason(session: Session, analysis_id: str, kind: str, reason: tuple[float, str] | None) -> None:
    """Somebody decided, or a hand search ended; a newer word of one kind replaces the older, None takes it away.

    An analysis that was kept out of the queue stays out.
    """
    row = session.get(QueueRow, analysis_id)
    if row is None:
        return
    reasons = _reasons(row)
    reasons.pop(kind, None)
    if reason is not None:
        reasons[kind] = reason
    _write(row, reasons)


def corrected(session: Session, analysis_id: str, first: bool, labels: Iterable[str]) -> None:
    """A revision was saved: it waits no longer, and its labels are less rare.

    Args:
        session: of the write that saves it.
        analysis_id: what was corrected.
        first: whether it is the analysis's first revision.
        labels: the canonical labels it lists.
    """
    row = session.get(QueueRow, analysis_id)
    if row is None:  # no traffic, or not yet
        return
    row.waiting = False
    session.execute(delete(QueueClaimRow).where(QueueClaimRow.analysis_id == analysis_id))
    if not first:
        return
    for label in sorted(set(labels)):
        counted = session.get(CorrectedLabelRow, label)
        if counted is None:
            counted = CorrectedLabelRow(label=label, scans=0)
            session.add(counted)
        counted.scans += 1
        if counted.scans == RARE_BELOW:
            session.execute(
                update(QueueRow)
                .where(QueueRow.rare_label == label)
                .values(rare_label=None, score=QueueRow.score - RARE)
            )


def rejected(session: Session, analysis_id: str, revision: int, reviewer: str, comment: str | None) -> None:
    """A revision was rejected: where it is the newest, the scan waits again."""
    newest = session.scalar(select(func.max(CorrectionRow.revision)).where(CorrectionRow.analysis_id == analysis_id))
    row = session.get(QueueRow, analysis_id)
    if row is None or newest != revision:
        return
    said = f": {comment}" if comment else ""
    words = f"{reviewer} rejected revision {revision}{said}"
    row.waiting = True
    give_reason(session, analysis_id, "rejected", (REJECTED, words if len(words) <= 300 else words[:299] + "…"))


def rejection_taken_back(session: Session, analysis_id: str, revision: int) -> None:
    """A rejection counts no longer: where it was of the newest revision, that waits for a review, not the scan."""
    newest = session.scalar(select(func.max(CorrectionRow.revision)).where(CorrectionRow.analysis_id == analysis_id))
    row = session.get(QueueRow, analysis_id)
    if row is None or newest != revision:
        return
    row.waiting = False
    give_reason(session, analysis_id, "rejected", None)


# --- inside -------------------------------------------------------------------------------------------------


def _now() -> datetime:
    return datetime.now(UTC)


def _in_order(query: Select[Found]) -> Select[Found]:
    return query.order_by(QueueRow.score.desc(), QueueRow.analysis_id.desc())


def _row(session: Session, analysis_id: str) -> QueueRow:
    row = session.get(QueueRow, analysis_id)
    if row is None:
        raise NotFound("There is no analysis with this id.")
    return row


def _reasons(row: QueueRow) -> Reasons:
    return {kind: (float(points), str(words)) for kind, (points, words) in json.loads(row.reasons).items()}


def _write(row: QueueRow, reasons: Reasons) -> None:
    row.reasons = json.dumps(reasons, ensure_ascii=False)
    row.score = sum(points for points, _ in reasons.values()) + (RARE if row.rare_label else 0.0)


def _words(row: QueueRow) -> tuple[str, ...]:
    weighed = list(_reasons(row).values())
    if row.rare_label:
        weighed.append((RARE, f"few corrected scans hold {row.rare_label}"))
    return tuple(words for _, words in sorted(weighed, key=lambda one: -one[0]))


def _entries(session: Session, rows: list[QueueRow]) -> list[Entry]:
    ids = [row.analysis_id for row in rows]
    analyses = {row.id: row for row in session.scalars(select(AnalysisRow).where(AnalysisRow.id.in_(ids)))}
    stands = over_analyses(session, ids)
    held = select(QueueClaimRow).where(QueueClaimRow.analysis_id.in_(ids), QueueClaimRow.expires_at > _now())
    claims = {row.analysis_id: row for row in session.scalars(held)}
    skips: dict[str, list[str]] = {}
    for skipped in session.scalars(
        select(QueueSkipRow).where(QueueSkipRow.analysis_id.in_(ids)).order_by(QueueSkipRow.created_at)
    ):
        skips.setdefault(skipped.analysis_id, []).append(f"{skipped.username}: {skipped.reason}")
    found = []
    for row in rows:
        analysis, claim = analyses[row.analysis_id], claims.get(row.analysis_id)
        found.append(
            Entry(
                analysis_id=row.analysis_id,
                scan_id=analysis.scan_id,
                filename=str(json.loads(analysis.document)["scan"]["filename"]),
                risk_level=analysis.risk_level,
                standing=stands[row.analysis_id],
                created_at=analysis.created_at,
                score=round(row.score, 3),
                reasons=_words(row),
                claimed_by=claim.username if claim else None,
                claimed_until=claim.expires_at if claim else None,
                skipped=tuple(skips.get(row.analysis_id, ())),
            )
        )
    return found


def _claim(row: QueueClaimRow) -> Claim:
    return Claim(analysis_id=row.analysis_id, username=row.username, expires_at=row.expires_at)


def _refuse_claimed(session: Session, analysis_id: str, username: str, now: datetime) -> None:
    row = session.get(QueueClaimRow, analysis_id)
    if row is not None and row.username != username and row.expires_at > now:
        raise Conflict(
            f"{row.username} is at work on this scan.",
            details={"claimed_by": row.username, "until": row.expires_at.isoformat()},
        )


def _take(session: Session, analysis_id: str, username: str, now: datetime) -> Claim:
    # A person holds one scan at a time, and nobody's old claim lies about.
    session.execute(
        delete(QueueClaimRow).where(QueueClaimRow.username == username, QueueClaimRow.analysis_id != analysis_id)
    )
    row = session.get(QueueClaimRow, analysis_id)
    if row is None:
        row = QueueClaimRow(analysis_id=analysis_id, username=username, claimed_at=now)
        session.add(row)
    elif row.username != username:  # it ran out
        row.username, row.claimed_at = username, now
    row.expires_at = now + CLAIM
    session.flush()
    return _claim(row)

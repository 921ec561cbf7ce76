"""Webhook events: found in what the database says has happened, entered once, handed out until they are delivered.

An event is a fact of another table: a run's row that ends, an adapter's row, the word that withdraws a validation. It
is looked for there, rather than announced by who wrote it: so it is found whatever process wrote it, and whatever died
afterwards. Its id follows from the fact, so it is entered once, whoever looks. Of drift, which is in no row, see
`xray_app.webhook`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from xray_app.adapter import Gate
from xray_app.store.database import Database
from xray_app.store.tables import AdapterRow, RunRow
from xray_app.store.validation_tables import ValidationRow
from xray_app.store.webhook_tables import WebhookEventRow
from xray_app.types import POLICY

EventType = Literal["run.ended", "candidate.ready", "drift.flagged"]

LOOK_BACK = timedelta(days=7)
"""What happened longer ago is not told any more: a webhook that is set today does not tell the desk's whole past."""
WAITS = (timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=6), timedelta(minutes=36))
"""After each failed attempt, until the next."""
ATTEMPTS = len(WAITS) + 1


@dataclass(frozen=True)
class Event:
    """Something that has happened.

    Attributes:
        type: of what kind.
        subject: what makes it this event among those of its type; the id follows from both.
        happened_at: when.
        data: facts of it, as JSON takes them; nobody's name, no free text of a person's, no picture.
    """

    type: EventType
    subject: str
    happened_at: datetime
    data: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The same for the same event, whoever finds it: a receiver that knows it drops the second."""
        return hashlib.sha256(f"{self.type}\0{self.subject}".encode()).hexdigest()[:32]

    @property
    def body(self) -> str:
        """As it is sent."""
        facts = {"id": self.id, "type": self.type, "happened_at": self.happened_at.isoformat(), "data": dict(self.data)}
        return json.dumps(facts)


@dataclass(frozen=True)
class Delivery:
    """An event that is to be sent now.

    Attributes:
        id: the event's.
        body: what is sent.
        attempt: 1 is the first.
    """

    id: str
    body: str
    attempt: int


def collect(db: Database, now: datetime) -> None:
    """Enters what has happened and is not entered yet."""
    with db.read() as session:
        found = [*_ended_runs(session, now - LOOK_BACK), *_candidates(session, now - LOOK_BACK)]
        found += _withdrawn_validations(session, now - LOOK_BACK)
    enter(db, found, now)


def enter(db: Database, events: Iterable[Event], now: datetime) -> None:
    """Enters events to be sent from now on; those that are entered already stay as they are."""
    by_id = {event.id: event for event in events}
    with db.read() as session:
        unknown = by_id.keys() - _known(session, by_id)
    if not unknown:  # nearly always: no writer waits for this
        return
    with db.write() as session:
        for event_id in unknown - _known(session, unknown):
            session.add(WebhookEventRow(id=event_id, body=by_id[event_id].body, attempts=0, due_at=now))


def next_due(db: Database, now: datetime) -> Delivery | None:
    """Takes the event that has waited longest; None where none is due.

    It is due again after the attempt's wait, whether its taker fails or dies: only `settle` ends that.
    """
    due = select(WebhookEventRow).where(WebhookEventRow.settled_at.is_(None), WebhookEventRow.due_at <= now)
    due = due.order_by(WebhookEventRow.due_at, WebhookEventRow.id).limit(1)
    with db.read() as session:
        if session.scalar(due) is None:
            return None
    with db.write() as session:
        row = session.scalar(due)
        if row is None:
            return None  # another server took it
        row.attempts += 1
        row.due_at = now + WAITS[min(row.attempts, len(WAITS)) - 1]
        return Delivery(row.id, row.body, row.attempts)


def settle(db: Database, event_id: str, now: datetime) -> None:
    """An event is delivered, or given up: it is not handed out again."""
    with db.write() as session:
        row = session.get(WebhookEventRow, event_id)
        if row is not None:
            row.settled_at = now


def _known(session: Session, ids: Iterable[str]) -> set[str]:
    return set(session.scalars(select(WebhookEventRow.id).where(WebhookEventRow.id.in_(list(ids)))))


def _ended_runs(session: Session, since: datetime) -> Iterator[Event]:
    for row in session.scalars(select(RunRow).where(RunRow.ended_at >= since)):
        facts = {
            "run": row.id,
            "kind": row.kind,
            "status": row.status,
            "recipe": row.recipe,
            "method": row.method,
            "adapter": row.adapter_id,
        }
        yield Event("run.ended", row.id, row.ended_at or since, facts)


def _candidates(session: Session, since: datetime) -> Iterator[Event]:
    for row in session.scalars(select(AdapterRow).where(AdapterRow.created_at >= since)):
        gate = Gate.model_validate_json(row.gate)
        said = {"answer": gate.answer, "open_checks": [check.name for check in gate.open_checks]}
        facts = {"adapter": row.id, "kind": row.kind, "run": row.run_id, "gate": said}
        yield Event("candidate.ready", row.id, row.created_at, facts)


def _withdrawn_validations(session: Session, since: datetime) -> Iterator[Event]:
    """What the desk itself withdrew, because scans have changed or recall has fallen; a person's reason is theirs."""
    by_desk = (ValidationRow.kind == "withdrawn") & (ValidationRow.by == POLICY)
    for row in session.scalars(select(ValidationRow).where(by_desk, ValidationRow.created_at >= since)):
        facts = {"scanner": row.scanner_id, "validation_withdrawn": True, "reason": row.reason}
        yield Event("drift.flagged", row.id, row.created_at, facts)

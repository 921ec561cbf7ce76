"""Training runs as rows: queued, claimed by one process under a lease, ended once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from xray_app.errors import BadInput, Conflict, NotFound
from xray_app.store import idempotency
from xray_app.store.database import Database
from xray_app.store.paging import newest_first
from xray_app.store.tables import RunRow
from xray_app.types import AdapterKind, Method, Run, RunMetrics, RunStatus, SampleCounts

UNFINISHED: tuple[RunStatus, ...] = ("queued", "running")


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that has not ended, and the process that has it (all None while it is queued).

    Attributes:
        run: the run, queued or running.
        host: name of the machine.
        boot_id: which boot of it.
        pid: the process.
        pid_started: when that process started, in the claimer's own measure; tells a reused pid.
        heartbeat_at: when it last said it was alive.
        lease_until: until when nobody else may call it dead unseen.
        stop_requested: whether it was asked to stop.
    """

    run: Run
    host: str | None
    boot_id: str | None
    pid: int | None
    pid_started: float | None
    heartbeat_at: datetime | None
    lease_until: datetime | None
    stop_requested: bool


def create(db: Database, kind: AdapterKind, recipe: str, method: Method, epochs: float | None, created_by: str) -> Run:
    """Queue a run."""
    row = RunRow(
        id=uuid4().hex,
        kind=kind,
        status="queued",
        progress=0.0,
        recipe=recipe,
        method=method,
        epochs=epochs,
        samples=SampleCounts().model_dump_json(),
        metrics=RunMetrics().model_dump_json(),
        created_by=created_by,
        created_at=datetime.now(UTC),
        stop_requested=False,
    )
    with db.write() as session:
        session.add(row)
        session.flush()
        run = _value(row)
        idempotency.answer(session, run)
        return run


def get(db: Database, run_id: str) -> Run:
    """One run.

    Raises:
        NotFound: no run has this id.
    """
    with db.read() as session:
        return _value(_row(session, run_id))


def page(db: Database, limit: int = 50, after: str | None = None) -> tuple[list[Run], str | None]:
    """Runs newest first, and the cursor of the next page (None at the end).

    Raises:
        BadInput: a limit outside 1 to 500, or a cursor that no page gave.
    """
    with db.read() as session:
        rows, following = newest_first(session, select(RunRow), RunRow.created_at, RunRow.id, limit, after)
    return [_value(row) for row in rows], following


def next_queued(db: Database) -> Run | None:
    """The run that has waited longest, None where none waits."""
    query = select(RunRow).where(RunRow.status == "queued").order_by(RunRow.created_at, RunRow.id).limit(1)
    with db.read() as session:
        row = session.scalar(query)
        return None if row is None else _value(row)


def unfinished(db: Database) -> list[UnfinishedRun]:
    """All runs that are queued or running, oldest first."""
    query = select(RunRow).where(RunRow.status.in_(UNFINISHED)).order_by(RunRow.created_at, RunRow.id)
    with db.read() as session:
        return [
            UnfinishedRun(
                run=_value(row),
                host=row.host,
                boot_id=row.boot_id,
                pid=row.pid,
                pid_started=row.pid_started,
                heartbeat_at=row.heartbeat_at,
                lease_until=row.lease_until,
                stop_requested=row.stop_requested,
            )
            for row in session.scalars(query)
        ]


def claim(
    db: Database,
    run_id: str,
    host: str,
    boot_id: str,
    pid: int,
    pid_started: float,
    lease_seconds: float,
) -> Run:
    """Take a queued run for this process; of several that try, one gets it.

    Raises:
        NotFound: no run has this id.
        Conflict: it is not queued any more.
    """
    now = datetime.now(UTC)
    with db.write() as session:
        row = _row(session, run_id)
        if row.status != "queued":
            raise Conflict(f"This run is {row.status}, not queued.", details={"status": row.status})
        row.status = "running"
        row.started_at = row.heartbeat_at = now
        row.lease_until = now + timedelta(seconds=lease_seconds)
        row.host, row.boot_id, row.pid, row.pid_started = host, boot_id, pid, pid_started
        return _value(row)


def heartbeat(db: Database, run_id: str, progress: float, lease_seconds: float) -> bool:
    """Say that the run's process is alive and how far it is (0 to 1).

    Returns:
        Whether to stop: because somebody asked, or because the run was declared ended meanwhile.

    Raises:
        NotFound: no run has this id.
    """
    now = datetime.now(UTC)
    with db.write() as session:
        row = _row(session, run_id)
        if row.status != "running":
            return True
        # A NaN from a broken estimate must not reach a page that only takes 0 to 1.
        row.progress = min(max(progress, 0.0), 1.0) if progress == progress else row.progress
        row.heartbeat_at = now
        row.lease_until = now + timedelta(seconds=lease_seconds)
        return row.stop_requested


def update(
    db: Database,
    run_id: str,
    *,
    samples: SampleCounts | None = None,
    metrics: RunMetrics | None = None,
    adapter_id: str | None = None,
) -> Run:
    """Write down what a run has found so far; what is left out stays.

    With `samples` the run has frozen what it learns from: what it read is no longer taken back.

    Raises:
        NotFound: no run has this id.
        Conflict: it has ended.
    """
    with db.write() as session:
        row = _unfinished_row(session, run_id)
        if samples is not None:
            row.samples = samples.model_dump_json()
            row.frozen_at = datetime.now(UTC)
        if metrics is not None:
            row.metrics = metrics.model_dump_json()
        if adapter_id is not None:
            row.adapter_id = adapter_id
        return _value(row)


def froze_since(session: Session, since: datetime) -> bool:
    """Whether a run has frozen what was accepted by then.

    Raises:
        Conflict: a run is about to, and may have read it already.
    """
    reading = select(RunRow.id).where(RunRow.status == "running", RunRow.frozen_at.is_(None))
    if session.scalar(reading.limit(1)) is not None:
        raise Conflict("A run is putting together what it learns from. Try again in a few minutes.")
    return session.scalar(select(RunRow.id).where(RunRow.frozen_at >= since).limit(1)) is not None


def finish(db: Database, run_id: str, status: RunStatus, error: str | None = None) -> Run:
    """End a run, once.

    Args:
        db: the store.
        run_id: the run.
        status: succeeded, failed or cancelled.
        error: what went wrong, in words for the admin.

    Raises:
        NotFound: no run has this id.
        Conflict: it has ended already.
    """
    if status in UNFINISHED:
        raise BadInput("A run ends as succeeded, failed or cancelled.")
    with db.write() as session:
        row = _unfinished_row(session, run_id)
        _end(row, status, error)
        return _value(row)


def request_cancel(db: Database, run_id: str) -> Run:
    """Ask a running run to stop at its next heartbeat; a queued one is cancelled at once.

    Raises:
        NotFound: no run has this id.
        Conflict: it has ended already.
    """
    with db.write() as session:
        row = _unfinished_row(session, run_id)
        row.stop_requested = True
        if row.status == "queued":
            _end(row, "cancelled", None)
        return _value(row)


def _row(session: Session, run_id: str) -> RunRow:
    row = session.get(RunRow, run_id)
    if row is None:
        raise NotFound("There is no training run with this id.")
    return row


def _unfinished_row(session: Session, run_id: str) -> RunRow:
    row = _row(session, run_id)
    if row.status not in UNFINISHED:
        raise Conflict(f"This run has ended: {row.status}.", details={"status": row.status})
    return row


def _end(row: RunRow, status: RunStatus, error: str | None) -> None:
    row.status = status
    row.error = error
    row.ended_at = datetime.now(UTC)
    row.lease_until = None
    if status == "succeeded":
        row.progress = 1.0


def _value(row: RunRow) -> Run:
    own = ("samples", "metrics")
    return Run.model_validate(
        {name: getattr(row, name) for name in Run.model_fields if name not in own}
        | {
            "samples": SampleCounts.model_validate_json(row.samples),
            "metrics": RunMetrics.model_validate_json(row.metrics),
        }
    )

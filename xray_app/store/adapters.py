"""Registered adapters, and the pointer to the active one of each base model: its newest promotion."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from xray_app.adapter import Adapter, Gate
from xray_app.errors import Conflict, NotFound
from xray_app.store import audit, idempotency
from xray_app.store.database import Database
from xray_app.store.paging import newest_first
from xray_app.store.tables import AdapterRow, PromotionRow
from xray_app.types import AdapterKind, RunMetrics


def add(db: Database, adapter: Adapter, folder: Path) -> Adapter:
    """Register an adapter. Registering does not make it active, whatever its `active` says.

    Args:
        db: the store.
        adapter: what is known of it.
        folder: where its files lie; kept relative where that is below the data folder.

    Raises:
        Conflict: an adapter with this id is registered already.
    """
    folder = folder.resolve()
    if folder.is_relative_to(db.data_dir):
        folder = folder.relative_to(db.data_dir)
    with db.write() as session:
        if session.get(AdapterRow, adapter.id) is not None:
            raise Conflict("An adapter with this id is registered already.")
        row = AdapterRow(
            id=adapter.id,
            kind=adapter.kind,
            base=adapter.base,
            base_sha256=adapter.base_sha256,
            run_id=adapter.run_id,
            created_at=adapter.created_at,
            folder=folder.as_posix(),
            metrics=adapter.metrics.model_dump_json(),
            gate=adapter.gate.model_dump_json(),
        )
        session.add(row)
        session.flush()
        return _value(session, row)


def get(db: Database, adapter_id: str) -> Adapter:
    """One adapter.

    Raises:
        NotFound: no adapter has this id.
    """
    with db.read() as session:
        return _value(session, _row(session, adapter_id))


def folder(db: Database, adapter_id: str) -> Path:
    """Where an adapter's files lie.

    Raises:
        NotFound: no adapter has this id.
    """
    with db.read() as session:
        return db.data_dir / _row(session, adapter_id).folder  # an absolute one stays as it is


def page(db: Database, limit: int = 50, after: str | None = None) -> tuple[list[Adapter], str | None]:
    """Adapters newest first, and the cursor of the next page (None at the end).

    Raises:
        BadInput: a limit outside 1 to 500, or a cursor that no page gave.
    """
    with db.read() as session:
        rows, following = newest_first(session, select(AdapterRow), AdapterRow.created_at, AdapterRow.id, limit, after)
        return [_value(session, row) for row in rows], following


def active(db: Database, kind: AdapterKind, base_sha256: str, besides: str | None = None) -> Adapter | None:
    """The adapter in use over this base model, None for the base model itself.

    Args:
        db: the store.
        kind, base_sha256: of the base model.
        besides: the id of an adapter; is it the one in use, what was before it is meant.
    """
    with db.read() as session:
        found = _active(session, kind, base_sha256)
        if found is None or found.id != besides:
            return found
        before = _states(session, kind, base_sha256)[-2]
        return None if before is None else _value(session, _row(session, before))


def examined(db: Database, adapter_id: str, metrics: RunMetrics, gate: Gate, by: str) -> Adapter:
    """Keeps what a later examination said of an adapter, in place of what the one before did.

    Raises:
        NotFound: no adapter has this id.
    """
    with db.write() as session:
        row = _row(session, adapter_id)
        row.metrics, row.gate = metrics.model_dump_json(), gate.model_dump_json()
        audit.write(session, by, "examined", {"adapter_id": adapter_id, "answer": gate.answer})
        session.flush()
        return _value(session, row)


def activate(
    db: Database,
    adapter_id: str | None,
    kind: AdapterKind,
    base_sha256: str,
    by: str,
    reason: str | None = None,
    forced: bool = False,
    trial: bool = False,
) -> Adapter | None:
    """Move the pointer of a base model; None moves it to the base model itself.

    `forced` (against the gate) and `trial` (without its evidence) are for the audit log.

    Raises:
        NotFound: no adapter has this id.
        Conflict: the adapter is of another kind or another base model.
    """
    with db.write() as session:
        if adapter_id is not None:
            row = _row(session, adapter_id)
            if (row.kind, row.base_sha256) != (kind, base_sha256):
                raise Conflict(f"This adapter belongs to another base model ({row.base}).")
        _point(session, kind, base_sha256, adapter_id, by, reason, forced, trial, rollback=False)
        return _answered(session, kind, base_sha256)


def rollback(db: Database, kind: AdapterKind, base_sha256: str, by: str, reason: str | None = None) -> Adapter | None:
    """Move the pointer back to what was active before; a second time, to what was active before that.

    Returns:
        The adapter now active; None for the base model, also when nothing was ever promoted.
    """
    with db.write() as session:
        states = _states(session, kind, base_sha256)
        if len(states) > 1:
            _point(session, kind, base_sha256, states[-2], by, reason, forced=False, trial=False, rollback=True)
        return _answered(session, kind, base_sha256)


def _row(session: Session, adapter_id: str) -> AdapterRow:
    row = session.get(AdapterRow, adapter_id)
    if row is None:
        raise NotFound("There is no adapter with this id.")
    return row


def _value(session: Session, row: AdapterRow) -> Adapter:
    gate = Gate.model_validate_json(row.gate)
    is_active = _active_id(session, row.kind, row.base_sha256) == row.id
    return Adapter(
        id=row.id,
        kind=row.kind,  # type: ignore[arg-type]  # only add() writes it
        base=row.base,
        base_sha256=row.base_sha256,
        run_id=row.run_id,
        active=is_active,
        trial=is_active and gate.answer == "not shown yet",
        created_at=row.created_at,
        metrics=RunMetrics.model_validate_json(row.metrics),
        gate=gate,
    )


def _active(session: Session, kind: str, base_sha256: str) -> Adapter | None:
    adapter_id = _active_id(session, kind, base_sha256)
    return None if adapter_id is None else _value(session, _row(session, adapter_id))


def _answered(session: Session, kind: str, base_sha256: str) -> Adapter | None:
    now = _active(session, kind, base_sha256)
    idempotency.answer(session, now)
    return now


def _active_id(session: Session, kind: str, base_sha256: str) -> str | None:
    return session.scalar(
        select(PromotionRow.adapter_id)
        .where(PromotionRow.kind == kind, PromotionRow.base_sha256 == base_sha256)
        .order_by(PromotionRow.id.desc())
        .limit(1)
    )


def _states(session: Session, kind: str, base_sha256: str) -> list[str | None]:
    """What a rollback may still go back to, oldest first: the base model, and last what is active now."""
    rows = session.execute(
        select(PromotionRow.adapter_id, PromotionRow.rollback)
        .where(PromotionRow.kind == kind, PromotionRow.base_sha256 == base_sha256)
        .order_by(PromotionRow.id)
    )
    # A rollback takes the last state off, or a second one would bring back the adapter just taken away.
    states: list[str | None] = [None]
    for adapter_id, rolled_back in rows:
        if rolled_back:
            while len(states) > 1 and states[-1] != adapter_id:
                states.pop()
        elif states[-1] != adapter_id:
            states.append(adapter_id)
    return states


def _point(
    session: Session,
    kind: str,
    base_sha256: str,
    adapter_id: str | None,
    by: str,
    reason: str | None,
    forced: bool,
    trial: bool,
    rollback: bool,
) -> None:
    session.add(
        PromotionRow(
            kind=kind,
            base_sha256=base_sha256,
            adapter_id=adapter_id,
            rollback=rollback,
            forced=forced,
            reason=reason,
            promoted_by=by,
            created_at=datetime.now(UTC),
        )
    )
    audit.write(
        session,
        by,
        "rolled back" if rollback else "promoted",
        {
            "kind": kind,
            "base_sha256": base_sha256,
            "adapter_id": adapter_id,
            "forced": forced,
            "trial": trial,
            "reason": reason,
        },
    )
    session.flush()

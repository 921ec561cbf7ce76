"""Operating points: thresholds of the threat score that admins set and withdraw; and the evidence they rest on."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xray_app.errors import NotFound
from xray_app.store import audit, idempotency
from xray_app.store.database import Database
from xray_app.store.operating_tables import OperatingPointRow, ScoreEvidenceRow
from xray_app.threat_score import OperatingPoint, OperatingPointFigures
from xray_app.types import ScoreEvidence

EVERYWHERE = ""
"""The scanner of a point for all scanners."""


def keep_evidence(session: Session, scan_id: str, evidence: ScoreEvidence) -> None:
    """Keeps what a pair of models said of a scan, within a transaction; it says the same every time."""
    session.merge(ScoreEvidenceRow(scan_id=scan_id, pair=evidence.pair, vlm=evidence.vlm, detector=evidence.detector))


def add_evidence(db: Database, scan_id: str, said: ScoreEvidence) -> None:
    """As `keep_evidence`, in a transaction of its own."""
    with db.write() as session:
        keep_evidence(session, scan_id, said)


def evidence(db: Database, pair: str, scan_ids: Iterable[str]) -> dict[str, tuple[float, float]]:
    """What this pair of models said of each scan it was asked about: (VLM, detector), by scan id."""
    wanted = sorted(set(scan_ids))
    found: dict[str, tuple[float, float]] = {}
    with db.read() as session:
        for start in range(0, len(wanted), 500):
            query = select(ScoreEvidenceRow).where(
                ScoreEvidenceRow.pair == pair, ScoreEvidenceRow.scan_id.in_(wanted[start : start + 500])
            )
            found |= {row.scan_id: (row.vlm, row.detector) for row in session.scalars(query)}
    return found


def put(
    db: Database,
    scanner_id: str | None,
    pair: str,
    policy_sha256: str,
    figures: OperatingPointFigures,
    by: str,
    reason: str,
) -> OperatingPoint:
    """Puts an operating point in force; its predecessor stays on record."""
    row = _row(scanner_id, pair, policy_sha256, "set", by, reason, figures.model_dump_json())
    with db.write() as session:
        _append(session, row)
        audit.write(
            session,
            by,
            "operating point set",
            {
                "id": row.id,
                "scanner": scanner_id,
                "threshold": figures.threshold,
                "review_threshold": figures.review_threshold,
                "recall": figures.recall,
                "reason": reason,
            },
        )
        point = _point(row)
        idempotency.answer(session, point)
        return point


def withdraw(db: Database, point_id: str, by: str, reason: str) -> None:
    """Takes an operating point out of force: none is then, until one is set anew.

    Raises:
        NotFound: it is not in force.
    """
    with db.write() as session:
        row = session.get(OperatingPointRow, point_id)
        if row is None or _newest(session, row.pair, row.policy_sha256).get(row.scanner_id) is not row:
            raise NotFound("No operating point with this id is in force.")
        _append(session, _row(row.scanner_id or None, row.pair, row.policy_sha256, "withdrawn", by, reason, ""))
        audit.write(session, by, "operating point withdrawn", {"id": point_id, "reason": reason})
        idempotency.answer(session, None)


def in_force(db: Database, pair: str, policy_sha256: str) -> Mapping[str, OperatingPoint]:
    """The points in force for these models, this taxonomy and policy, by scanner ("" for all scanners)."""
    with db.read() as session:
        rows = _newest(session, pair, policy_sha256)
        return {scanner: _point(row) for scanner, row in rows.items() if row.kind == "set"}


def _newest(session: Session, pair: str, policy_sha256: str) -> dict[str, OperatingPointRow]:
    query = (
        select(OperatingPointRow)
        .where(OperatingPointRow.pair == pair, OperatingPointRow.policy_sha256 == policy_sha256)
        .order_by(OperatingPointRow.number)
    )
    return {row.scanner_id: row for row in session.scalars(query)}


def _row(
    scanner_id: str | None, pair: str, policy_sha256: str, kind: str, by: str, reason: str, document: str
) -> OperatingPointRow:
    return OperatingPointRow(
        id=uuid.uuid4().hex,
        scanner_id=scanner_id or EVERYWHERE,
        pair=pair,
        policy_sha256=policy_sha256,
        kind=kind,
        created_at=datetime.now(UTC),
        by=by,
        reason=reason,
        document=document,
    )


def _append(session: Session, row: OperatingPointRow) -> None:
    row.number = (session.scalar(select(func.max(OperatingPointRow.number))) or 0) + 1
    session.add(row)
    session.flush()


def _point(row: OperatingPointRow) -> OperatingPoint:
    return OperatingPoint(
        id=row.id,
        scanner_id=row.scanner_id or None,
        pair=row.pair,
        policy_sha256=row.policy_sha256,
        created_at=row.created_at,
        by=row.by,
        reason=row.reason,
        figures=OperatingPointFigures.model_validate_json(row.document),
    )


def of_scanner(db: Database, scanner_id: str | None, pair: str, policy_sha256: str) -> OperatingPoint | None:
    """The point by which a scanner's scans are read: its own, else the one for all scanners."""
    points = in_force(db, pair, policy_sha256)
    return points.get(scanner_id or EVERYWHERE) or points.get(EVERYWHERE)

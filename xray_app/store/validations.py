"""Validations: what admins signed, and what was withdrawn, by somebody or by the desk itself; appended."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xray_app.errors import Conflict, NotFound
from xray_app.store import audit, campaigns, idempotency
from xray_app.store.database import Database
from xray_app.store.validation_tables import CampaignEndRow, ValidationRow
from xray_app.validation import Campaign, Validation, ValidationEvidence, WithdrawnValidation


def sign(db: Database, campaign: Campaign, evidence: ValidationEvidence, by: str, reason: str) -> Validation:
    """Puts a validation in force and ends its campaign.

    Raises:
        Conflict: the campaign has ended meanwhile.
    """
    row = _row(campaign.scanner_id, campaign.rests_on, "signed", campaign.id, by, reason, evidence.model_dump_json())
    with db.write() as session:
        if session.get(CampaignEndRow, campaign.id) is not None:
            raise Conflict("This campaign has ended already.")
        _append(session, row)
        campaigns.end(session, campaign.id, "signed", by, reason)
        facts = {"id": row.id, "scanner": campaign.scanner_id, "recall_low": evidence.recall_low, "reason": reason}
        audit.write(session, by, "validation signed", facts)
        value = _value(row)
        idempotency.answer(session, value)
    return value


def withdraw(db: Database, validation_id: str, by: str, reason: str) -> None:
    """Takes a validation back: from the next scan on nothing is advised to be cleared there.

    Raises:
        NotFound: it is not in force.
    """
    with db.write() as session:
        withdraw_within(session, validation_id, by, reason)
        idempotency.answer(session, None)


def withdraw_within(session: Session, validation_id: str, by: str, reason: str) -> None:
    """As `withdraw`, within a transaction."""
    row = session.get(ValidationRow, validation_id)
    if row is None or _newest(session, row.scanner_id, row.rests_on) is not row:
        raise NotFound("No validation with this id is in force.")
    _append(session, _row(row.scanner_id, row.rests_on, "withdrawn", row.campaign_id, by, reason, ""))
    audit.write(session, by, "validation withdrawn", {"id": row.id, "scanner": row.scanner_id, "reason": reason})


def in_force(session: Session, scanner_id: str | None, rests_on: str) -> Validation | None:
    """The validation by which a scanner's scans may be advised to be cleared, within a transaction."""
    row = _newest(session, scanner_id, rests_on) if scanner_id is not None else None
    return _value(row) if row is not None and row.kind == "signed" else None


def validated(db: Database, scanner_id: str | None, rests_on: str) -> bool:
    """Whether what an answer rests on is validated on this scanner; see `threat_score.rests_on`."""
    with db.read() as session:
        return in_force(session, scanner_id, rests_on) is not None


def gathers_truth(db: Database, scanner_id: str | None) -> bool:
    """Whether models are judged by the test images of this scanner: a campaign is open, or a validation stands."""
    if scanner_id is None:
        return False
    with db.read() as session:
        if campaigns.is_open(session, scanner_id):
            return True
        query = select(ValidationRow.kind).where(ValidationRow.scanner_id == scanner_id)
        return session.scalar(query.order_by(ValidationRow.number.desc()).limit(1)) == "signed"


def signed(db: Database, limit: int = 100) -> tuple[list[Validation], list[WithdrawnValidation]]:
    """What was signed and not withdrawn, and what was withdrawn, the newest first.

    One that is not withdrawn holds only for what it rests on.
    """
    with db.read() as session:
        rows = list(session.scalars(select(ValidationRow).order_by(ValidationRow.number.desc()).limit(limit)))
    holding: list[Validation] = []
    gone: list[WithdrawnValidation] = []
    withdrawn = {row.campaign_id: row for row in rows if row.kind == "withdrawn"}
    for row in rows:
        if row.kind != "signed":
            continue
        if (over := withdrawn.get(row.campaign_id)) is None:
            holding.append(_value(row))
        else:
            what = {"validation": _value(row), "at": over.created_at, "by": over.by, "reason": over.reason}
            gone.append(WithdrawnValidation.model_validate(what))
    return holding, gone


def _newest(session: Session, scanner_id: str | None, rests_on: str) -> ValidationRow | None:
    query = select(ValidationRow).where(ValidationRow.scanner_id == scanner_id, ValidationRow.rests_on == rests_on)
    return session.scalar(query.order_by(ValidationRow.number.desc()).limit(1))


def _row(
    scanner_id: str, rests_on: str, kind: str, campaign_id: str, by: str, reason: str, document: str
) -> ValidationRow:
    return ValidationRow(
        id=uuid.uuid4().hex,
        scanner_id=scanner_id,
        rests_on=rests_on,
        kind=kind,
        campaign_id=campaign_id,
        created_at=datetime.now(UTC),
        by=by,
        reason=reason,
        document=document,
    )


def _append(session: Session, row: ValidationRow) -> None:
    row.number = (session.scalar(select(func.max(ValidationRow.number))) or 0) + 1
    session.add(row)
    session.flush()


def _value(row: ValidationRow) -> Validation:
    return Validation(
        id=row.id,
        scanner_id=row.scanner_id,
        rests_on=row.rests_on,
        campaign_id=row.campaign_id,
        signed_at=row.created_at,
        by=row.by,
        reason=row.reason,
        evidence=ValidationEvidence.model_validate_json(row.document),
    )

"""Campaigns: the next bags of a scanner, held out and labelled by two people, by which models are validated there."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xray_app.correction.bag_truth import prohibited_in
from xray_app.errors import Conflict, NotFound
from xray_app.risk import worst
from xray_app.store import audit, bags, idempotency, queue
from xray_app.store.database import Database
from xray_app.store.standing import BATCH, statements
from xray_app.store.tables import AnalysisRow, OutcomeRow, TrialRow
from xray_app.store.validation_tables import CampaignBagRow, CampaignEndRow, CampaignRow
from xray_app.types import POLICY, Analysis
from xray_app.validation import Campaign, CampaignBag, CampaignEnd, CampaignEnding

TO_LABEL = (10.0, "validation campaign: to be labelled by two people")
"""Points in the annotators' queue, above all others, and words."""


def put(
    db: Database, scanner_id: str, rests_on: str, bags: int, test_share: float, ends_at: datetime, by: str, reason: str
) -> Campaign:
    """Opens a campaign.

    Raises:
        Conflict: one is open for this scanner.
    """
    with db.write() as session:
        if (at_work := _open(session, scanner_id)) is not None:
            raise Conflict(
                f"A campaign is open for {scanner_id} until {at_work.ends_at:%Y-%m-%d}. End it first.",
                details={"campaign": at_work.id},
            )
        row = CampaignRow(
            id=uuid.uuid4().hex,
            number=(session.scalar(select(func.max(CampaignRow.number))) or 0) + 1,
            scanner_id=scanner_id,
            rests_on=rests_on,
            bags=bags,
            test_share=test_share,
            created_at=datetime.now(UTC),
            ends_at=ends_at,
            by=by,
            reason=reason,
        )
        session.add(row)
        session.flush()
        value = _value(row, None)
        audit.write(session, by, "campaign opened", {"id": row.id, "scanner": scanner_id, "bags": bags, "why": reason})
        idempotency.answer(session, value)
    return value


def cancel(db: Database, campaign_id: str, by: str, reason: str) -> Campaign:
    """Ends a campaign that shall not be signed; its bags stay held out.

    Raises:
        NotFound: no campaign has this id.
        Conflict: it has ended.
    """
    with db.write() as session:
        row = session.get(CampaignRow, campaign_id)
        if row is None:
            raise NotFound("There is no campaign with this id.")
        if session.get(CampaignEndRow, campaign_id) is not None:
            raise Conflict("This campaign has ended already.")
        end(session, campaign_id, "cancelled", by, reason)
        value = _value(row, session.get(CampaignEndRow, campaign_id))
        idempotency.answer(session, value)
    return value


def end(session: Session, campaign_id: str, kind: CampaignEnding, by: str, reason: str) -> None:
    """Ends a campaign, within a transaction."""
    session.add(CampaignEndRow(campaign_id=campaign_id, kind=kind, created_at=datetime.now(UTC), by=by, reason=reason))
    audit.write(session, by, f"campaign {kind}", {"id": campaign_id, "why": reason})
    session.flush()


def get(db: Database, campaign_id: str) -> Campaign:
    """One campaign.

    Raises:
        NotFound: no campaign has this id.
    """
    with db.read() as session:
        row = session.get(CampaignRow, campaign_id)
        if row is None:
            raise NotFound("There is no campaign with this id.")
        return _value(row, session.get(CampaignEndRow, campaign_id))


def newest(db: Database, limit: int = 50) -> list[Campaign]:
    """Campaigns, the newest first."""
    query = (
        select(CampaignRow, CampaignEndRow)
        .outerjoin(CampaignEndRow, CampaignEndRow.campaign_id == CampaignRow.id)
        .order_by(CampaignRow.number.desc())
        .limit(limit)
    )
    with db.read() as session:
        return [_value(row, ended) for row, ended in session.execute(query)]


def is_open(session: Session, scanner_id: str) -> bool:
    """Whether a campaign for this scanner has not ended, within a transaction."""
    return _open(session, scanner_id) is not None


def test_share(db: Database, scanner_id: str | None) -> float:
    """The share of test images that an open campaign asks for on this scanner; 0 without one."""
    if scanner_id is None:
        return 0.0
    with db.read() as session:
        row = _open(session, scanner_id)
        return row.test_share if row is not None and _collecting(session, row) else 0.0


# --- what the other rooms of the store tell campaigns, each in its own transaction --------------------------


def enrol(session: Session, analysis: Analysis) -> None:
    """A bag that nobody has seen joins the open campaign of its scanner, where there is one.

    One that may be near to something trained on does not, nor one that came before. Where the answer rests on
    something else than the campaign does, the campaign is void.
    """
    scan, evidence = analysis.scan, analysis.score_evidence
    row = _open(session, scan.scanner_id) if scan.scanner_id is not None else None
    if row is None or evidence is None:
        return
    if evidence.rests_on != row.rests_on:
        end(session, row.id, "void", POLICY, "The models, classes, policy or threshold changed before it was signed.")
        return
    seen = (AnalysisRow.bag_id == scan.bag_id) | (AnalysisRow.scan_id == scan.id)
    before = select(AnalysisRow.id).where(AnalysisRow.id != analysis.id, seen)
    if not _collecting(session, row) or session.scalar(before.limit(1)) is not None:
        return
    test = session.get(TrialRow, analysis.id) is not None
    if not test and not bags.hold_out(session, scan):
        return
    session.add(CampaignBagRow(bag_id=scan.bag_id, campaign_id=row.id, created_at=datetime.now(UTC), test=test))
    session.flush()
    remind(session, analysis)


def remind(session: Session, analysis: Analysis) -> None:
    """Lets annotators see first what belongs to a campaign, once its prediction may be seen."""
    row = session.get(CampaignBagRow, analysis.scan.bag_id)
    if row is not None and not row.test:
        queue.give_reason(session, analysis.id, "campaign", TO_LABEL)


def awaits_second_person(session: Session, bag_id: str) -> bool:
    """Whether what one person says of this bag counts once a second one has accepted it."""
    row = session.get(CampaignBagRow, bag_id)
    return row is not None and session.get(CampaignEndRow, row.campaign_id) is None


# --- what is known of its bags ------------------------------------------------------------------------------


def bags_of(db: Database, campaign: Campaign) -> list[CampaignBag]:
    """The bags of a campaign in the order in which they came, and what is known of each."""
    query = (
        select(CampaignBagRow)
        .where(CampaignBagRow.campaign_id == campaign.id)
        .order_by(CampaignBagRow.created_at, CampaignBagRow.bag_id)
        .limit(campaign.bags)
    )
    found: list[CampaignBag] = []
    with db.read() as session:
        rows = list(session.scalars(query))
        for start in range(0, len(rows), BATCH):
            found += _known(session, rows[start : start + BATCH], campaign.rests_on)
    return found


def enrolled(db: Database, campaign_id: str) -> int:
    """How many bags have joined a campaign."""
    with db.read() as session:
        return _enrolled(session, campaign_id)


def _known(session: Session, rows: Sequence[CampaignBagRow], rests_on: str) -> list[CampaignBag]:
    ids = [row.bag_id for row in rows]
    views: dict[str, list[Analysis]] = defaultdict(list)
    for bag_id, document in session.execute(
        select(AnalysisRow.bag_id, AnalysisRow.document).where(AnalysisRow.bag_id.in_(ids)).order_by(AnalysisRow.id)
    ):
        views[bag_id].append(Analysis.model_validate_json(document))
    truths = truths_of(session, {bag_id: {one.scan.id for one in of_bag} for bag_id, of_bag in views.items()})
    tests = select(AnalysisRow.bag_id, TrialRow.label).join(TrialRow, TrialRow.analysis_id == AnalysisRow.id)
    of_test = {bag: label for bag, label in session.execute(tests.where(AnalysisRow.bag_id.in_(ids)))}  # noqa: C416
    found = []
    for row in rows:
        own = [one for one in views[row.bag_id] if one.score_evidence and one.score_evidence.rests_on == rests_on]
        if row.test:
            threats: frozenset[str] | None = frozenset({of_test[row.bag_id]} - {""})
        else:
            threats = truths[row.bag_id]
        level = worst(own, lambda one: one.risk).risk.level
        found.append(CampaignBag(row.bag_id, row.test, threats is not None, threats or frozenset(), level))
    return found


def truths_of(session: Session, scans: dict[str, set[str]]) -> dict[str, frozenset[str] | None]:
    """The prohibited labels in bags, None where they are not known; see `correction.bag_truth.prohibited_in`.

    Args:
        session: of a transaction.
        scans: by bag the ids of its views, at most a few hundred bags.
    """
    said = statements(session, scans)
    query = select(AnalysisRow.bag_id).join(OutcomeRow, OutcomeRow.analysis_id == AnalysisRow.id)
    searched = set(session.scalars(query.where(AnalysisRow.bag_id.in_(scans)).distinct()))
    return {
        bag_id: prohibited_in({scan: said.get((bag_id, scan), []) for scan in views}, views, bag_id in searched)
        for bag_id, views in scans.items()
    }


def _open(session: Session, scanner_id: str) -> CampaignRow | None:
    ended = select(CampaignEndRow.campaign_id).where(CampaignEndRow.campaign_id == CampaignRow.id).exists()
    query = select(CampaignRow).where(CampaignRow.scanner_id == scanner_id, ~ended)
    return session.scalar(query.order_by(CampaignRow.number.desc()).limit(1))


def _collecting(session: Session, row: CampaignRow) -> bool:
    return datetime.now(UTC) < row.ends_at and _enrolled(session, row.id) < row.bags


def _enrolled(session: Session, campaign_id: str) -> int:
    count = select(func.count()).select_from(CampaignBagRow).where(CampaignBagRow.campaign_id == campaign_id)
    return session.scalar(count) or 0


def _value(row: CampaignRow, ended: CampaignEndRow | None) -> Campaign:
    return Campaign(
        id=row.id,
        scanner_id=row.scanner_id,
        rests_on=row.rests_on,
        bags=row.bags,
        test_share=row.test_share,
        opened_at=row.created_at,
        ends_at=row.ends_at,
        by=row.by,
        reason=row.reason,
        end=None
        if ended is None
        else CampaignEnd.model_validate(
            {"kind": ended.kind, "at": ended.created_at, "by": ended.by, "reason": ended.reason}
        ),
    )

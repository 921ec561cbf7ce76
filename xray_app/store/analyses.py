"""Analyses: written once, with their scan, and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from xray_app.errors import BadInput, Conflict, NotFound, StorageFailed
from xray_app.risk import worst
from xray_app.scan.appearance import Appearance
from xray_app.store import (
    campaigns,
    facts,
    idempotency,
    known_truths,
    operating_points,
    scans,
    thumbnails,
    tip,
)
from xray_app.store.database import Database
from xray_app.store.paging import newest_first
from xray_app.store.standing import counted, read_bags
from xray_app.store.tables import AnalysisRow
from xray_app.types import Analysis, AnalysisStanding


@dataclass(frozen=True)
class NewView:
    """An analysis and its scan, to be kept.

    Attributes:
        analysis: of this scan.
        content, media_type: the scan.
        appearance: how the scan looks; made when first asked for if None.
    """

    analysis: Analysis
    content: bytes
    media_type: str
    appearance: Appearance | None = None


def save_views(
    db: Database,
    views: Sequence[NewView],
    created_by: str,
    *,
    blind: bool = False,
    truth: tip.Truth | None = None,
    drawn: bool | None = None,
) -> list[Analysis]:
    """Keep scans and their analyses, all or none: of one file's views nobody sees a part.

    Args:
        db: the store.
        views: what to keep.
        created_by: whose queue they join.
        blind: whether the prediction stays hidden until somebody decides; a bag's later views follow its first.
        truth: of a test image; None: a real scan.
        drawn: whether a bag that just came in was drawn by lot for a hand search; None: it was brought in otherwise,
            as by an import, and joins no campaign.

    Raises:
        StorageFailed: disk full or read-only; nothing is left behind.
        Conflict: an analysis with this id is there already.
    """
    with scans.saving(db, *(scans.NewScan(one.analysis.scan, one.content, one.media_type) for one in views)) as session:
        for one in views:
            _add(session, one.analysis, created_by, blind, truth)
            if one.appearance is not None:
                facts.add_appearance(session, one.analysis.scan.id, one.appearance)
            if drawn is not None or truth is not None:
                campaigns.enrol(session, one.analysis)
                known_truths.enter_test_image(session, one.analysis)
            if drawn:
                known_truths.draw(session, one.analysis.scan.bag_id)
        if truth is None:  # a test image is nobody's request
            shown = worst([one.analysis for one in views], lambda analysis: analysis.risk)
            stands = read_bags(session, [shown.scan.bag_id])[shown.scan.bag_id].of_view(shown)
            idempotency.answer(session, AnalysisStanding(**dict(shown), standing=stands, control_search=bool(drawn)))
    for one in views:
        if one.appearance is not None:
            with suppress(StorageFailed):  # the analysis is stored; its thumbnail can be made again
                thumbnails.write(db, one.analysis.scan.id, one.appearance)
    return [one.analysis for one in views]


def get(db: Database, analysis_id: str) -> Analysis:
    """One analysis, to be shown.

    Raises:
        NotFound: no analysis has this id.
        Conflict: its prediction stays hidden until somebody has decided about the bag.
    """
    with db.read() as session:
        found = read(session, analysis_id)
        if tip.hidden(session, analysis_id):
            raise Conflict("This scan is blind: what the models say is shown once somebody has decided about the bag.")
    return found


def get_hidden(db: Database, analysis_id: str) -> Analysis:
    """As `get`, the prediction included that nobody may see yet.

    Raises:
        NotFound: no analysis has this id.
    """
    with db.read() as session:
        return read(session, analysis_id)


def analyst_of(db: Database, analysis_id: str) -> str:
    """Who had the scan analysed.

    Raises:
        NotFound: no analysis has this id.
    """
    with db.read() as session:
        row = session.get(AnalysisRow, analysis_id)
        if row is None:
            raise NotFound("There is no analysis with this id.")
        return row.created_by


def page(db: Database, limit: int = 50, after: str | None = None) -> tuple[list[Analysis], str | None]:
    """Analyses newest first, and the cursor of the next page (None at the end). Traffic alone.

    Raises:
        BadInput: a limit outside 1 to 500, or a cursor that no page gave.
    """
    with db.read() as session:
        rows, following = newest_first(
            session,
            select(AnalysisRow).where(counted(AnalysisRow.id)),
            AnalysisRow.created_at,
            AnalysisRow.id,
            limit,
            after,
        )
    return [_value(row) for row in rows], following


def of_bag(db: Database, bag_id: str, *, with_hidden: bool = False) -> list[Analysis]:
    """All analyses of a bag's views, oldest first; empty for an unknown bag.

    Args:
        db: the store.
        bag_id: which bag.
        with_hidden: also those whose prediction nobody may see yet.
    """
    query = select(AnalysisRow).where(AnalysisRow.bag_id == bag_id).order_by(AnalysisRow.created_at, AnalysisRow.id)
    if not with_hidden:
        query = query.where(~tip.is_hidden(AnalysisRow.id))
    with db.read() as session:
        return [_value(row) for row in session.scalars(query)]


def of_scan(db: Database, scan_id: str) -> list[Analysis]:
    """All analyses of a scan that may be shown, in whatever bag, oldest first; test images are none of them."""
    query = (
        select(AnalysisRow)
        .where(AnalysisRow.scan_id == scan_id, counted(AnalysisRow.id))
        .order_by(AnalysisRow.created_at, AnalysisRow.id)
    )
    with db.read() as session:
        return [_value(row) for row in session.scalars(query)]


def read(session: Session, analysis_id: str) -> Analysis:
    """As `get`, within a transaction."""
    row = session.get(AnalysisRow, analysis_id)
    if row is None:
        raise NotFound("There is no analysis with this id.")
    return _value(row)


def _value(row: AnalysisRow) -> Analysis:
    return Analysis.model_validate_json(row.document)


def _add(
    session: Session,
    analysis: Analysis,
    created_by: str,
    blind: bool = False,
    truth: tip.Truth | None = None,
) -> None:
    scan = analysis.scan
    for name, value in (("bag_id", scan.bag_id), ("view", scan.view), ("scanner_id", scan.scanner_id)):
        if value is not None and (len(value) > 200 or "\0" in value):
            raise BadInput(f"{name} is at most 200 characters long.")
    if session.get(AnalysisRow, analysis.id) is not None:
        raise Conflict("An analysis with this id is stored already.")
    session.add(
        AnalysisRow(
            id=analysis.id,
            created_at=analysis.created_at,
            created_by=created_by,
            scan_id=scan.id,
            bag_id=scan.bag_id,
            view=scan.view,
            scanner_id=scan.scanner_id,
            risk_level=analysis.risk.level,
            action=analysis.risk.action,
            adapter=analysis.models.vlm.adapter,
            taxonomy_sha256=analysis.taxonomy_sha256,
            document=analysis.model_dump_json(),
        )
    )
    session.flush()
    if analysis.score_evidence is not None:
        operating_points.keep_evidence(session, scan.id, analysis.score_evidence)
    tip.enter(session, analysis, created_by, blind, truth)

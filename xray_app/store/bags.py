"""On which side of the split each bag is. It is said once, and inherited by copies, views and near-equal pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from xray_app.correction.revision import split_of
from xray_app.scan.near_equal import bands, near_equal
from xray_app.store.bag_tables import PictureBandRow
from xray_app.store.database import Database
from xray_app.store.fact_tables import AppearanceRow
from xray_app.store.standing import newest_accepted
from xray_app.store.tables import AnalysisRow, BagRow, CorrectionRow
from xray_app.types import Analysis, ScanFacts, Split

Because = Literal["hash", "corrected before", "same picture", "near-equal picture", "leak", "campaign"]
"""Why a bag is on its side: its name's hash, what its earlier corrections say, a picture of another bag's, moved, or
held out by a campaign."""


@dataclass(frozen=True)
class CorrectedScan:
    """A scan of a bag with an accepted correction.

    Attributes:
        scan_id, bag_id, filename: which.
        side: of its bag.
    """

    scan_id: str
    bag_id: str
    filename: str
    side: Split


def settle(session: Session, scan: ScanFacts) -> Split:
    """The side of this scan's bag, which is said now where it was not before.

    A bag takes the side of one that holds the same picture or a near-equal one; of near-equals only from a bag that
    has its side from its own hash, so that sides do not wander from bag to bag. Beside bags of both sides it trains:
    what is near to something trained on must not be measured.
    """
    row = session.get(BagRow, scan.bag_id)
    if row is None:
        row = _settled(session, scan)
        session.add(row)
    keep_bands(session, scan.id)
    session.flush()
    return as_split(row.split)


def hold_out(session: Session, scan: ScanFacts) -> bool:
    """Holds a bag out that no correction has settled, whatever its hash says, but for one near to a corrected one.

    Returns:
        Whether it is: else it is near to what may be trained on, or was measured before.
    """
    if session.get(BagRow, scan.bag_id) is not None or _settled(session, scan).because != "hash":
        return False
    session.add(BagRow(bag_id=scan.bag_id, split="holdout", because="campaign", like_bag=None))
    keep_bands(session, scan.id)
    session.flush()
    return True


def _settled(session: Session, scan: ScanFacts) -> BagRow:
    before = _sides(session, AnalysisRow.bag_id == scan.bag_id)
    if before:
        return BagRow(bag_id=scan.bag_id, split=_chosen(before.values()), because="corrected before", like_bag=None)
    for because, scan_ids in (("same picture", [scan.id]), ("near-equal picture", _near(session, scan.id))):
        others = _sides(session, AnalysisRow.scan_id.in_(scan_ids), one_hop=because == "near-equal picture")
        if others:
            split = _chosen(others.values())
            like = next(bag for bag, side in others.items() if side == split)
            return BagRow(bag_id=scan.bag_id, split=split, because=because, like_bag=like)
    return BagRow(bag_id=scan.bag_id, split=split_of(scan.bag_id), because="hash", like_bag=None)


def _sides(session: Session, condition: ColumnElement[bool], one_hop: bool = False) -> dict[str, str]:
    """The corrected bags that hold such analyses, and the side of each, in the order of their names."""
    query = (
        select(AnalysisRow.bag_id, CorrectionRow.side)
        .join(CorrectionRow, CorrectionRow.analysis_id == AnalysisRow.id)
        .where(condition)
        .distinct()
        .order_by(AnalysisRow.bag_id)
    )
    if one_hop:
        inherited = select(BagRow.bag_id).where(BagRow.because == "near-equal picture")
        query = query.where(AnalysisRow.bag_id.not_in(inherited))
    return {bag: side for bag, side in session.execute(query)}  # noqa: C416 - rows, which mypy takes for no pairs


def _chosen(sides: Iterable[str]) -> Split:
    return "train" if "train" in sides else "holdout"


def _near(session: Session, scan_id: str) -> list[str]:
    """Corrected scans whose pictures are near this one's."""
    own = session.get(AppearanceRow, scan_id)
    if own is None or own.perceptual_hash is None:
        return []
    alike = (
        select(AppearanceRow.scan_id, AppearanceRow.perceptual_hash)
        .join(PictureBandRow, PictureBandRow.scan_id == AppearanceRow.scan_id)
        .where(PictureBandRow.band.in_(bands(own.perceptual_hash)))
        .distinct()
    )
    return [
        other
        for other, found in session.execute(alike)
        if other != scan_id and found is not None and near_equal(found, own.perceptual_hash)
    ]


def keep_bands(session: Session, scan_id: str) -> None:
    """Lets pictures near a corrected scan be found from now on, once its perceptual hash is known."""
    own = session.get(AppearanceRow, scan_id)
    there = session.scalar(select(PictureBandRow.band).where(PictureBandRow.scan_id == scan_id).limit(1))
    if own is None or own.perceptual_hash is None or there is not None:
        return
    session.add_all(PictureBandRow(band=band, scan_id=scan_id) for band in bands(own.perceptual_hash))


def corrected(db: Database) -> list[CorrectedScan]:
    """Every analysis with an accepted correction, in the order of the bags' names."""
    query = (
        select(AnalysisRow.document, CorrectionRow.side)
        .join(CorrectionRow, CorrectionRow.analysis_id == AnalysisRow.id)
        .where(newest_accepted())
        .order_by(AnalysisRow.bag_id, AnalysisRow.id)
    )
    with db.read() as session:
        rows = session.execute(query).all()
    found = []
    for document, side in rows:
        scan = Analysis.model_validate_json(document).scan
        found.append(CorrectedScan(scan.id, scan.bag_id, scan.filename, as_split(side)))
    return found


def perceptual_hashes(db: Database) -> dict[str, str]:
    """The perceptual hash of every scan that has one."""
    query = select(AppearanceRow.scan_id, AppearanceRow.perceptual_hash)
    with db.read() as session:
        return {scan_id: found for scan_id, found in session.execute(query) if found is not None}


def move_to_training(db: Database, moved: dict[str, str]) -> None:
    """Puts bags on the training side, where nothing is measured any more. Their corrections stay as they are.

    Args:
        db: the store.
        moved: the bags, and for each the one it leaks to.
    """
    with db.write() as session:
        for bag_id, like in moved.items():
            session.merge(BagRow(bag_id=bag_id, split="train", because="leak", like_bag=like))


def as_split(text: str) -> Split:
    return "holdout" if text == "holdout" else "train"

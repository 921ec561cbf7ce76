"""Pairs of corrected scans by which the hold-out leaks into training: copies, views and near-equals on both sides."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from training.data.samples import LOCAL_LIMITS
from xray_app.errors import BadScan, NotFound
from xray_app.exchange.bag_names import BagNaming
from xray_app.scan.appearance import appearance_of
from xray_app.scan.near_equal import NearEquals
from xray_app.scan.read import read_scan
from xray_app.store import audit, bags, scans, thumbnails
from xray_app.store.bags import CorrectedScan
from xray_app.store.database import Database

logger = logging.getLogger(__name__)

Kind = Literal["same picture", "near-equal picture", "copy or view by its name"]
_HASHED = re.compile(r"[0-9a-f]{64}")
"""A bag dropped at the desk is named by its picture's hash, which says nothing of copies."""


@dataclass(frozen=True)
class Leak:
    """Two bags on different sides of the split that show the same thing."""

    kind: Kind
    trained: CorrectedScan
    held_out: CorrectedScan

    def __str__(self) -> str:
        """One line, to be printed."""
        return (
            f"{self.kind}: {self.trained.filename} (bag {self.trained.bag_id}) trains, "
            f"{self.held_out.filename} (bag {self.held_out.bag_id}) is held out"
        )


def find_leaks(db: Database) -> list[Leak]:
    """The leaks of a database, a pair of bags once. Perceptual hashes that are missing are made and kept.

    A scan whose file is gone is compared by its name alone, and logged.
    """
    corrected = bags.corrected(db)
    return _leaks(corrected, _hashes(db, corrected))


def fix_leaks(db: Database, who: str) -> dict[str, str]:
    """Moves the bags of all leaks to the training side, where nothing is measured: each moved bag, and the one it
    leaked to.

    A bag that is moved may be near to another that is held out, which goes with it. What was measured before is not
    comparable with what comes after; this stands in the audit trail.

    Args:
        db: the store.
        who: is named in the audit trail.
    """
    corrected = bags.corrected(db)
    hashes = _hashes(db, corrected)
    moved: dict[str, str] = {}
    while found := [leak for leak in _leaks(corrected, hashes) if leak.held_out.bag_id not in moved]:
        moved.update({leak.held_out.bag_id: leak.trained.bag_id for leak in found})
        corrected = [replace(one, side="train") if one.bag_id in moved else one for one in corrected]
    if moved:
        bags.move_to_training(db, moved)
        note = "figures measured before on the site's hold-out are not comparable with later ones"
        audit.add(db, who, "leaks fixed", {"bags": len(moved), "moved": sorted(moved)[:100], "note": note})
    return moved


def _hashes(db: Database, corrected: Iterable[CorrectedScan]) -> dict[str, str]:
    """The perceptual hash of every corrected scan whose file is there."""
    wanted = dict.fromkeys(one.scan_id for one in corrected)
    hashes = {scan_id: found for scan_id, found in bags.perceptual_hashes(db).items() if scan_id in wanted}
    for scan_id in wanted:
        if scan_id not in hashes:
            try:
                path, _ = scans.scan_path(db, scan_id)
                appearance = appearance_of(read_scan(path.read_bytes(), path.name, LOCAL_LIMITS).image)
            except (NotFound, BadScan, OSError) as error:
                logger.warning("scan %s is compared by its name alone: %s", scan_id, error)
                continue
            thumbnails.keep(db, scan_id, appearance)
            if appearance.perceptual_hash is None:
                continue
            hashes[scan_id] = appearance.perceptual_hash
        with db.write() as session:
            bags.keep_bands(session, scan_id)
    return hashes


def _leaks(corrected: list[CorrectedScan], hashes: dict[str, str]) -> list[Leak]:
    found: dict[tuple[str, str], Leak] = {}
    of_kind: tuple[tuple[Kind, Iterator[list[CorrectedScan]]], ...] = (
        ("same picture", _by_picture(corrected)),
        ("near-equal picture", _by_hash(corrected, hashes)),
        ("copy or view by its name", _by_name(corrected)),
    )
    for kind, groups in of_kind:
        for group in groups:
            for trained in (one for one in group if one.side == "train"):
                for held_out in (one for one in group if one.side == "holdout"):
                    if trained.bag_id != held_out.bag_id:
                        found.setdefault((trained.bag_id, held_out.bag_id), Leak(kind, trained, held_out))
    return list(found.values())


def _by_picture(corrected: Iterable[CorrectedScan]) -> Iterator[list[CorrectedScan]]:
    groups: defaultdict[str, list[CorrectedScan]] = defaultdict(list)
    for one in corrected:
        groups[one.scan_id].append(one)
    yield from groups.values()


def _by_hash(corrected: list[CorrectedScan], hashes: dict[str, str]) -> Iterator[list[CorrectedScan]]:
    held_out = NearEquals()
    by_number = {str(number): one for number, one in enumerate(corrected) if one.scan_id in hashes}
    for number, one in by_number.items():
        if one.side == "holdout":
            held_out.add(number, hashes[one.scan_id])
    for one in by_number.values():
        if one.side == "train":
            yield [one, *(by_number[number] for number in held_out.of(hashes[one.scan_id]))]


def _by_name(corrected: list[CorrectedScan]) -> Iterator[list[CorrectedScan]]:
    """Bags named by their file, as imports named them before a bag's copies and views had one name."""
    named = [one for one in corrected if not _HASHED.fullmatch(one.bag_id)]
    bag_of = BagNaming().of(f"{one.bag_id}.png" for one in named)
    groups: defaultdict[str, list[CorrectedScan]] = defaultdict(list)
    for one in named:
        groups[bag_of[f"{one.bag_id}.png"].bag_id].append(one)
    yield from groups.values()

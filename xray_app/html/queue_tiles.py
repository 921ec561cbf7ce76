"""The queue's tiles: one a bag, with what it stands at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xray_app.risk import worst
from xray_app.store.recent import Recent
from xray_app.types import POLICY

BLIND = "BLIND"


def tiles(section: str, found: Sequence[Recent]) -> list[dict[str, Any]]:
    """Tiles in the order their bags first come; views of one bag share one, which opens the worst of them.

    Args:
        section: waiting, searching, done or flagged: which part of the queue they stand in.
        found: analyses, in the order of the section.
    """
    bags: dict[str, list[Recent]] = {}
    for one in found:
        bags.setdefault(one.analysis.scan.bag_id, []).append(one)
    return [_tile(section, group) for bag in bags.values() for group in _groups(bag)]


def _groups(bag: list[Recent]) -> list[list[Recent]]:
    # One scan analysed twice is no second view.
    several = len({one.analysis.scan.id for one in bag}) > 1
    return [bag] if several else [[one] for one in bag]


def _tile(section: str, group: Sequence[Recent]) -> dict[str, Any]:
    by_age = sorted(group, key=lambda one: one.analysis.created_at)
    newest = {one.analysis.scan.id: one for one in by_age}
    # Of a blind bag not even which view is the worst may be told.
    hidden = any(one.sight.hidden for one in group)
    shown = by_age[0] if hidden else worst(newest.values(), lambda one: one.bag.of_view(one.analysis))
    stands = shown.bag.over(shown.analysis)
    tested = f" · test: {shown.sight.test.result}" if shown.sight.test else ""
    return {
        "id": shown.analysis.id,
        "ids": [one.analysis.id for one in group],
        "scan_id": shown.analysis.scan.id,
        "filename": shown.analysis.scan.filename,
        "level": BLIND if hidden else stands.level,
        "reason": "" if hidden else stands.reason,
        "by": None if hidden or stands.by == POLICY else stands.by,
        "views": len(newest),
        "decision": f"{shown.decision}{tested}" if shown.decision else None,
        "section": section,
    }

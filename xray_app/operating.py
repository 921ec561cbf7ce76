"""Operating the threat score, for API and desk alike: measuring held-out bags, setting thresholds, taking them back."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from training.evaluation.operating_point import operating_point
from training.promotion.operating_points import SiteBags, site_bags
from xray_app.errors import Conflict
from xray_app.scan.read import read_scan
from xray_app.services import Services
from xray_app.store import operating_points, scans
from xray_app.threat_score import OperatingPoint, OperatingPointFigures


class OperatingPointIn(BaseModel):
    """What an admin wants: `recall` of the threats searched, `review_recall` at least looked at; else the policy's."""

    model_config = ConfigDict(extra="forbid")

    scanner_id: str | None = Field(default=None, min_length=1, max_length=200)
    recall: float | None = Field(default=None, gt=0, lt=1, allow_inf_nan=False)
    review_recall: float | None = Field(default=None, gt=0, lt=1, allow_inf_nan=False)


REVIEWED = 0.5
"""Of the threats that a search leaves, the share that a review is to find where nobody says more."""


def held_out(desk: Services, scanner_id: str | None) -> SiteBags:
    """The labelled bags that a threshold may be set on."""
    return site_bags(desk.db, desk.taxonomy, desk.analyser.pair_in_use(), scanner_id)


def measure_held_out(desk: Services, scanner_id: str | None, most: int) -> tuple[int, int]:
    """Has the models in use look at held-out scans that they have not seen. What is measured is kept.

    Args:
        desk: the desk.
        scanner_id: scans of this scanner alone; None: of all.
        most: at a time, so that nobody waits for long.

    Returns:
        How many were measured now, and how many are left.
    """
    waiting = held_out(desk, scanner_id).unscored
    for scan_id in waiting[:most]:
        path, _ = scans.scan_path(desk.db, scan_id)
        analysis = desk.analyser.analyse(read_scan(path.read_bytes(), path.name, desk.limits))
        if analysis.score_evidence is not None:
            operating_points.add_evidence(desk.db, scan_id, analysis.score_evidence)
    return min(most, len(waiting)), max(len(waiting) - most, 0)


def proposed(desk: Services, asked: OperatingPointIn) -> OperatingPointFigures:
    """What an operating point would promise and cost here; nothing is changed.

    Raises:
        BadInput, BadCalibration: the bags do not allow one; the message says what is missing.
    """
    recall = asked.recall if asked.recall is not None else desk.rules.policy.recall
    review = asked.review_recall if asked.review_recall is not None else 1 - (1 - recall) * REVIEWED
    found = operating_point(held_out(desk, asked.scanner_id).scored, recall, max(review, recall))
    return OperatingPointFigures.model_validate(found)


def set_operating_point(desk: Services, asked: OperatingPointIn, username: str, reason: str) -> OperatingPoint:
    """Puts in force what `proposed` says: from the next scan on the score decides too.

    Raises:
        Conflict: it is not possible yet, with how many more threat bags it takes.
        BadInput, BadCalibration: as `proposed`.
    """
    figures = proposed(desk, asked)
    if figures.threshold is None:
        raise Conflict(
            f"Not possible yet: to promise {figures.recall:.0%} it takes {figures.missing} more held-out bags with a "
            f"threat; there are {figures.threats}.",
            details={"missing": figures.missing, "threats": figures.threats},
        )
    return operating_points.put(
        desk.db,
        asked.scanner_id,
        desk.analyser.pair_in_use(),
        desk.rules.measured_sha256,
        figures,
        username,
        reason,
    )


def in_force(desk: Services) -> list[OperatingPoint]:
    """The points by which the models in use are read, by scanner; the one for all scanners first."""
    points = operating_points.in_force(desk.db, desk.analyser.pair_in_use(), desk.rules.measured_sha256)
    return [points[scanner] for scanner in sorted(points)]

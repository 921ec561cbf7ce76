"""Routes of the threat score's operating points, for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from xray_app import operating
from xray_app.api.deps import Admin, Desk, Reasoned
from xray_app.api.openapi import NOTHING
from xray_app.operating import OperatingPointIn
from xray_app.store import operating_points
from xray_app.threat_score import OperatingPoint, OperatingPointFigures

router = APIRouter(prefix="/v1")

MEASURED_AT_ONCE = 50
Scanner = Annotated[str | None, Query(min_length=1, max_length=200)]
Share = Annotated[float | None, Query(gt=0, lt=1, allow_inf_nan=False)]


class SetPoint(OperatingPointIn, Reasoned):
    """An operating point to be put in force, and why."""


class HeldOutBags(BaseModel):
    """Labelled bags that nothing was trained on. `unscored`: scans the models in use have not seen; `unknown`: bags in
    which not every prohibited class was looked for."""

    bags: int
    threats: int
    unscored: int
    unknown: int


class Measured(BaseModel):
    measured: int
    left: int


@router.get("/operating-points")
def list_points(who: Admin, desk: Desk) -> list[OperatingPoint]:
    """Those in force for the models in use, one a scanner at most."""
    return operating.in_force(desk)


@router.get("/operating-points/held-out")
def get_held_out(who: Admin, desk: Desk, scanner_id: Scanner = None) -> HeldOutBags:
    """What a point could be set on."""
    found = operating.held_out(desk, scanner_id)
    threat = found.scored.evidence.threat
    return HeldOutBags(bags=len(threat), threats=int(threat.sum()), unscored=len(found.unscored), unknown=found.unknown)


@router.get("/operating-points/proposed")
def get_proposed(
    who: Admin, desk: Desk, scanner_id: Scanner = None, recall: Share = None, review_recall: Share = None
) -> OperatingPointFigures:
    """What a point would promise and cost; nothing is changed."""
    return operating.proposed(desk, OperatingPointIn(scanner_id=scanner_id, recall=recall, review_recall=review_recall))


@router.post("/operating-points/measure")
def measure(who: Admin, desk: Desk, scanner_id: Scanner = None) -> Measured:
    """Has the models in use look at up to fifty held-out scans they have not seen; again until none is left."""
    measured, left = operating.measure_held_out(desk, scanner_id, MEASURED_AT_ONCE)
    return Measured(measured=measured, left=left)


@router.post("/operating-points", status_code=201)
def set_point(who: Admin, desk: Desk, asked: SetPoint) -> OperatingPoint:
    """Puts a point in force: from the next scan on the score decides too."""
    wanted = OperatingPointIn(**asked.model_dump(exclude={"reason"}))
    return operating.set_operating_point(desk, wanted, who.username, asked.said)


@router.post("/operating-points/{point_id}/withdraw", responses=NOTHING)
def withdraw(point_id: str, who: Admin, desk: Desk, asked: Reasoned) -> None:
    """Takes a point out of force."""
    operating_points.withdraw(desk.db, point_id, who.username, asked.said)

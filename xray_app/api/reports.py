"""The scan report, to print."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from xray_app.api.deps import Analyst, Desk
from xray_app.api.openapi import refuses
from xray_app.html.scan_report import POLICY, Reported, document
from xray_app.scan.read import Limits, browser_picture, upright_picture
from xray_app.store import analyses, corrections, decisions, outcomes, scans, standing

router = APIRouter(prefix="/v1")

LONGEST_SIDE = 1600
"""Of the picture in a report, in pixels: 400 to the inch on the paper."""


@router.get("/analyses/{analysis_id}/report", response_class=HTMLResponse, responses=refuses(409))
def scan_report(analysis_id: str, who: Analyst, desk: Desk) -> HTMLResponse:
    """One analysis as a page of A4: picture with boxes, items, risk, both models' words, and who did what."""
    analysis = analyses.get(desk.db, analysis_id)
    path, _ = scans.scan_path(desk.db, analysis.scan.id)
    picture, media_type = _for_paper(path.read_bytes(), desk.limits)
    reported = Reported(
        analysis=analysis,
        bag=standing.of_bag(desk.db, analysis.scan.bag_id),
        analyst=analyses.analyst_of(desk.db, analysis_id),
        picture=picture,
        media_type=media_type,
        revisions=corrections.history(desk.db, analysis_id),
        decisions=decisions.history(desk.db, analysis_id),
        outcomes=outcomes.history(desk.db, analysis_id),
        demonstration="bundled" in (desk.settings.vlm, desk.settings.detector),
        printed_by=who.username,
        printed_at=datetime.now(UTC),
    )
    return HTMLResponse(document(reported), headers={"Content-Security-Policy": POLICY})


def _for_paper(content: bytes, limits: Limits) -> tuple[bytes, str]:
    """The picture no larger than paper shows it; a small one as browsers show it."""
    picture = upright_picture(content, limits)
    if max(picture.size) <= LONGEST_SIDE:
        return browser_picture(content, limits)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=88)
    return out.getvalue(), "image/jpeg"

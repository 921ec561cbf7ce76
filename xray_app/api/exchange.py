"""Labelled scans out, as a ZIP that is made while it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from xray_app.api.deps import Annotator, Desk
from xray_app.api.openapi import answers
from xray_app.errors import Stopped
from xray_app.exchange.export import Filter, export_zip
from xray_app.store import audit
from xray_app.types import Level

router = APIRouter(prefix="/v1")

Text = Annotated[str | None, Query(min_length=1, max_length=200)]


@router.get("/export", response_class=StreamingResponse, responses={200: answers("application/zip")})
def export(
    who: Annotator,
    desk: Desk,
    format: Annotated[str, Query(max_length=32)],
    since: date | None = None,
    until: date | None = None,
    label: Text = None,
    risk: Level | None = None,
    analyst: Text = None,
    corrected: bool = True,
    job: Annotated[str | None, Query(max_length=64)] = None,
) -> StreamingResponse:
    """The newest accepted correction of every scan; with `corrected=false` also predictions, kept apart.

    `job` is the desk's own: progress is told there.
    """
    chosen = Filter(since, until, label, risk, analyst, corrected)
    followed = desk.jobs.find(job, who.username)
    progress = followed.progress if followed else None
    pieces = export_zip(desk.db, desk.taxonomy, desk.limits, format, chosen, progress)
    audit.add(desk.db, who.username, "export", {"format": format, "filter": str(chosen)})
    name = f"xray-{format}-{datetime.now(UTC):%Y%m%d-%H%M}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_until_stopped(pieces), media_type="application/zip", headers=headers)


def _until_stopped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except Stopped:
        return  # without its table of contents no program takes the file for whole

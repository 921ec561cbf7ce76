"""Thumbnails, for lists of scans."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from xray_app.api.deps import Analyst, Desk
from xray_app.api.openapi import answers
from xray_app.scan.appearance import MEDIA_TYPE, appearance_of
from xray_app.scan.read import upright_picture
from xray_app.store import scans, thumbnails

router = APIRouter(prefix="/v1")


@router.get(
    "/scans/{scan_id}/thumbnail",
    response_class=Response,
    responses={200: answers(MEDIA_TYPE), 304: {"description": "As the ETag sent says."}},
)
def scan_thumbnail(scan_id: str, request: Request, who: Analyst, desk: Desk) -> Response:
    """A small WebP of the scan; of one stored without, it is made now."""
    path = thumbnails.find(desk.db, scan_id)
    # As for the scan itself: asked for anew each time, so that nothing is seen after signing out.
    headers = {"Cache-Control": "private, no-cache", "ETag": f'"{scan_id}-small"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if path is None:
        file, _ = scans.scan_path(desk.db, scan_id)
        picture = upright_picture(file.read_bytes(), desk.limits)
        path = thumbnails.keep(desk.db, scan_id, appearance_of(picture))
    return FileResponse(path, media_type=MEDIA_TYPE, headers=headers)

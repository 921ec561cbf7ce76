"""`/metrics`: what the desk counts of itself, for who has the token of XRAY_METRICS."""

from __future__ import annotations

import hmac
import shutil

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from xray_app import metrics
from xray_app.api.deps import Desk
from xray_app.errors import NotFound, NotSignedIn
from xray_app.session import bearer_token
from xray_app.store import runs

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
def exposition(request: Request, desk: Desk) -> Response:
    """In Prometheus' text format.

    Raises:
        NotFound: it is not switched on.
        NotSignedIn: the token is another.
    """
    if desk.settings.metrics is None:
        raise NotFound("There is nothing at this address.")
    sent = (bearer_token(request.headers) or "").encode()
    if not hmac.compare_digest(sent, desk.settings.metrics.get_secret_value().encode()):
        raise NotSignedIn("Send the token of XRAY_METRICS as Authorization: Bearer TOKEN.")
    unfinished = [one.run.status for one in runs.unfinished(desk.db)]
    told = metrics.exposition(unfinished, shutil.disk_usage(desk.db.data_dir).free)
    return Response(told, media_type=CONTENT_TYPE_LATEST)

"""The annotators' queue: what to correct next, and who is at work on it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from xray_app.api.deps import After, Annotator, Desk, Limit, Page, page
from xray_app.api.openapi import NOTHING
from xray_app.store import queue

router = APIRouter(prefix="/v1/queue")


class SkipIn(BaseModel):
    """Why a scan is passed on; the next person reads it."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(min_length=1, max_length=queue.MAX_REASON)]


@router.get("")
def list_queue(who: Annotator, desk: Desk, limit: Limit = 50, after: After = None) -> Page[queue.Entry]:
    """What waits, the most useful first, with the reasons in words."""
    return page(*queue.page(desk.db, limit, after))


@router.post("/next")
def take_next(who: Annotator, desk: Desk) -> queue.Claim | None:
    """Claims the most useful scan that nobody holds, or gives back the claim held already; null: nothing waits."""
    return queue.take_next(desk.db, who.username)


@router.post("/{analysis_id}/claim")
def claim(analysis_id: str, who: Annotator, desk: Desk) -> queue.Claim:
    """Claims one scan; 409 names who is at work on it. Asked again it prolongs the claim."""
    return queue.take(desk.db, analysis_id, who.username)


@router.post("/{analysis_id}/release", responses=NOTHING)
def release(analysis_id: str, who: Annotator, desk: Desk) -> None:
    """Lets go of a claim."""
    queue.get(desk.db, analysis_id)
    queue.release(desk.db, analysis_id, who.username)


@router.post("/{analysis_id}/skip", responses=NOTHING)
def skip(analysis_id: str, body: SkipIn, who: Annotator, desk: Desk) -> None:
    """Passes a scan on to others."""
    queue.skip(desk.db, analysis_id, who.username, body.reason)

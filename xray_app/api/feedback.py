"""What people say of an analysis: decisions, outcomes, corrections and their review. Append-only."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from xray_app.api.deps import After, Analyst, Annotator, Desk, Limit, Page, page_of
from xray_app.api.openapi import refuses
from xray_app.store import analyses, corrections, decisions, outcomes
from xray_app.types import Action, Correction, CorrectionIn, Decision, Finite, ItemCount, Outcome, Role

router = APIRouter(prefix="/v1")

Note = Annotated[str | None, Field(max_length=2000)]
DAY = 24 * 60 * 60


class DecisionIn(BaseModel):
    """What the analyst did with the bag, and how long it took to decide."""

    model_config = ConfigDict(extra="forbid")

    decision: Action
    seconds: Finite | None = Field(default=None, ge=0, le=DAY)
    note: Note = None


class OutcomeIn(BaseModel):
    """What the hand search found; an empty list where it found nothing."""

    model_config = ConfigDict(extra="forbid")

    found: tuple[ItemCount, ...] = Field(max_length=100)
    note: Note = None


class ReviewIn(BaseModel):
    """A second person's word on a correction."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["accepted", "rejected"]
    comment: Note = None


@router.post("/analyses/{analysis_id}/decision", status_code=201)
def decide(analysis_id: str, body: DecisionIn, who: Analyst, desk: Desk) -> Decision:
    """Keeps a decision beside the ones before it. 422 where it clears a bag that stands at HIGH, without a note."""
    return decisions.add(desk.db, analysis_id, body.decision, body.seconds, body.note, who.username)


@router.post("/analyses/{analysis_id}/outcome", status_code=201)
def report_outcome(analysis_id: str, body: OutcomeIn, who: Analyst, desk: Desk) -> Outcome:
    """Keeps what the hand search found."""
    return outcomes.add(desk.db, analysis_id, body.found, body.note, who.username, desk.taxonomy)


@router.post("/analyses/{analysis_id}/corrections", status_code=201)
def correct(analysis_id: str, body: CorrectionIn, who: Analyst, desk: Desk) -> Correction:
    """A new revision; 409 names the newest one when it was based on an older."""
    analyses.get(desk.db, analysis_id)  # the answer holds the difference to a prediction that may be hidden yet
    return corrections.add(
        desk.db,
        analysis_id,
        body,
        who.username,
        desk.taxonomy,
        review_required=desk.settings.review_required,
    )


@router.get("/analyses/{analysis_id}/corrections", responses=refuses(409))
def list_corrections(
    analysis_id: str, who: Analyst, desk: Desk, limit: Limit = 50, after: After = None
) -> Page[Correction]:
    """All revisions, oldest first."""
    analyses.get(desk.db, analysis_id)
    return page_of(corrections.history(desk.db, analysis_id), limit, after)


@router.post("/corrections/{correction_id}/review")
def review(correction_id: str, body: ReviewIn, who: Annotator, desk: Desk) -> Correction:
    """Accepts or rejects somebody else's correction."""
    return corrections.review(desk.db, correction_id, body.status, body.comment, who.username)


@router.delete("/corrections/{correction_id}/review", responses=refuses(409))
def take_back_review(correction_id: str, who: Annotator, desk: Desk) -> Correction:
    """Takes back one's own acceptance or rejection, an admin anybody's; 409 once a run has learned from it."""
    return corrections.take_back_review(desk.db, correction_id, who.username, who.role.includes(Role.ADMIN))

"""Routes of validation, for admins: campaigns, signatures and withdrawals."""

from __future__ import annotations

from fastapi import APIRouter

from xray_app import validating
from xray_app.api.deps import Admin, Desk, Reasoned
from xray_app.api.openapi import NOTHING
from xray_app.store import campaigns, validations
from xray_app.validating import CampaignIn
from xray_app.validation import Campaign, CampaignStatus, Validation, Validations

router = APIRouter(prefix="/v1")


class OpenCampaign(CampaignIn, Reasoned):
    """A campaign to be opened, and why."""


@router.get("/campaigns")
def list_campaigns(who: Admin, desk: Desk) -> list[Campaign]:
    """The last fifty campaigns, newest first."""
    return campaigns.newest(desk.db)


@router.post("/campaigns", status_code=201)
def open_campaign(who: Admin, desk: Desk, asked: OpenCampaign) -> Campaign:
    """Holds the scanner's next bags apart, to be labelled by two people, for the models in use."""
    wanted = CampaignIn(**asked.model_dump(exclude={"reason"}))
    return validating.open_campaign(desk, wanted, who.username, asked.said)


@router.get("/campaigns/{campaign_id}")
def get_campaign(campaign_id: str, who: Admin, desk: Desk) -> CampaignStatus:
    """How it stands, and why it cannot be signed yet."""
    return validating.status(desk, campaign_id)


@router.post("/campaigns/{campaign_id}/cancel")
def cancel(campaign_id: str, who: Admin, desk: Desk, asked: Reasoned) -> Campaign:
    """Ends it unsigned; its bags stay held out."""
    return campaigns.cancel(desk.db, campaign_id, who.username, asked.said)


@router.post("/campaigns/{campaign_id}/sign", status_code=201)
def sign(campaign_id: str, who: Admin, desk: Desk, asked: Reasoned) -> Validation:
    """Signs that the models in use are validated on its scanner; 409 with `details.objections` where it cannot be."""
    return validating.sign(desk, campaign_id, who.username, asked.said)


@router.get("/validations")
def list_validations(who: Admin, desk: Desk) -> Validations:
    """What was signed and whether it holds, and what was withdrawn."""
    return validating.all_validations(desk)


@router.post("/validations/{validation_id}/withdraw", responses=NOTHING)
def withdraw(validation_id: str, who: Admin, desk: Desk, asked: Reasoned) -> None:
    """Takes a validation back: from the next scan on nothing is advised to be cleared there."""
    validations.withdraw(desk.db, validation_id, who.username, asked.said)

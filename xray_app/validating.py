"""Validating the models in use on a scanner, for API, desk and command line alike: campaigns and signatures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from xray_app.errors import BadInput, Conflict
from xray_app.services import Services
from xray_app.store import campaigns, known_truths, validations
from xray_app.store.database import Database
from xray_app.types import Fraction
from xray_app.validation import (
    LEAST_BAGS,
    MOST_BAGS,
    Campaign,
    CampaignStatus,
    Validation,
    Validations,
    ValidationStatus,
    WatchStatus,
    evidence_of,
    objections,
)

LONGEST = timedelta(days=366)
BUNDLED = (
    "The bundled models are a demonstration and are never validated. Serve models of your own (XRAY_VLM and "
    "XRAY_DETECTOR), and open a campaign for them."
)


class CampaignIn(BaseModel):
    """A campaign to be opened.

    Attributes:
        scanner_id: for which scanner.
        bags: how many of its next bags.
        test_share: the share of an analyst's scans that are test images meanwhile, half of them with a threat.
        ends_at: no bag joins it later.
    """

    model_config = ConfigDict(extra="forbid")

    scanner_id: str = Field(min_length=1, max_length=200)
    bags: int = Field(default=300, ge=LEAST_BAGS, le=MOST_BAGS)
    test_share: float = Field(default=0.3, ge=0, le=0.5, allow_inf_nan=False)
    ends_at: AwareDatetime


def open_campaign(desk: Services, asked: CampaignIn, username: str, reason: str) -> Campaign:
    """Opens a campaign for what the next answers on this scanner rest on.

    Raises:
        Conflict: one is open for this scanner, or a bundled model answers.
        BadInput: the end is past or too far off.
    """
    if desk.settings.demonstration:
        raise Conflict(BUNDLED)
    now = datetime.now(UTC)
    if not now < asked.ends_at <= now + LONGEST:
        raise BadInput("A campaign ends after now, and within a year.")
    rests = desk.analyser.rests_on_in_use(asked.scanner_id)
    return campaigns.put(
        desk.db, asked.scanner_id, rests, asked.bags, asked.test_share, asked.ends_at, username, reason
    )


def status(desk: Services, campaign_id: str) -> CampaignStatus:
    """How a campaign stands.

    Raises:
        NotFound: no campaign has this id.
    """
    return status_of(desk.db, campaign_id, desk.rules.policy.recall)


def status_of(db: Database, campaign_id: str, wanted: Fraction) -> CampaignStatus:
    """As `status`, for a policy that asks for this recall."""
    campaign = campaigns.get(db, campaign_id)
    enrolled = campaigns.enrolled(db, campaign_id)
    evidence = evidence_of(campaigns.bags_of(db, campaign), wanted)
    why_not = objections(campaign, evidence, enrolled, datetime.now(UTC))
    return CampaignStatus(campaign=campaign, enrolled=enrolled, evidence=evidence, objections=tuple(why_not))


def sign(desk: Services, campaign_id: str, username: str, reason: str) -> Validation:
    """Signs that the models in use are validated on the campaign's scanner, by its evidence.

    Raises:
        NotFound: no campaign has this id.
        Conflict: it cannot be signed; why is in the message and in `details["objections"]`.
    """
    campaign = campaigns.get(desk.db, campaign_id)
    if campaign.rests_on != desk.analyser.rests_on_in_use(campaign.scanner_id):
        raise Conflict("The models, classes, policy or threshold have changed since this campaign began. Open another.")
    return sign_for(desk.db, campaign_id, desk.rules.policy.recall, username, reason)


def sign_for(db: Database, campaign_id: str, wanted: Fraction, username: str, reason: str) -> Validation:
    """As `sign`, for a policy that asks for this recall; it holds for what the campaign rests on alone."""
    found = status_of(db, campaign_id, wanted)
    if found.objections:
        raise Conflict(" ".join(found.objections), details={"objections": list(found.objections)})
    return validations.sign(db, found.campaign, found.evidence, username, reason)


def all_validations(desk: Services) -> Validations:
    """What was signed, whether it holds now, and what was withdrawn."""
    signed, withdrawn = validations.signed(desk.db)
    found = []
    for one in signed:
        seen = known_truths.watched(desk.db, one)
        watch = WatchStatus(
            threats=seen.threats, found=seen.found, by_kind=seen.by_kind, sum=seen.sum, limit=seen.limit
        )
        holds = one.rests_on == desk.analyser.rests_on_in_use(one.scanner_id)
        found.append(ValidationStatus(validation=one, in_force=holds, watch=watch))
    return Validations(signed=tuple(found), withdrawn=tuple(withdrawn))

"""Tables of validation: campaigns and their bags, what was signed and withdrawn, and bags of known truth since."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from xray_app.store.tables import Base, Id, Name, Word


class CampaignRow(Base):
    """A campaign that was opened; `xray_app.validation.Campaign`."""

    __tablename__ = "campaigns"
    __table_args__ = (Index(None, "scanner_id", "number"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    number: Mapped[int] = mapped_column(unique=True)  # the order of events
    scanner_id: Mapped[str] = mapped_column(Name)
    rests_on: Mapped[str] = mapped_column(Id)
    bags: Mapped[int]
    test_share: Mapped[float]
    created_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Id)
    reason: Mapped[str]


class CampaignEndRow(Base):
    """How a campaign ended; one without is open."""

    __tablename__ = "campaign_ends"

    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(Word)  # of `CampaignEnding`
    created_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Id)
    reason: Mapped[str]


class CampaignBagRow(Base):
    """A bag that joined a campaign; none joins a second one."""

    __tablename__ = "campaign_bags"

    bag_id: Mapped[str] = mapped_column(Name, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"), index=True)
    created_at: Mapped[datetime]
    test: Mapped[bool]  # a test image


class ValidationRow(Base):
    """A validation that was signed, or the word that it is withdrawn; appended, the last word counts."""

    __tablename__ = "validations"
    __table_args__ = (Index(None, "scanner_id", "rests_on", "number"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    number: Mapped[int] = mapped_column(unique=True)  # the order of events
    scanner_id: Mapped[str] = mapped_column(Name)
    rests_on: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(Word)  # "signed" or "withdrawn"
    # Of one withdrawn: the validation that was.
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"))
    created_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Id)
    reason: Mapped[str]
    document: Mapped[str]  # ValidationEvidence; "" of one withdrawn


class ControlDrawRow(Base):
    """A bag drawn by lot for a hand search, whatever the models say of it."""

    __tablename__ = "control_draws"

    bag_id: Mapped[str] = mapped_column(Name, primary_key=True)
    created_at: Mapped[datetime]


class KnownTruthRow(Base):
    """A threat bag of known truth since a validation was signed, and how the watch over recall stood after it."""

    __tablename__ = "known_truths"

    validation_id: Mapped[str] = mapped_column(ForeignKey("validations.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)  # the order in which truth became known
    bag_id: Mapped[str] = mapped_column(Name)
    kind: Mapped[str] = mapped_column(Word)  # "test image", "hand search" or "double reading"
    labels: Mapped[str] = mapped_column(String(500))  # what is in it, joined by ", "
    found: Mapped[bool]  # the models advised to search it
    created_at: Mapped[datetime]
    watch: Mapped[float]  # `RecallWatch.sum` after it

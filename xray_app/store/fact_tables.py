"""Tables of figures gathered from the record, so that pages are quick: each can be computed anew from `tables`."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column

from xray_app.store.tables import Base, Id, Name, Word


def _models_own(context: DefaultExecutionContext) -> str:
    return str(context.get_current_parameters()["risk_level"])


class FactsRow(Base):
    """What search and insights ask of an analysis, gathered from the rows it belongs to; `store.facts` keeps it."""

    __tablename__ = "analysis_facts"
    __table_args__ = (
        Index(None, "created_at", "id"),
        # One for each filter, in the order of the pages.
        Index(None, "risk_level", "created_at", "id"),
        Index(None, "standing_level", "created_at", "id"),
        Index(None, "standing_by"),
        Index(None, "decision", "created_at", "id"),
        Index(None, "outcome", "created_at", "id"),
        Index(None, "disagree", "created_at", "id"),
        Index(None, "correction", "created_at", "id"),
        Index(None, "missed", "created_at", "id"),
        Index(None, "analyst", "created_at", "id"),
        Index(None, "scanner_id", "created_at", "id"),
        Index(None, "adapter", "created_at", "id"),
        # What one person left undecided.
        Index(None, "analyst", "decision", "correction", "created_at"),
        Index(None, "day"),
        Index(None, "bag_id"),
    )

    id: Mapped[str] = mapped_column(ForeignKey("analyses.id"), primary_key=True)
    created_at: Mapped[datetime]
    day: Mapped[date]
    analyst: Mapped[str] = mapped_column(Id)  # who decided; until then who had it analysed
    scan_id: Mapped[str] = mapped_column(Id)
    bag_id: Mapped[str] = mapped_column(Name)
    scanner_id: Mapped[str] = mapped_column(Name)  # "": unknown
    adapter: Mapped[str] = mapped_column(Id)  # "": the base model
    risk_level: Mapped[str] = mapped_column(Word)  # the models' own
    # What stands over it: the worst of its view's and its bag's risk, by the models and by what people found.
    standing_level: Mapped[str] = mapped_column(Word, default=_models_own)
    standing_action: Mapped[str] = mapped_column(Word, default="")
    standing_reason: Mapped[str] = mapped_column(default="")
    standing_by: Mapped[str] = mapped_column(Name, default="")  # "policy" or a user; "": to be worked out
    disagree: Mapped[bool]
    opaque_fraction: Mapped[float]
    decision: Mapped[str] = mapped_column(Word)  # the newest one, as the next two; "": none
    seconds: Mapped[float | None]
    outcome: Mapped[str] = mapped_column(Word)  # "found", "nothing" or ""
    outcome_at: Mapped[datetime | None]
    correction: Mapped[str] = mapped_column(Word)  # the newest revision's status, of one not rejected if any; or ""
    missed: Mapped[bool]  # a person or a search named something that neither model did


class LabelFactRow(Base):
    """A label of an analysis and who named it."""

    __tablename__ = "analysis_labels"
    __table_args__ = (Index(None, "label", "created_at", "analysis_id"),)

    analysis_id: Mapped[str] = mapped_column(ForeignKey("analyses.id"), primary_key=True)
    label: Mapped[str] = mapped_column(String(100), primary_key=True)
    created_at: Mapped[datetime]  # of the analysis, so that pages of one label are in order
    by_vlm: Mapped[bool]
    by_detector: Mapped[bool]
    by_person: Mapped[bool]  # the newest correction that was not rejected
    by_search: Mapped[bool]  # the newest outcome


class FoundItemRow(Base):
    """A label that a hand search found, and what the taxonomy says of it."""

    __tablename__ = "found_items"

    outcome_id: Mapped[str] = mapped_column(ForeignKey("outcomes.id"), primary_key=True)
    label: Mapped[str] = mapped_column(String(100), primary_key=True)
    status: Mapped[str] = mapped_column(Word)  # "": found before statuses were kept, and not judged yet


class AppearanceRow(Base):
    """How a scan looks, in figures; see `xray_app.scan.appearance`."""

    __tablename__ = "scan_looks"

    scan_id: Mapped[str] = mapped_column(ForeignKey("scans.id"), primary_key=True)
    organic: Mapped[float]
    mixed: Mapped[float]
    metal: Mapped[float]
    brightness: Mapped[float]
    # None: a blank picture; or a scan from before it was kept, until `training leaks` has made it.
    perceptual_hash: Mapped[str | None] = mapped_column(Id)


class DayFiguresRow(Base):
    """The insights' sums of one day's analyses, by scanner and adapter."""

    __tablename__ = "day_figures"

    day: Mapped[date] = mapped_column(primary_key=True)
    scanner_id: Mapped[str] = mapped_column(Name, primary_key=True)
    adapter: Mapped[str] = mapped_column(Id, primary_key=True)
    document: Mapped[str]  # insights.daily_sums.Figures


class StaleDayRow(Base):
    """A day of which something changed since its sums were made."""

    __tablename__ = "stale_days"

    day: Mapped[date] = mapped_column(primary_key=True)


class CorrectedLabelRow(Base):
    """How many corrected scans hold a label: what is rare among them is worth more."""

    __tablename__ = "corrected_labels"

    label: Mapped[str] = mapped_column(Name, primary_key=True)
    scans: Mapped[int]

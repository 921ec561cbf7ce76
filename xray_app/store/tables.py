"""The tables. Times are UTC; documents are the JSON of a value type, as Pydantic writes it.

Scans, analyses, corrections and their reviews, decisions and their marks, outcomes, promotions and the audit are
append-only: triggers of the first migration refuse to change or delete their rows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    func,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column


class Utc(TypeDecorator[datetime]):
    """A time with its zone, always UTC; SQLite keeps none, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    # Named constraints, so that a later migration can say which one it changes.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: Utc, float: Double, str: Text}


Id = String(64)
Name = String(200)
Word = String(32)


class ScanRow(Base):
    """The bytes of a scan, once however often they are analysed."""

    __tablename__ = "scans"

    id: Mapped[str] = mapped_column(Id, primary_key=True)  # the SHA-256 of the bytes
    media_type: Mapped[str] = mapped_column(String(100))
    width: Mapped[int]
    height: Mapped[int]
    size: Mapped[int] = mapped_column(BigInteger)  # bytes
    created_at: Mapped[datetime]


class AnalysisRow(Base):
    __tablename__ = "analyses"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "bag_id", "created_at"),
        Index(None, "scan_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(Id)
    scan_id: Mapped[str] = mapped_column(ForeignKey("scans.id"))
    # A bag, view and scanner are facts of this upload: the same bytes may come again under another bag.
    bag_id: Mapped[str] = mapped_column(Name)
    view: Mapped[str | None] = mapped_column(Name)
    scanner_id: Mapped[str | None] = mapped_column(Name)
    risk_level: Mapped[str] = mapped_column(Word)
    action: Mapped[str] = mapped_column(Word)
    adapter: Mapped[str | None] = mapped_column(Id)
    taxonomy_sha256: Mapped[str] = mapped_column(Id)
    document: Mapped[str]  # Analysis


class BagRow(Base):
    """On which side of the split a bag is: said with its first correction, changed by `training leaks --fix` alone."""

    __tablename__ = "bags"

    bag_id: Mapped[str] = mapped_column(Name, primary_key=True)
    split: Mapped[str] = mapped_column(Word)
    because: Mapped[str] = mapped_column(Word)  # of `store.bags.Because`
    like_bag: Mapped[str | None] = mapped_column(Name)  # whose side it took


class CorrectionReviewRow(Base):
    """A second person's word on a correction, or that it was taken back; the one of the highest number holds."""

    __tablename__ = "correction_reviews"
    # Of two reviews at once, the second one breaks this.
    __table_args__ = (UniqueConstraint("correction_id", "number"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    correction_id: Mapped[str] = mapped_column(ForeignKey("corrections.id"))
    number: Mapped[int] = mapped_column(server_default="1")
    status: Mapped[str] = mapped_column(Word)  # "accepted", "rejected" or "withdrawn"
    comment: Mapped[str | None]
    reviewer: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]


class CorrectionRow(Base):
    __tablename__ = "corrections"
    # Of two posts on the same base at once, the second one breaks this.
    __table_args__ = (UniqueConstraint("analysis_id", "revision"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    analysis_id: Mapped[str] = mapped_column(ForeignKey("analyses.id"))
    revision: Mapped[int]
    base_revision: Mapped[int]
    author: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]
    first_status: Mapped[str] = mapped_column(Word)  # before any review
    split: Mapped[str] = mapped_column(Word)  # when it was saved
    taxonomy_sha256: Mapped[str] = mapped_column(Id)
    document: Mapped[str]  # Correction
    # The side its bag is on now. No column: computed wherever it is read.
    side: Mapped[str] = column_property(
        func.coalesce(
            select(BagRow.split)
            .join(AnalysisRow, AnalysisRow.bag_id == BagRow.bag_id)
            .where(AnalysisRow.id == analysis_id)
            .correlate_except(BagRow, AnalysisRow)
            .scalar_subquery(),
            split,
        )
    )
    # What the last review said, or where none holds what it was saved with. No column: computed wherever it is read.
    status: Mapped[str] = column_property(
        func.coalesce(
            select(func.nullif(CorrectionReviewRow.status, "withdrawn"))
            .where(CorrectionReviewRow.correction_id == id)
            .order_by(CorrectionReviewRow.number.desc())
            .limit(1)
            .correlate_except(CorrectionReviewRow)
            .scalar_subquery(),
            first_status,
        )
    )


class DecisionRow(Base):
    __tablename__ = "decisions"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    analysis_id: Mapped[str] = mapped_column(ForeignKey("analyses.id"), index=True)
    author: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]
    decision: Mapped[str] = mapped_column(Word)
    seconds: Mapped[float | None]
    note: Mapped[str | None]


class DecisionMarkRow(Base):
    """What became of a decision: withdrawn by its author, flagged where it cleared a HIGH bag, seen by a supervisor.

    Or what its author knew: made blind, or revised after the models were shown.
    """

    __tablename__ = "decision_marks"
    __table_args__ = (UniqueConstraint("decision_id", "kind"), Index(None, "kind", "created_at"))

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    decision_id: Mapped[str] = mapped_column(ForeignKey("decisions.id"))
    kind: Mapped[str] = mapped_column(Word)
    author: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]


class OutcomeRow(Base):
    __tablename__ = "outcomes"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    analysis_id: Mapped[str] = mapped_column(ForeignKey("analyses.id"), index=True)
    author: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]
    document: Mapped[str]  # Outcome


class RunRow(Base):
    __tablename__ = "runs"
    __table_args__ = (Index(None, "created_at", "id"), Index(None, "status"))

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(Word)
    status: Mapped[str] = mapped_column(Word)
    progress: Mapped[float]
    recipe: Mapped[str]
    method: Mapped[str] = mapped_column(Word)
    epochs: Mapped[float | None]
    samples: Mapped[str]  # SampleCounts
    metrics: Mapped[str]  # RunMetrics
    error: Mapped[str | None]
    adapter_id: Mapped[str | None] = mapped_column(Id)
    created_by: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    frozen_at: Mapped[datetime | None]  # what it learns from and is measured on is written down by then
    ended_at: Mapped[datetime | None]
    # Who is working on it: a pid alone comes back after a reboot, or belongs to another machine.
    host: Mapped[str | None] = mapped_column(Name)
    boot_id: Mapped[str | None] = mapped_column(Id)
    pid: Mapped[int | None]
    pid_started: Mapped[float | None]
    heartbeat_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    stop_requested: Mapped[bool]


class AdapterRow(Base):
    __tablename__ = "adapters"
    __table_args__ = (Index(None, "created_at", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(Word)
    base: Mapped[str]
    base_sha256: Mapped[str] = mapped_column(Id)
    # No foreign key: an adapter trained elsewhere names a run of another database.
    run_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime]
    folder: Mapped[str]  # below the data folder where it can be, so that the folder may move
    metrics: Mapped[str]  # RunMetrics
    gate: Mapped[str]  # Gate


class PromotionRow(Base):
    """The active adapter of a base model is the one its newest row points to."""

    __tablename__ = "promotions"
    __table_args__ = (Index(None, "kind", "base_sha256", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)  # the order of events
    kind: Mapped[str] = mapped_column(Word)
    base_sha256: Mapped[str] = mapped_column(Id)
    adapter_id: Mapped[str | None] = mapped_column(ForeignKey("adapters.id"))  # None: the base model
    rollback: Mapped[bool]
    forced: Mapped[bool]
    reason: Mapped[str | None]
    promoted_by: Mapped[str] = mapped_column(Id)
    created_at: Mapped[datetime]


class AuditRow(Base):
    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    who: Mapped[str] = mapped_column(Id)
    what: Mapped[str] = mapped_column(Name)
    details: Mapped[str]  # a JSON object


class IdempotencyRow(Base):
    """The first answer to a POST with an Idempotency-Key; no status yet: still being worked on."""

    __tablename__ = "idempotency_keys"

    username: Mapped[str] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(Name, primary_key=True)
    request_sha256: Mapped[str] = mapped_column(Id)
    status: Mapped[int | None]
    body: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(index=True)


class HoldoutFigureRow(Base):
    """What a model reached on a hold-out, so that it is not measured again."""

    __tablename__ = "holdout_figures"

    holdout_sha256: Mapped[str] = mapped_column(Id, primary_key=True)
    model_key: Mapped[str] = mapped_column(Name, primary_key=True)
    document: Mapped[str]
    created_at: Mapped[datetime]


class SavedFilterRow(Base):
    __tablename__ = "saved_filters"

    username: Mapped[str] = mapped_column(ForeignKey("users.username"), primary_key=True)
    name: Mapped[str] = mapped_column(Name, primary_key=True)
    document: Mapped[str]  # store.search.Filter
    created_at: Mapped[datetime]


class QueueRow(Base):
    """What an annotator may learn the models something from: one row an analysis, written with it."""

    __tablename__ = "queue_entries"
    __table_args__ = (Index(None, "waiting", "score", "analysis_id"), Index(None, "rare_label"))

    analysis_id: Mapped[str] = mapped_column(ForeignKey("analyses.id"), primary_key=True)
    waiting: Mapped[bool]  # nobody has corrected it yet, or what they saved was rejected
    score: Mapped[float]
    reasons: Mapped[str]  # {kind: [points, words]}
    rare_label: Mapped[str | None] = mapped_column(Name)


class QueueClaimRow(Base):
    """Who is at work on an analysis, and until when."""

    __tablename__ = "queue_claims"

    analysis_id: Mapped[str] = mapped_column(ForeignKey("analyses.id"), primary_key=True)
    username: Mapped[str] = mapped_column(Id, index=True)
    claimed_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class QueueSkipRow(Base):
    __tablename__ = "queue_skips"

    analysis_id: Mapped[str] = mapped_column(ForeignKey("analyses.id"), primary_key=True)
    username: Mapped[str] = mapped_column(Id, primary_key=True)
    reason: Mapped[str]
    created_at: Mapped[datetime]


class DraftRow(Base):
    """A correction that is not saved yet."""

    __tablename__ = "correction_drafts"

    username: Mapped[str] = mapped_column(Id, primary_key=True)
    analysis_id: Mapped[str] = mapped_column(ForeignKey("analyses.id"), primary_key=True)
    updated_at: Mapped[datetime]
    document: Mapped[str]  # CorrectionIn


class TrialRow(Base):
    """An analysis of a test image: a bag of known truth, shown as any other. It counts for nothing else."""

    __tablename__ = "trials"

    analysis_id: Mapped[str] = mapped_column(ForeignKey("analyses.id"), primary_key=True)
    created_at: Mapped[datetime]
    label: Mapped[str] = mapped_column(String(100))  # the threat laid into it; "": a clear bag
    document: Mapped[str]  # store.tip.Truth


class BlindRow(Base):
    """An analysis whose prediction nobody sees before somebody has decided about its bag."""

    __tablename__ = "blind_scans"
    __table_args__ = (Index(None, "shown_at", "created_at"), Index(None, "bag_id"))

    analysis_id: Mapped[str] = mapped_column(ForeignKey("analyses.id"), primary_key=True)
    bag_id: Mapped[str] = mapped_column(Name)
    created_at: Mapped[datetime]
    shown_at: Mapped[datetime | None]  # None: still hidden

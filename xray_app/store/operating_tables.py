"""Tables of the threat score: what the models in use say of a scan, and the thresholds an admin has set."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from xray_app.store.tables import Base, Id, Name, Word


class ScoreEvidenceRow(Base):
    """What a pair of models says of a scan most surely of anything prohibited; see `xray_app.threat_score`."""

    __tablename__ = "score_evidence"

    scan_id: Mapped[str] = mapped_column(ForeignKey("scans.id"), primary_key=True)
    pair: Mapped[str] = mapped_column(Id, primary_key=True)
    vlm: Mapped[float]
    detector: Mapped[float]


class OperatingPointRow(Base):
    """An operating point that was set, or the word that none is in force; appended, the last word counts."""

    __tablename__ = "operating_points"
    __table_args__ = (Index(None, "pair", "policy_sha256", "scanner_id", "number"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    number: Mapped[int] = mapped_column(unique=True)  # the order of events
    scanner_id: Mapped[str] = mapped_column(Name)  # "": all scanners
    pair: Mapped[str] = mapped_column(Id)
    policy_sha256: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(Word)  # "set" or "withdrawn"
    created_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(Id)
    reason: Mapped[str]
    document: Mapped[str]  # OperatingPointFigures; "" of one withdrawn

"""The table of webhook events: what is to be told to another system, and how far that has come."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from xray_app.store.tables import Base, Id


class WebhookEventRow(Base):
    """An event and its delivery."""

    __tablename__ = "webhook_events"

    id: Mapped[str] = mapped_column(Id, primary_key=True)  # follows from what happened: nothing is entered twice
    body: Mapped[str]  # JSON, as it is sent
    attempts: Mapped[int]
    due_at: Mapped[datetime]  # not to be sent before
    settled_at: Mapped[datetime | None]  # when it was delivered, or given up

"""Webhook events: what is to be told to another system, and how far that has come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from xray_app.store.tables import Utc

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", Utc(), nullable=False),
        sa.Column("settled_at", Utc(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_events"),
    )


def downgrade() -> None:
    op.drop_table("webhook_events")

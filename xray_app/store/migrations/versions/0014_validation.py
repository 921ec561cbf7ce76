"""Validation: campaigns, what was signed and withdrawn, bags drawn by lot, and bags of known truth."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from xray_app.store.tables import Utc

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("scanner_id", sa.String(length=200), nullable=False),
        sa.Column("rests_on", sa.String(length=64), nullable=False),
        sa.Column("bags", sa.Integer(), nullable=False),
        sa.Column("test_share", sa.Double(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("ends_at", Utc(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_campaigns"),
        sa.UniqueConstraint("number", name="uq_campaigns_number"),
    )
    op.create_index("ix_campaigns_scanner_id_number", "campaigns", ["scanner_id", "number"])
    op.create_table(
        "campaign_ends",
        sa.Column("campaign_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_campaign_ends_campaign_id_campaigns"),
        sa.PrimaryKeyConstraint("campaign_id", name="pk_campaign_ends"),
    )
    op.create_table(
        "campaign_bags",
        sa.Column("bag_id", sa.String(length=200), nullable=False),
        sa.Column("campaign_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_campaign_bags_campaign_id_campaigns"),
        sa.PrimaryKeyConstraint("bag_id", name="pk_campaign_bags"),
    )
    op.create_index("ix_campaign_bags_campaign_id", "campaign_bags", ["campaign_id"])
    op.create_table(
        "validations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("scanner_id", sa.String(length=200), nullable=False),
        sa.Column("rests_on", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("campaign_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_validations_campaign_id_campaigns"),
        sa.PrimaryKeyConstraint("id", name="pk_validations"),
        sa.UniqueConstraint("number", name="uq_validations_number"),
    )
    op.create_index("ix_validations_scanner_id_rests_on_number", "validations", ["scanner_id", "rests_on", "number"])
    op.create_table(
        "control_draws",
        sa.Column("bag_id", sa.String(length=200), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.PrimaryKeyConstraint("bag_id", name="pk_control_draws"),
    )
    op.create_table(
        "known_truths",
        sa.Column("validation_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("bag_id", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("labels", sa.String(length=500), nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("watch", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["validation_id"], ["validations.id"], name="fk_known_truths_validation_id_validations"
        ),
        sa.PrimaryKeyConstraint("validation_id", "number", name="pk_known_truths"),
    )


def downgrade() -> None:
    for table in ("known_truths", "control_draws", "validations", "campaign_bags", "campaign_ends", "campaigns"):
        op.drop_table(table)

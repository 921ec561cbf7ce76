"""Test images and blind scans."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trials",
        sa.Column("analysis_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], name="fk_trials_analysis_id"),
        sa.PrimaryKeyConstraint("analysis_id", name="pk_trials"),
    )
    op.create_table(
        "blind_scans",
        sa.Column("analysis_id", sa.String(length=64), nullable=False),
        sa.Column("bag_id", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], name="fk_blind_scans_analysis_id"),
        sa.PrimaryKeyConstraint("analysis_id", name="pk_blind_scans"),
    )
    op.create_index("ix_blind_scans_shown_at_created_at", "blind_scans", ["shown_at", "created_at"])
    op.create_index("ix_blind_scans_bag_id", "blind_scans", ["bag_id"])
    # What was true of a test image stays what it was; of a blind scan it is written when it was shown.
    dialect = op.get_bind().dialect.name
    if dialect == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER trials_no_{event.lower()} BEFORE {event} ON trials "
                "BEGIN SELECT RAISE(ABORT, 'trials is append-only'); END"
            )
    elif dialect == "postgresql":
        op.execute(
            "CREATE TRIGGER trials_append_only BEFORE UPDATE OR DELETE ON trials "
            "FOR EACH ROW EXECUTE FUNCTION xray_refuse_change()"
        )


def downgrade() -> None:
    for table in ("blind_scans", "trials"):
        op.drop_table(table)

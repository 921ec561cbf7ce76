"""What models say of scans, and the thresholds of the threat score that admins set."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from xray_app.store.tables import Utc

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "score_evidence",
        sa.Column("scan_id", sa.String(length=64), nullable=False),
        sa.Column("pair", sa.String(length=64), nullable=False),
        sa.Column("vlm", sa.Double(), nullable=False),
        sa.Column("detector", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name="fk_score_evidence_scan_id_scans"),
        sa.PrimaryKeyConstraint("scan_id", "pair", name="pk_score_evidence"),
    )
    op.create_table(
        "operating_points",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("scanner_id", sa.String(length=200), nullable=False),
        sa.Column("pair", sa.String(length=64), nullable=False),
        sa.Column("policy_sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_operating_points"),
        sa.UniqueConstraint("number", name="uq_operating_points_number"),
    )
    op.create_index(
        "ix_operating_points_pair_policy_sha256_scanner_id_number",
        "operating_points",
        ["pair", "policy_sha256", "scanner_id", "number"],
    )


def downgrade() -> None:
    op.drop_table("operating_points")
    op.drop_table("score_evidence")

"""Sides of bags, and perceptual hashes by which near-equal pictures are found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bags",
        sa.Column("bag_id", sa.String(length=200), nullable=False),
        sa.Column("split", sa.String(length=32), nullable=False),
        sa.Column("because", sa.String(length=32), nullable=False),
        sa.Column("like_bag", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("bag_id", name="pk_bags"),
    )
    op.create_table(
        "picture_bands",
        sa.Column("band", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("scan_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name="fk_picture_bands_scan_id_scans"),
        sa.PrimaryKeyConstraint("band", "scan_id", name="pk_picture_bands"),
    )
    op.create_index("ix_picture_bands_scan_id", "picture_bands", ["scan_id"])
    op.add_column("scan_looks", sa.Column("perceptual_hash", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("scan_looks", "perceptual_hash")
    op.drop_table("picture_bands")
    op.drop_table("bags")

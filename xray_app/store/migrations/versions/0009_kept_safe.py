"""The name that a data folder and its database share; where sign-ins came from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "storage_id",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_storage_id"),
    )
    op.add_column("sign_in_failures", sa.Column("address", sa.String(length=64), nullable=True))
    op.create_index("ix_sign_in_failures_address_created_at", "sign_in_failures", ["address", "created_at"])
    op.create_table(
        "sign_in_addresses",
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["username"], ["users.username"], name="fk_sign_in_addresses_username_users"),
        sa.PrimaryKeyConstraint("username", "address", name="pk_sign_in_addresses"),
    )


def downgrade() -> None:
    op.drop_table("sign_in_addresses")
    op.drop_index("ix_sign_in_failures_address_created_at", "sign_in_failures")
    op.drop_column("sign_in_failures", "address")
    op.drop_table("storage_id")

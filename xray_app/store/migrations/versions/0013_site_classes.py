"""Classes that people add at the desk, beside those of the taxonomy file."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from xray_app.store.tables import Utc

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLE = "site_classes"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("created_at", Utc(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_site_classes"),
        sa.UniqueConstraint("name", name="uq_site_classes_name"),
    )
    dialect = op.get_bind().dialect.name
    if dialect == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {TABLE}_no_{event.lower()} BEFORE {event} ON {TABLE} "
                f"BEGIN SELECT RAISE(ABORT, '{TABLE} is append-only'); END"
            )
    elif dialect == "postgresql":
        op.execute(
            f"CREATE TRIGGER {TABLE}_append_only BEFORE UPDATE OR DELETE ON {TABLE} "
            "FOR EACH ROW EXECUTE FUNCTION xray_refuse_change()"
        )


def downgrade() -> None:
    op.drop_table(TABLE)

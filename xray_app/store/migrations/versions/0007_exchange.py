"""Class ids of exports that never move, and what was said of other data sets' labels."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "class_ids",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_class_ids"),
        sa.UniqueConstraint("name", name="uq_class_ids_name"),
    )
    op.create_table(
        "label_meanings",
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("class_name", sa.String(length=200), nullable=True),
        sa.Column("said_by", sa.String(length=64), nullable=False),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("label", name="pk_label_meanings"),
    )
    dialect = op.get_bind().dialect.name
    if dialect == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER class_ids_no_{event.lower()} BEFORE {event} ON class_ids "
                "BEGIN SELECT RAISE(ABORT, 'class_ids is append-only'); END"
            )
    elif dialect == "postgresql":
        op.execute(
            "CREATE TRIGGER class_ids_append_only BEFORE UPDATE OR DELETE ON class_ids "
            "FOR EACH ROW EXECUTE FUNCTION xray_refuse_change()"
        )


def downgrade() -> None:
    for table in ("label_meanings", "class_ids"):
        op.drop_table(table)

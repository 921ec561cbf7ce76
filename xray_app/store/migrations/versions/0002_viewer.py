"""Marks on decisions: withdrawn, flagged, seen by a supervisor. Append-only like the decisions themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_viewer"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLE = "decision_marks"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("decision_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_decision_marks_decision_id"),
        sa.PrimaryKeyConstraint("id", name="pk_decision_marks"),
        sa.UniqueConstraint("decision_id", "kind", name="uq_decision_marks_decision_id_kind"),
    )
    op.create_index("ix_decision_marks_kind_created_at", TABLE, ["kind", "created_at"])
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {TABLE}_no_{event.lower()} BEFORE {event} ON {TABLE} "
                f"BEGIN SELECT RAISE(ABORT, '{TABLE} is append-only'); END"
            )
    elif op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER {TABLE}_append_only BEFORE UPDATE OR DELETE ON {TABLE} "
            "FOR EACH ROW EXECUTE FUNCTION xray_refuse_change()"
        )


def downgrade() -> None:
    op.drop_table(TABLE)

"""A review can be taken back and given anew, and a run says when it froze what it learns from.

Reviews of one correction are numbered in their order, taking back included: nothing is changed or deleted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLE = "correction_reviews"
OLD, NEW = "uq_correction_reviews_correction_id", "uq_correction_reviews_correction_id_number"


def upgrade() -> None:
    append_only(False)  # SQLite copies the table, and its triggers would be lost unseen
    with op.batch_alter_table(TABLE) as table:
        table.add_column(sa.Column("number", sa.Integer(), nullable=False, server_default="1"))
        table.drop_constraint(OLD, type_="unique")
        table.create_unique_constraint(NEW, ["correction_id", "number"])
    append_only(True)
    op.add_column("runs", sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE runs SET frozen_at = coalesce(ended_at, started_at) WHERE status NOT IN ('queued', 'running')")


def downgrade() -> None:
    op.drop_column("runs", "frozen_at")
    append_only(False)
    # What was said before it was taken back has no place there.
    op.execute(
        f"DELETE FROM {TABLE} WHERE status = 'withdrawn' OR EXISTS (SELECT 1 FROM {TABLE} AS later "
        f"WHERE later.correction_id = {TABLE}.correction_id AND later.number > {TABLE}.number)"
    )
    with op.batch_alter_table(TABLE) as table:
        table.drop_constraint(NEW, type_="unique")
        table.drop_column("number")
        table.create_unique_constraint(OLD, ["correction_id"])
    append_only(True)


def append_only(wanted: bool) -> None:
    """Puts the triggers that refuse a change in place, or takes them away."""
    dialect = op.get_bind().dialect.name
    if dialect == "sqlite":
        for event in ("UPDATE", "DELETE"):
            name = f"{TABLE}_no_{event.lower()}"
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {event} ON {TABLE} "
                f"BEGIN SELECT RAISE(ABORT, '{TABLE} is append-only'); END"
                if wanted
                else f"DROP TRIGGER {name}"
            )
    elif dialect == "postgresql":
        op.execute(
            f"CREATE TRIGGER {TABLE}_append_only BEFORE UPDATE OR DELETE ON {TABLE} "
            "FOR EACH ROW EXECUTE FUNCTION xray_refuse_change()"
            if wanted
            else f"DROP TRIGGER {TABLE}_append_only ON {TABLE}"
        )

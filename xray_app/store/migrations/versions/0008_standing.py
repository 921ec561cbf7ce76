"""What stands over an analysis, by the models and by people; what hand searches found; no user is called policy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COLUMNS = {
    "standing_level": sa.String(length=32),
    "standing_action": sa.String(length=32),
    "standing_reason": sa.Text(),
    "standing_by": sa.String(length=200),
}
LEVELS, BY = "ix_analysis_facts_standing_level_created_at_id", "ix_analysis_facts_standing_by"
REASON = {
    "sqlite": "json_extract(document, '$.risk.reason')",
    "postgresql": "document::json -> 'risk' ->> 'reason'",
}
CHUNK = 1000


def upgrade() -> None:
    op.create_table(
        "found_items",
        sa.Column("outcome_id", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["outcome_id"], ["outcomes.id"], name="fk_found_items_outcome_id"),
        sa.PrimaryKeyConstraint("outcome_id", "label", name="pk_found_items"),
    )
    for name, kind in COLUMNS.items():
        op.add_column("analysis_facts", sa.Column(name, kind, nullable=False, server_default=""))
    op.create_index(LEVELS, "analysis_facts", ["standing_level", "created_at", "id"])
    op.create_index(BY, "analysis_facts", ["standing_by"])
    connection = op.get_bind()
    fill(connection)
    keep_found(connection)
    keep_out_policy(connection)


def downgrade() -> None:
    op.drop_index(BY, "analysis_facts")
    op.drop_index(LEVELS, "analysis_facts")
    for name in COLUMNS:
        op.drop_column("analysis_facts", name)
    op.drop_table("found_items")


def fill(connection: sa.Connection) -> None:
    """The models' own risk over every analysis; where people spoke or a bag has several, the desk works it out."""
    document = REASON[connection.dialect.name]
    of_models = (
        "UPDATE analysis_facts SET standing_level = risk_level, standing_by = 'policy', "
        "standing_action = (SELECT action FROM analyses WHERE analyses.id = analysis_facts.id), "
        f"standing_reason = (SELECT {document} FROM analyses WHERE analyses.id = analysis_facts.id)"
    )
    to_work_out = (
        "UPDATE analysis_facts SET standing_by = '' WHERE bag_id IN ("
        "SELECT bag_id FROM analyses WHERE id IN (SELECT analysis_id FROM corrections) "
        "OR id IN (SELECT analysis_id FROM outcomes) "
        "UNION SELECT bag_id FROM analyses GROUP BY bag_id HAVING count(*) > 1)"
    )
    for statement in (of_models, to_work_out):
        connection.exec_driver_sql(statement)


def keep_found(connection: sa.Connection) -> None:
    """What hand searches found, to be judged by the taxonomy when the desk starts."""
    tables = sa.MetaData()
    tables.reflect(connection, only=("outcomes", "found_items"))
    outcomes, found_items = tables.tables["outcomes"], tables.tables["found_items"]
    last = ""
    while rows := list(
        connection.execute(
            sa.select(outcomes.c.id, outcomes.c.document)
            .where(outcomes.c.id > last)
            .order_by(outcomes.c.id)
            .limit(CHUNK)
        )
    ):
        last = rows[-1].id
        found: list[dict[str, Any]] = [
            {"outcome_id": row.id, "label": label, "status": ""}
            for row in rows
            for label in sorted({item["label"] for item in json.loads(row.document)["found"]})
            if len(label) <= 100
        ]
        if found:
            connection.execute(found_items.insert(), found)


def keep_out_policy(connection: sa.Connection) -> None:
    """Disables a user of this name, unless nobody else could let people in. Their words stay, under another name."""
    tables = sa.MetaData()
    tables.reflect(connection, only=("users", "sessions", "audit_entries"))
    users, sessions, audit = (tables.tables[name] for name in ("users", "sessions", "audit_entries"))
    enabled = list(connection.execute(sa.select(users.c.username, users.c.role).where(users.c.disabled_at.is_(None))))
    names = [row.username for row in enabled if row.username.casefold() == "policy"]
    if not names or not any(row.role == "admin" and row.username not in names for row in enabled):
        return
    now = datetime.now(UTC)
    why = "the name stands for the models' policy; make this person a user of another name"
    for name in names:
        connection.execute(users.update().where(users.c.username == name).values(disabled_at=now))
        connection.execute(sessions.delete().where(sessions.c.username == name))
        details = json.dumps({"username": name, "reason": why})
        connection.execute(audit.insert().values(created_at=now, who="upgrade", what="disabled user", details=details))

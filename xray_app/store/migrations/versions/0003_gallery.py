"""What search and insights ask of an analysis, filled from what is stored already; saved filters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FILTERS = ("risk_level", "decision", "outcome", "disagree", "correction", "missed", "analyst", "scanner_id", "adapter")
CHUNK = 500
Utc = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "analysis_facts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", Utc, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("analyst", sa.String(length=64), nullable=False),
        sa.Column("scan_id", sa.String(length=64), nullable=False),
        sa.Column("bag_id", sa.String(length=200), nullable=False),
        sa.Column("scanner_id", sa.String(length=200), nullable=False),
        sa.Column("adapter", sa.String(length=64), nullable=False),
        sa.Column("risk_level", sa.String(length=32), nullable=False),
        sa.Column("disagree", sa.Boolean(), nullable=False),
        sa.Column("opaque_fraction", sa.Double(), nullable=False),
        sa.Column("decision", sa.String(length=32), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("outcome_at", Utc, nullable=True),
        sa.Column("correction", sa.String(length=32), nullable=False),
        sa.Column("missed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["analyses.id"], name="fk_analysis_facts_id"),
        sa.PrimaryKeyConstraint("id", name="pk_analysis_facts"),
    )
    op.create_index("ix_analysis_facts_created_at_id", "analysis_facts", ["created_at", "id"])
    for column in FILTERS:
        op.create_index(f"ix_analysis_facts_{column}_created_at_id", "analysis_facts", [column, "created_at", "id"])
    for column in ("day", "bag_id"):
        op.create_index(f"ix_analysis_facts_{column}", "analysis_facts", [column])
    op.create_table(
        "analysis_labels",
        sa.Column("analysis_id", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("created_at", Utc, nullable=False),
        sa.Column("by_vlm", sa.Boolean(), nullable=False),
        sa.Column("by_detector", sa.Boolean(), nullable=False),
        sa.Column("by_person", sa.Boolean(), nullable=False),
        sa.Column("by_search", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], name="fk_analysis_labels_analysis_id"),
        sa.PrimaryKeyConstraint("analysis_id", "label", name="pk_analysis_labels"),
    )
    op.create_index(
        "ix_analysis_labels_label_created_at_analysis_id", "analysis_labels", ["label", "created_at", "analysis_id"]
    )
    op.create_table(
        "scan_looks",
        sa.Column("scan_id", sa.String(length=64), nullable=False),
        sa.Column("organic", sa.Double(), nullable=False),
        sa.Column("mixed", sa.Double(), nullable=False),
        sa.Column("metal", sa.Double(), nullable=False),
        sa.Column("brightness", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.id"], name="fk_scan_looks_scan_id"),
        sa.PrimaryKeyConstraint("scan_id", name="pk_scan_looks"),
    )
    op.create_table(
        "day_figures",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("scanner_id", sa.String(length=200), nullable=False),
        sa.Column("adapter", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("day", "scanner_id", "adapter", name="pk_day_figures"),
    )
    op.create_table(
        "stale_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_stale_days"),
    )
    op.create_table(
        "saved_filters",
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", Utc, nullable=False),
        sa.ForeignKeyConstraint(["username"], ["users.username"], name="fk_saved_filters_username"),
        sa.PrimaryKeyConstraint("username", "name", name="pk_saved_filters"),
    )
    fill(op.get_bind())


def downgrade() -> None:
    for table in ("saved_filters", "stale_days", "day_figures", "scan_looks", "analysis_labels", "analysis_facts"):
        op.drop_table(table)


def fill(connection: sa.Connection) -> None:
    """Facts and labels of every stored analysis. Looks are made when a thumbnail is first asked for."""
    tables = sa.MetaData()
    tables.reflect(
        connection,
        only=(
            "analyses", "decisions", "outcomes", "corrections", "correction_reviews",
            "analysis_facts", "analysis_labels", "stale_days",
        ),
    )  # fmt: skip
    facts, labels, stale = (tables.tables[name] for name in ("analysis_facts", "analysis_labels", "stale_days"))
    days = set()
    for rows in _chunks(connection, tables.tables["analyses"]):
        newest = _Newest(connection, tables, [row.id for row in rows])
        named = [label for row in rows for label in _labels(row, newest)]
        missed = {one["analysis_id"] for one in named if not (one["by_vlm"] or one["by_detector"])}
        of_chunk = [{**_facts(row, newest), "missed": row.id in missed} for row in rows]
        days |= {one["day"] for one in of_chunk}
        connection.execute(facts.insert(), of_chunk)
        if named:
            connection.execute(labels.insert(), named)
    if days:
        connection.execute(stale.insert(), [{"day": day} for day in sorted(days)])


def _chunks(connection: sa.Connection, analyses: sa.Table) -> Iterator[list[Any]]:
    last = ""
    while rows := list(
        connection.execute(sa.select(analyses).where(analyses.c.id > last).order_by(analyses.c.id).limit(CHUNK))
    ):
        yield rows
        last = rows[-1].id


class _Newest:
    """The newest decision, outcome and correction of each analysis of a chunk."""

    def __init__(self, connection: sa.Connection, tables: sa.MetaData, ids: list[str]) -> None:
        def newest(name: str, *order: str) -> dict[str, Any]:
            table = tables.tables[name]
            query = sa.select(table).where(table.c.analysis_id.in_(ids)).order_by(*(table.c[one] for one in order))
            return {row.analysis_id: row for row in connection.execute(query)}  # of several the last one stays

        self.decisions = newest("decisions", "created_at", "id")
        self.outcomes = newest("outcomes", "created_at", "id")
        self.corrections = newest("corrections", "revision")
        reviews = tables.tables["correction_reviews"]
        known = [row.id for row in self.corrections.values()]
        asked = sa.select(reviews.c.correction_id, reviews.c.status).where(reviews.c.correction_id.in_(known))
        self.reviews = {row.correction_id: row.status for row in connection.execute(asked)}


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _facts(row: Any, newest: _Newest) -> dict[str, Any]:
    document = json.loads(row.document)
    decision, outcome = newest.decisions.get(row.id), newest.outcomes.get(row.id)
    correction = newest.corrections.get(row.id)
    agreement = document["agreement"]
    return {
        "id": row.id,
        "created_at": _utc(row.created_at),
        "day": _utc(row.created_at).date(),
        "analyst": decision.author if decision else row.created_by,
        "scan_id": row.scan_id,
        "bag_id": row.bag_id,
        "scanner_id": row.scanner_id or "",
        "adapter": row.adapter or "",
        "risk_level": row.risk_level,
        "disagree": bool(agreement["vlm_only"] or agreement["detector_only"]),
        "opaque_fraction": document["opaque_fraction"],
        "decision": decision.decision if decision else "",
        "seconds": decision.seconds if decision else None,
        "outcome": ("found" if json.loads(outcome.document)["found"] else "nothing") if outcome else "",
        "outcome_at": _utc(outcome.created_at) if outcome else None,
        "correction": newest.reviews.get(correction.id, correction.first_status) if correction else "",
    }


def _labels(row: Any, newest: _Newest) -> list[dict[str, Any]]:
    document, outcome, correction = (
        json.loads(row.document),
        newest.outcomes.get(row.id),
        newest.corrections.get(row.id),
    )
    said = json.loads(correction.document) if correction else {"items": [], "boxes": []}
    named_by = {
        "by_vlm": {item["label"] for item in document["report"]["items"]},
        "by_detector": {box["label"] for box in document["boxes"]},
        "by_person": {one["label"] for one in (*said["items"], *said["boxes"])},
        "by_search": {item["label"] for item in json.loads(outcome.document)["found"]} if outcome else set(),
    }
    return [
        {
            "analysis_id": row.id,
            "label": label,
            "created_at": _utc(row.created_at),
            **{who: label in named for who, named in named_by.items()},
        }
        for label in sorted(set().union(*named_by.values()))
        if len(label) <= 100
    ]

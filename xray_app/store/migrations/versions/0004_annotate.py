"""The annotators' queue with its claims, skips and drafts; what is stored already joins the queue."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# As the queue weighed a disagreement when this was written; a migration does not change with the code.
POINTS = {"prohibited": 3.0, "restricted": 2.0, "allowed": 1.0}
BATCH = 1000


def upgrade() -> None:
    entries = op.create_table(
        "queue_entries",
        sa.Column("analysis_id", sa.String(length=64), nullable=False),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("rare_label", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], name="fk_queue_entries_analysis_id"),
        sa.PrimaryKeyConstraint("analysis_id", name="pk_queue_entries"),
    )
    op.create_index("ix_queue_entries_waiting_score_analysis_id", "queue_entries", ["waiting", "score", "analysis_id"])
    op.create_index("ix_queue_entries_rare_label", "queue_entries", ["rare_label"])
    op.create_table(
        "queue_claims",
        sa.Column("analysis_id", sa.String(length=64), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], name="fk_queue_claims_analysis_id"),
        sa.PrimaryKeyConstraint("analysis_id", name="pk_queue_claims"),
    )
    op.create_index("ix_queue_claims_username", "queue_claims", ["username"])
    op.create_table(
        "queue_skips",
        sa.Column("analysis_id", sa.String(length=64), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], name="fk_queue_skips_analysis_id"),
        sa.PrimaryKeyConstraint("analysis_id", "username", name="pk_queue_skips"),
    )
    op.create_table(
        "correction_drafts",
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("analysis_id", sa.String(length=64), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], name="fk_correction_drafts_analysis_id"),
        sa.PrimaryKeyConstraint("username", "analysis_id", name="pk_correction_drafts"),
    )
    labels = op.create_table(
        "corrected_labels",
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("scans", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("label", name="pk_corrected_labels"),
    )
    _fill(entries, labels)


def downgrade() -> None:
    for table in ("corrected_labels", "correction_drafts", "queue_skips", "queue_claims", "queue_entries"):
        op.drop_table(table)


def _fill(entries: sa.Table, labels: sa.Table) -> None:
    connection = op.get_bind()
    counts: dict[str, int] = {}
    corrected = set()
    for analysis_id, document in connection.execute(
        sa.text("SELECT analysis_id, document FROM corrections WHERE revision = 1")
    ):
        corrected.add(analysis_id)
        for label in {item["label"] for item in json.loads(document)["items"]}:
            counts[label] = counts.get(label, 0) + 1
    if counts:
        op.bulk_insert(labels, [{"label": label, "scans": scans} for label, scans in counts.items()])
    last = ""
    while True:
        batch = connection.execute(
            sa.text("SELECT id, document FROM analyses WHERE id > :last ORDER BY id LIMIT :batch"),
            {"last": last, "batch": BATCH},
        ).all()
        if not batch:
            return
        op.bulk_insert(entries, [_entry(id, json.loads(document), id not in corrected) for id, document in batch])
        last = batch[-1][0]


def _entry(analysis_id: str, analysis: dict[str, Any], waiting: bool) -> dict[str, Any]:
    status = {one["label"]: one["status"] for one in (*analysis["report"]["items"], *analysis["boxes"])}
    split = [*analysis["agreement"]["vlm_only"], *analysis["agreement"]["detector_only"]]
    reasons = {}
    if split:
        points = max(POINTS.get(status.get(label, "allowed"), 1.0) for label in split)
        reasons["disagreement"] = [points, f"the models disagree on {', '.join(split[:3])}"]
    return {
        "analysis_id": analysis_id,
        "waiting": waiting,
        "score": sum(points for points, _ in reasons.values()),
        "reasons": json.dumps(reasons, ensure_ascii=False),
        "rare_label": None,
    }

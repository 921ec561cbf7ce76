"""What one person left undecided is found at once, however old."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEX = "ix_analysis_facts_analyst_decision_correction_created_at"


def upgrade() -> None:
    op.create_index(INDEX, "analysis_facts", ["analyst", "decision", "correction", "created_at"])


def downgrade() -> None:
    op.drop_index(INDEX, "analysis_facts")

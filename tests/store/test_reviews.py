"""Reviews: taken back until a run has frozen what they accepted; nothing is ever lost or left over by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations

from tests.conftest import MakeAnalysis
from xray_app.errors import Conflict, Forbidden, NotFound
from xray_app.store import audit, corrections, queue, reviews, runs, search, standing
from xray_app.store.database import Database
from xray_app.store.search import Filter
from xray_app.taxonomy import Taxonomy
from xray_app.types import Correction, CorrectionIn, ReviewStatus, Run, SampleCounts

Pending = Callable[..., Correction]


@pytest.fixture
def pending(db: Database, taxonomy: Taxonomy) -> Pending:
    def add(analysis_id: str, base: int = 0) -> Correction:
        sent = CorrectionIn(items=(), boxes=(), base_revision=base)
        return corrections.add(db, analysis_id, sent, "anna", taxonomy, review_required=True)

    return add


def started(db: Database) -> Run:
    run = runs.create(db, "vlm-adapter", "bundled", "lora", None, "root")
    return runs.claim(db, run.id, host="desk", boot_id="boot", pid=42, pid_started=1.5, lease_seconds=60)


def frozen(db: Database, run: Run) -> None:
    runs.update(db, run.id, samples=SampleCounts(train=1))


def take_back(db: Database, correction: Correction, who: str = "ben", of_anybody: bool = False) -> Correction:
    return corrections.take_back_review(db, correction.id, who, of_anybody)


@pytest.mark.parametrize("status", ["accepted", "rejected"])
def test_after_it_is_taken_back_a_correction_waits_for_review_everywhere(
    db: Database, stored: MakeAnalysis, pending: Pending, status: ReviewStatus
) -> None:
    analysis = stored()
    correction = pending(analysis.id)

    def seen() -> list[object]:
        entry = queue.get(db, analysis.id)
        return [
            corrections.get(db, correction.id),
            corrections.history(db, analysis.id),
            corrections.pending(db),
            [one.correction.id for one in reviews.waiting(db, "ben")],
            reviews.count_own(db, "anna"),
            standing.accepted(db),
            queue.standing(db).waiting,
            (entry.score, entry.reasons),
            [one.correction for one in search.page(db, Filter())[0]],
        ]

    before = seen()
    corrections.review(db, correction.id, status, "thus", "ben")
    assert seen() != before
    assert take_back(db, correction).status == "pending"
    assert seen() == before
    with pytest.raises(Conflict, match="nothing to take back"):
        take_back(db, correction)
    assert corrections.review(db, correction.id, "accepted", "now", "cleo").status == "accepted"
    said = [(one.reviewer, one.status, one.comment) for one in reviews.of_analysis(db, analysis.id)]
    assert said == [("ben", status, "thus"), ("ben", "withdrawn", None), ("cleo", "accepted", "now")]
    assert [a.id for a, _ in standing.accepted(db)] == [analysis.id]


def test_who_did_not_review_it_takes_nothing_back_unless_an_admin(
    db: Database, stored: MakeAnalysis, pending: Pending
) -> None:
    correction = pending(stored().id)
    for who in ("ben", "anna"):
        with pytest.raises(Conflict, match="Nobody has reviewed"):
            take_back(db, correction, who)
    with pytest.raises(NotFound):
        corrections.take_back_review(db, "nothing", "ben", of_anybody=True)
    corrections.review(db, correction.id, "accepted", None, "ben")
    for who in ("anna", "cleo"):
        with pytest.raises(Forbidden, match="ben"):
            take_back(db, correction, who)
    assert take_back(db, correction, "root", of_anybody=True).status == "pending"
    entry = audit.newest(db)[0]
    assert (entry.who, entry.what) == ("root", "took back a review")
    assert entry.details == {"correction_id": correction.id, "status": "accepted", "reviewer": "ben"}


def test_what_a_run_froze_is_not_taken_back_and_what_came_after_is(
    db: Database, stored: MakeAnalysis, pending: Pending
) -> None:
    early, refused, late = (pending(stored(shade=shade).id) for shade in (1, 2, 3))
    corrections.review(db, early.id, "accepted", None, "ben")
    corrections.review(db, refused.id, "rejected", "no", "ben")
    run = started(db)
    with pytest.raises(Conflict, match="putting together"):
        take_back(db, early)
    frozen(db, run)
    time.sleep(0.01)
    corrections.review(db, late.id, "accepted", None, "ben")
    for _ in range(2):  # while it trains, and after
        with pytest.raises(Conflict, match="has learned"):
            take_back(db, early)
        assert take_back(db, late).status == "pending"
        corrections.review(db, late.id, "accepted", None, "ben")
        if runs.get(db, run.id).ended_at is None:
            runs.finish(db, run.id, "failed", error="tested")
    assert take_back(db, refused).status == "pending", "no run learns from what was rejected"
    assert corrections.get(db, early.id).status == "accepted"


def test_a_run_that_ended_before_it_froze_anything_holds_nothing(
    db: Database, stored: MakeAnalysis, pending: Pending
) -> None:
    correction = pending(stored().id)
    corrections.review(db, correction.id, "accepted", None, "ben")
    queued = runs.create(db, "detector", "bundled", "full", None, "root")
    run = started(db)
    runs.finish(db, run.id, "failed", error="tested")
    assert take_back(db, correction).status == "pending"
    assert runs.get(db, queued.id).status == "queued"


def test_a_rejection_taken_back_leaves_a_newer_revision_alone(
    db: Database, stored: MakeAnalysis, pending: Pending
) -> None:
    analysis = stored()
    first = pending(analysis.id)
    corrections.review(db, first.id, "rejected", "no", "ben")
    second = pending(analysis.id, base=1)
    corrections.review(db, second.id, "rejected", "no again", "ben")
    assert queue.standing(db).waiting == 1
    take_back(db, first)
    assert queue.standing(db).waiting == 1, "the newest is still rejected"
    assert any("no again" in one for one in queue.get(db, analysis.id).reasons)
    take_back(db, second)
    assert [one.correction.id for one in reviews.waiting(db, "ben")] == [second.id]


def test_reviews_of_before_are_kept_when_the_tables_move(db: Database, stored: MakeAnalysis, pending: Pending) -> None:
    kept, again = pending(stored(shade=1).id), pending(stored(shade=2).id)
    corrections.review(db, kept.id, "accepted", "fine", "ben")
    corrections.review(db, again.id, "rejected", "no", "ben")
    frozen(db, run := started(db))
    runs.finish(db, run.id, "succeeded")
    migration = import_module("xray_app.store.migrations.versions.0010_reviews_taken_back")
    with db.engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        migration.downgrade()
        migration.upgrade()
    assert (corrections.get(db, kept.id).status, corrections.get(db, again.id).status) == ("accepted", "rejected")
    with pytest.raises(Conflict, match="has learned"):
        take_back(db, kept)
    assert take_back(db, again).status == "pending"

"""What stands for a scan: which revision by its reviews, which analyses count, and which scans are held out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from tests.conftest import MakeAnalysis, png, save_analysis, scan_facts
from xray_app.correction.revision import split_of
from xray_app.store import corrections, standing
from xray_app.store.database import Database
from xray_app.store.tables import CorrectionRow
from xray_app.store.tip import Truth
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, Correction, CorrectionIn

Correct = Callable[[Analysis, int], Correction]
HELD_OUT = next(f"bag {n}" for n in range(99) if split_of(f"bag {n}") == "holdout")
TRAIN = next(f"bag {n}" for n in range(99) if split_of(f"bag {n}") == "train")


@pytest.fixture
def pending(db: Database, taxonomy: Taxonomy) -> Correct:
    """Saves the next revision of an analysis; it waits for a review."""

    def add(analysis: Analysis, base: int = 0) -> Correction:
        sent = CorrectionIn(items=(), boxes=(), base_revision=base)
        return corrections.add(db, analysis.id, sent, "anna", taxonomy, review_required=True)

    return add


def statuses(db: Database) -> list[str]:
    with db.read() as session:
        return list(session.scalars(select(CorrectionRow.status).order_by(CorrectionRow.revision)))


def holding(db: Database) -> tuple[list[int], list[int]]:
    """Revisions by the two conditions: the newest accepted, the newest that nobody rejected."""
    with db.read() as session:
        accepted, not_rejected = (
            list(session.scalars(select(CorrectionRow.revision).where(condition)))
            for condition in (standing.newest_accepted(), standing.newest_not_rejected())
        )
    return accepted, not_rejected


def test_a_review_is_the_newer_word_on_a_revision(db: Database, stored: MakeAnalysis, pending: Correct) -> None:
    analysis = stored()
    first, second = pending(analysis, 0), pending(analysis, 1)
    assert statuses(db) == ["pending", "pending"]
    corrections.review(db, first.id, "accepted", None, "ben")
    corrections.review(db, second.id, "rejected", "no", "ben")
    assert statuses(db) == ["accepted", "rejected"]
    with db.read() as session:
        row = session.get_one(CorrectionRow, second.id)
        assert (row.first_status, row.status) == ("pending", "rejected")
        assert standing.correction_of(row).status == "rejected"


def test_which_revision_holds(db: Database, stored: MakeAnalysis, pending: Correct) -> None:
    analysis = stored()
    assert holding(db) == ([], [])
    first = pending(analysis, 0)
    assert holding(db) == ([], [1])
    corrections.review(db, first.id, "accepted", None, "ben")
    assert holding(db) == ([1], [1])
    second = pending(analysis, 1)
    assert holding(db) == ([1], [2])  # what waits is shown, and does not train yet
    corrections.review(db, second.id, "rejected", "no", "ben")
    assert holding(db) == ([1], [1])
    third = pending(analysis, 2)
    corrections.review(db, third.id, "accepted", None, "ben")
    assert holding(db) == ([3], [3])


def test_a_scan_stands_once_by_its_latest_accepted_correction(
    db: Database, make_analysis: MakeAnalysis, pending: Correct
) -> None:
    facts, start = scan_facts(png(), bag_id="bag"), datetime(2026, 1, 1, tzinfo=UTC)
    first, second, third = (
        save_analysis(db, make_analysis(scan=facts, created_at=start + timedelta(hours=hour)), png())
        for hour in range(3)
    )
    (alone,) = standing.of_scans(db)
    assert (alone.analysis_id, alone.correction_id) == (third.id, None)  # without a correction the newest prediction
    assert standing.accepted(db) == []
    on_second, on_first = pending(second, 0), pending(first, 0)
    corrections.review(db, on_second.id, "accepted", None, "ben")
    ((analysis, correction),) = standing.accepted(db)
    assert (analysis.id, correction.id, correction.status) == (second.id, on_second.id, "accepted")
    corrections.review(db, on_first.id, "accepted", None, "ben")
    ((analysis, correction),) = standing.accepted(db)
    assert (analysis.id, correction.id) == (first.id, on_first.id)  # saved later, though of an older analysis


def test_documents_come_in_the_order_asked_for(
    db: Database, stored: MakeAnalysis, pending: Correct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "BATCH", 2)
    made = [stored(shade) for shade in range(5)]
    corrections.review(db, pending(made[1], 0).id, "accepted", None, "ben")
    wanted = list(reversed(standing.of_scans(db)))
    found = list(standing.documents(db, wanted))
    assert [analysis.id for analysis, _ in found] == [one.analysis_id for one in wanted]
    assert [correction is not None for _, correction in found] == [one.analysis_id == made[1].id for one in wanted]


def test_a_picture_is_held_out_once_it_is_accepted_in_a_bag_of_the_hold_out(
    db: Database, stored: MakeAnalysis, pending: Correct
) -> None:
    held, trained = stored(1, bag_id=HELD_OUT), stored(2, bag_id=TRAIN)
    first = pending(held, 0)
    corrections.review(db, pending(trained, 0).id, "accepted", None, "ben")
    assert standing.held_out_scans(db) == frozenset()
    corrections.review(db, first.id, "accepted", None, "ben")
    assert standing.held_out_scans(db) == {held.scan.id}


def test_a_test_image_never_counts(db: Database, make_analysis: MakeAnalysis, pending: Correct) -> None:
    facts = scan_facts(png(), bag_id=HELD_OUT)
    analysis = save_analysis(db, make_analysis(scan=facts), png(), truth=Truth())
    corrections.review(db, pending(analysis, 0).id, "accepted", None, "ben")
    assert (standing.of_scans(db), standing.accepted(db), standing.held_out_scans(db)) == ([], [], frozenset())
    assert holding(db)[0] == []

"""Decisions: taken back within seconds, flagged where grave, one for all views; and the queue they leave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError

from tests.conftest import MakeAnalysis
from xray_app.errors import Conflict, Forbidden, NotFound
from xray_app.store import corrections, decisions, outcomes, recent
from xray_app.store.database import Database
from xray_app.store.tables import DecisionMarkRow
from xray_app.taxonomy import Taxonomy
from xray_app.types import CorrectionIn, Risk

LOW = Risk(level="LOW", reason="no threats detected", action="CLEAR", policy="airport")


def test_a_decision_taken_back_stays_on_record_and_counts_no_more(db: Database, stored: MakeAnalysis) -> None:
    start = datetime.now(UTC)
    analysis = stored()
    kept = decisions.add(db, analysis.id, "REVIEW", None, None, "anna")
    slip = decisions.add(db, analysis.id, "SEARCH", None, None, "anna")
    decisions.withdraw(db, [slip.id], "anna")
    first, second = decisions.history(db, analysis.id)
    assert (first.withdrawn_at, second.id) == (None, slip.id)
    assert second.withdrawn_at is not None
    assert decisions.standing(db, analysis.id) == [kept]
    (done,) = recent.of_user(db, "anna", start).done
    assert done.decision == "REVIEW"
    with pytest.raises(Conflict, match="already"):
        decisions.withdraw(db, [slip.id], "anna")


def test_only_ones_own_decision_of_a_moment_ago_is_taken_back(db: Database, stored: MakeAnalysis) -> None:
    analysis = stored()
    mine = decisions.add(db, analysis.id, "REVIEW", None, None, "anna")
    theirs = decisions.add(db, analysis.id, "SEARCH", None, None, "ben")
    with pytest.raises(Forbidden):
        decisions.withdraw(db, [mine.id, theirs.id], "anna")
    with pytest.raises(NotFound):
        decisions.withdraw(db, [mine.id, "unknown"], "anna")
    with pytest.raises(Conflict, match="too late"):
        decisions.withdraw(db, [mine.id], "anna", now=mine.created_at + timedelta(seconds=11))
    assert decisions.standing(db, analysis.id) == [mine, theirs], "all or none"
    decisions.withdraw(db, [mine.id], "anna", now=mine.created_at + timedelta(seconds=10))


def test_no_decision_about_a_bag_overrules_one_its_author_has_not_seen(db: Database, stored: MakeAnalysis) -> None:
    analysis = stored()
    theirs = decisions.add(db, analysis.id, "SEARCH", None, None, "ben")
    with pytest.raises(Conflict, match="ben has decided SEARCH") as refused:
        decisions.add_for_bag(db, analysis.id, "CLEAR", 3.0, None, "anna", seen=["another"])
    assert refused.value.details == {"decision": theirs.id}
    assert decisions.history(db, analysis.id) == [theirs]
    (mine,) = decisions.add_for_bag(db, analysis.id, "REVIEW", 3.0, None, "anna", seen=[theirs.id])
    with pytest.raises(Conflict, match="anna has decided REVIEW"):  # in another window of hers
        decisions.add_for_bag(db, analysis.id, "SEARCH", 3.0, None, "anna", seen=[theirs.id])
    decisions.withdraw(db, [mine.id], "anna")
    decisions.add_for_bag(db, analysis.id, "SEARCH", 3.0, None, "anna", seen=[mine.id])  # and so knew of ben's too


def test_marks_are_never_removed(db: Database, stored: MakeAnalysis) -> None:
    decision = decisions.add(db, stored().id, "REVIEW", None, None, "anna")
    decisions.withdraw(db, [decision.id], "anna")
    with pytest.raises(DBAPIError, match="append-only"), db.write() as session:
        session.execute(delete(DecisionMarkRow))


def test_clearing_a_high_bag_is_flagged_until_a_supervisor_has_seen_it(db: Database, stored: MakeAnalysis) -> None:
    high, low = stored(shade=1), stored(shade=2, risk=LOW)
    assert decisions.add(db, high.id, "CLEAR", None, "cutlery", "anna").flagged
    assert not decisions.add(db, low.id, "CLEAR", None, None, "anna").flagged
    assert not decisions.add(db, high.id, "SEARCH", None, None, "anna").flagged
    assert [one.analysis for one in recent.flagged(db, "root")] == [high]
    assert recent.flagged(db, "anna") == [], "nobody supervises their own"
    with pytest.raises(Conflict):
        decisions.see(db, high.id, "anna")
    decisions.see(db, high.id, "root")
    assert recent.flagged(db, "root") == []
    with pytest.raises(Conflict):
        decisions.see(db, high.id, "root")
    slip = decisions.add(db, high.id, "CLEAR", None, "oh", "anna")
    decisions.withdraw(db, [slip.id], "anna")
    assert recent.flagged(db, "root") == []


def test_what_was_left_undecided_waits_however_old(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    now = datetime.now(UTC)
    days = [stored(shade=shade, created_at=now - timedelta(days=shade)) for shade in range(5)]
    decisions.add(db, days[1].id, "CLEAR", None, "cutlery", "anna")
    corrections.add(db, days[2].id, CorrectionIn(items=(), boxes=()), "ben", taxonomy, False)
    stored(shade=9, by="ben", created_at=now - timedelta(days=1))
    left, in_all = recent.left_over(db, "anna", now - timedelta(hours=12), limit=1)
    assert [(one.analysis, one.decision) for one in left] == [(days[3], None)]
    assert in_all == 2
    decisions.add(db, days[3].id, "SEARCH", None, None, "ben")
    assert [one.analysis for one in recent.left_over(db, "anna", now - timedelta(hours=12))[0]] == [days[4]]


def test_a_bag_is_decided_with_all_its_views(db: Database, stored: MakeAnalysis) -> None:
    older, top = stored(shade=1, bag_id="bag 7", risk=LOW), stored(shade=1, bag_id="bag 7", risk=LOW)
    side, other = stored(shade=2, bag_id="bag 7"), stored(shade=3, bag_id="bag 8")
    first, second, third = decisions.add_for_bag(db, top.id, "CLEAR", 4.5, "why", "anna")
    assert (first.analysis_id, first.seconds, second.analysis_id, second.seconds) == (top.id, 4.5, side.id, None)
    assert first.flagged, "another view of the bag is HIGH"
    assert third.analysis_id == older.id, "an earlier analysis waits no more"
    assert decisions.history(db, other.id) == []
    again = decisions.add_for_bag(db, top.id, "SEARCH", 2.0, None, "anna")
    assert [one.analysis_id for one in again] == [top.id, side.id]


def test_the_queue_of_one_person(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    start = datetime.now(UTC)
    first, second, third = stored(shade=1), stored(shade=2), stored(shade=3)
    stored(shade=4, by="ben")
    decisions.add(db, first.id, "REVIEW", None, None, "anna")
    decisions.add(db, first.id, "SEARCH", None, None, "ben")
    shift = recent.of_user(db, "anna", start)
    assert [one.analysis for one in shift.waiting] == [second, third]
    assert [(one.analysis, one.decision) for one in shift.searching] == [(first, "SEARCH")]
    assert shift.done == []
    outcomes.add(db, first.id, (), None, "anna", taxonomy)
    shift = recent.of_user(db, "anna", start, limit=1)
    assert shift.searching == []
    assert [one.analysis for one in shift.done] == [first]
    assert [one.analysis for one in shift.waiting] == [second], "the oldest come first, however many wait"
    assert shift.waiting_in_all == 2
    assert recent.of_user(db, "anna", datetime.now(UTC)) == recent.Shift([], 0, [], [])

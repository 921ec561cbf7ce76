"""Test images count for nothing, blind scans for nothing before they are decided; and how people's answers are told."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import NormalDist
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from tests.conftest import MakeAnalysis, png, save_analysis, scan_facts
from training.data.samples import from_corrections
from xray_app.errors import Conflict, NotFound
from xray_app.exchange.export import Filter as ExportFilter
from xray_app.exchange.export import select_scans
from xray_app.scan.appearance import appearance_of
from xray_app.scan.read import Limits, read_scan
from xray_app.store import (
    analyses,
    corrections,
    decisions,
    double_readings,
    outcomes,
    queue,
    recent,
    reviews,
    search,
    standing,
    tip,
)
from xray_app.store.database import Database
from xray_app.store.insights import drift, reports, screeners
from xray_app.store.insights.reports import Asked
from xray_app.store.insights.screeners import Answer, BlindCount, ScreenerPerformance, d_prime
from xray_app.store.search import Filter
from xray_app.store.tables import BlindRow, TrialRow
from xray_app.store.tip import Truth
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, CorrectionBox, CorrectionIn, ItemCount

KNIFE = Truth(label="knife", xyxy=(10.0, 20.0, 110.0, 90.0))
TODAY = datetime.now(UTC).date()
ASKED = Asked(first=TODAY - timedelta(days=1), last=TODAY + timedelta(days=1))
SAID = CorrectionIn(
    items=(ItemCount(label="knife", count=1),), boxes=(CorrectionBox(label="knife", xyxy=(10.0, 20.0, 110.0, 90.0)),)
)
ALL_TABLES = (reports.traffic, reports.decisions, reports.analysts, reports.corrections)

Enter = Callable[..., Analysis]


@pytest.fixture
def enter(db: Database, make_analysis: MakeAnalysis) -> Enter:
    """Stores an analysis as a test image, or blind, or both."""

    def store(shade: int, by: str = "anna", bag_id: str | None = None, **kind: Any) -> Analysis:
        content = png(shade)
        facts = scan_facts(content) if bag_id is None else scan_facts(content, bag_id=bag_id)
        look = appearance_of(read_scan(content, "scan.png", Limits(10**6, 10**6)).image)
        analysis = make_analysis(scan=facts)
        return save_analysis(db, analysis, content, by, look=look, **kind)

    return store


def everything(db: Database, taxonomy: Taxonomy) -> dict[str, Any]:
    """Every listing, count, figure, export and training set there is."""
    found = reports.read(db, ASKED)
    split = from_corrections(db, taxonomy)
    return {
        "api list": analyses.page(db),
        "queue": queue.page(db),
        "standing": queue.standing(db),
        "search": search.page(db, Filter()),
        "search for knives": search.page(db, Filter(label="knife")),
        "count": search.count(db, Filter()),
        "choices": search.choices(db),
        "insights": found.all,
        "tables": [table(found) for table in ALL_TABLES],
        "detection": reports.detection(found, lambda label: label == "knife"),
        "confusion": [reports.confusion(found, of) for of in ("items", "boxes")],
        "drift": drift.read(db, TODAY),
        "export": select_scans(db, ExportFilter()),
        "of_scans": standing.of_scans(db),
        "training": split["train"],
        "hold-out": split["holdout"],
        "accepted": standing.accepted(db),
        "pending": corrections.pending(db),
        "reviews": [reviews.waiting(db, "rob"), reviews.count_own(db, "anna")],
        "double readings": double_readings.pairs(db),
        "flagged": recent.flagged(db, "rob"),
        "clear hosts": tip.clear_scans(db, "nobody"),
        "threats": tip.threat_boxes(db, ["knife"]),
    }


def test_a_test_image_changes_no_figure_and_no_listing(
    db: Database, stored: MakeAnalysis, enter: Enter, taxonomy: Taxonomy
) -> None:
    for shade in range(4):
        real = stored(shade=shade)
        decisions.add(db, real.id, "CLEAR", 2.0, "a toy", "anna")
        corrections.add(db, real.id, SAID, "anna", taxonomy, review_required=shade == 3)
    outcomes.add(db, real.id, [ItemCount(label="knife", count=1)], None, "anna", taxonomy)
    before = everything(db, taxonomy)
    assert (before["count"], before["insights"].scans, len(before["accepted"]), len(before["flagged"])) == (4, 4, 3, 4)
    for shade, truth, blind in ((10, KNIFE, False), (11, Truth(), False), (12, KNIFE, True)):
        test = enter(shade, truth=truth, blind=blind)
        for author, base in (("anna", 0), ("ben", 1)):
            sent = SAID.model_copy(update={"base_revision": base})
            saved = corrections.add(db, test.id, sent, author, taxonomy, review_required=shade == 11)
        outcomes.add(db, test.id, [ItemCount(label="knife", count=1)], None, "anna", taxonomy)
        decisions.add_for_bag(db, test.id, "CLEAR", 3.0, "nothing there", "anna")
        if shade == 11:
            corrections.review(db, saved.id, "rejected", "no", "rob")
    after = everything(db, taxonomy)
    for name, value in before.items():
        assert after[name] == value, name
    with pytest.raises(NotFound):
        queue.take(db, test.id, "rob")


def test_a_bag_with_a_box_of_a_threat_is_not_taken_for_clear(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    clear, drawn = stored(shade=1), stored(shade=2)
    corrections.add(db, clear.id, CorrectionIn(items=(), boxes=()), "anna", taxonomy, False)
    corrections.add(db, drawn.id, SAID.model_copy(update={"items": ()}), "anna", taxonomy, False)
    assert tip.clear_scans(db, "ben") == [clear.scan.id]


def test_a_test_image_is_in_the_queue_of_its_analyst_without_a_mark_until_it_is_answered(
    db: Database, stored: MakeAnalysis, enter: Enter
) -> None:
    real, test = stored(shade=1), enter(2, truth=KNIFE)
    since = datetime.now(UTC) - timedelta(hours=1)
    shift = recent.of_user(db, "anna", since)
    assert [one.analysis.id for one in shift.waiting] == [real.id, test.id]
    assert {one.sight for one in shift.waiting} == {tip.Sight()}
    decisions.add_for_bag(db, test.id, "SEARCH", 3.0, None, "anna")
    shift = recent.of_user(db, "anna", since)
    assert shift.searching == [], "nobody can say what a search of a test image found"
    (done,) = shift.done
    assert done.sight.test == tip.Tested(KNIFE, "hit")


@pytest.mark.parametrize(
    ("label", "decision", "result"),
    [
        ("knife", "SEARCH", "hit"), ("knife", "REVIEW", "hit"), ("knife", "CLEAR", "miss"),
        (None, "SEARCH", "false alarm"), (None, "REVIEW", "false alarm"), (None, "CLEAR", "rightly cleared"),
    ],
)  # fmt: skip
def test_what_counts_as_a_hit(label: str | None, decision: str, result: str) -> None:
    assert tip.result_of(label, decision) == result


def test_an_answer_to_a_test_image_is_final(db: Database, enter: Enter, taxonomy: Taxonomy) -> None:
    test = enter(1, truth=KNIFE)
    assert tip.sight(db, test.id).test is None, "nothing is told before the answer"
    (made,) = decisions.add_for_bag(db, test.id, "CLEAR", 3.0, "a toy", "anna")
    assert not made.flagged, "no supervisor is called because of a test"
    with pytest.raises(Conflict, match="test image"):
        decisions.withdraw(db, [made.id], "anna")
    for again in (decisions.add, decisions.add_for_bag):
        with pytest.raises(Conflict, match="test image"):
            again(db, test.id, "SEARCH", 1.0, None, "anna")
    with pytest.raises(Conflict, match="test image"):
        corrections.add(db, test.id, SAID, "anna", taxonomy, False)
    assert tip.sight(db, test.id).test == tip.Tested(KNIFE, "miss")


def test_the_truth_of_a_test_image_cannot_be_changed(db: Database, enter: Enter) -> None:
    enter(1, truth=KNIFE)
    with pytest.raises(DBAPIError, match="append-only"), db.write() as session:
        session.execute(update(TrialRow).values(label=""))


# --- blind --------------------------------------------------------------------------------------------------


def test_a_blind_scan_is_seen_nowhere_until_it_is_decided_and_counts_from_then_on(
    db: Database, stored: MakeAnalysis, enter: Enter, taxonomy: Taxonomy
) -> None:
    stored(shade=1)
    before = everything(db, taxonomy)
    hidden = enter(2, blind=True)
    first = corrections.add(db, hidden.id, SAID, "anna", taxonomy, False)
    assert everything(db, taxonomy) == before
    with pytest.raises(Conflict, match="blind"):
        analyses.get(db, hidden.id)
    assert analyses.of_bag(db, hidden.scan.bag_id) == []
    assert tip.sight(db, hidden.id).hidden

    (made,) = decisions.add_for_bag(db, hidden.id, "CLEAR", 3.0, "a toy", "anna")
    assert made.blind
    assert made.flagged, "the bag is HIGH: a supervisor is to see it, as of any other"
    assert analyses.get(db, hidden.id) == hidden
    found, _ = search.page(db, Filter(decision="CLEAR"))
    assert [(one.analysis.id, one.correction) for one in found] == [(hidden.id, "accepted")]
    assert queue.standing(db).waiting == 1, "it is corrected already"
    assert reports.read(db, ASKED).all.scans == 2
    assert [correction.id for _, correction in standing.accepted(db)] == [first.id]


def test_the_first_decision_of_a_blind_scan_stays_and_a_later_one_is_marked(db: Database, enter: Enter) -> None:
    hidden = enter(1, blind=True)
    (made,) = decisions.add_for_bag(db, hidden.id, "CLEAR", 3.0, "a toy", "anna")
    with pytest.raises(Conflict, match="first answer stays"):
        decisions.withdraw(db, [made.id], "anna")
    decisions.add_for_bag(db, hidden.id, "SEARCH", 3.0, None, "anna")
    told = [(one.decision, one.blind, one.revised) for one in decisions.standing(db, hidden.id)]
    assert told == [("CLEAR", True, False), ("SEARCH", False, True)]
    assert screeners.read(db, ASKED).blind == (BlindCount("anna", 1, 1, 0, 0, 1, 0, 0),)
    assert screeners.read(db, ASKED, "ben").blind == ()


def test_hand_searches_say_how_often_the_eye_alone_was_right(db: Database, enter: Enter, taxonomy: Taxonomy) -> None:
    for shade, decision, found in ((1, "SEARCH", 1), (2, "SEARCH", 0), (3, "SEARCH", None), (4, "CLEAR", None)):
        hidden = enter(shade, blind=True)
        decisions.add_for_bag(db, hidden.id, decision, 3.0, "a toy", "anna")
        if found is not None:
            outcomes.add(db, hidden.id, [ItemCount(label="knife", count=1)] * found, None, "anna", taxonomy)
    known = screeners.read(db, ASKED)
    assert known.blind == (BlindCount("anna", 4, 1, 0, 3, 0, 2, 1),)
    (row,) = screeners.blind(known).rows
    assert row[9:11] == (2, 1)
    assert row[11] == pytest.approx(0.5)


def test_a_decision_of_a_scan_that_was_never_blind_is_not_marked(db: Database, stored: MakeAnalysis) -> None:
    real = stored()
    decisions.add_for_bag(db, real.id, "CLEAR", 3.0, "a toy", "anna")
    decisions.add_for_bag(db, real.id, "SEARCH", 3.0, None, "anna")
    assert not any(one.blind or one.revised for one in decisions.history(db, real.id))
    assert "blind" not in decisions.history(db, real.id)[0].model_dump(), "the contract's form is as it was"


def test_views_of_a_bag_are_hidden_together(db: Database, enter: Enter) -> None:
    first, second = enter(1, bag_id="bag", blind=True), enter(2, bag_id="bag")
    assert tip.sight(db, second.id).hidden, "its boxes would tell what the first view's hold"
    made = decisions.add_for_bag(db, first.id, "SEARCH", 3.0, None, "anna")
    assert [one.blind for one in made] == [True, True]
    shown = enter(3, bag_id="bag", blind=True)
    assert not tip.sight(db, shown.id).hidden, "the bag was seen"


def test_a_blind_scan_that_nobody_decides_is_shown_after_a_shift(
    db: Database, stored: MakeAnalysis, enter: Enter
) -> None:
    hidden = enter(1, blind=True)
    with db.write() as session:
        session.execute(update(BlindRow).values(created_at=datetime.now(UTC) - tip.HIDDEN_FOR * 1.01))
    stored(shade=2)
    assert analyses.get(db, hidden.id) == hidden
    assert search.count(db, Filter()) == 2
    (made,) = decisions.add_for_bag(db, hidden.id, "CLEAR", 3.0, "a toy", "anna")
    assert not made.blind


# --- figures ------------------------------------------------------------------------------------------------


def test_answers_are_told_by_person_by_blindness_and_by_class(db: Database, enter: Enter) -> None:
    shades = iter(range(1, 100))
    told = (
        ("anna", "knife", "SEARCH", False), ("anna", "knife", "CLEAR", True), ("anna", None, "CLEAR", False),
        ("ben", "gun", "REVIEW", False), ("ben", None, "SEARCH", False),
    )  # fmt: skip
    for author, label, decision, blind in told:
        test = enter(next(shades), truth=Truth(label=label, xyxy=KNIFE.xyxy if label else None), blind=blind)
        decisions.add_for_bag(db, test.id, decision, 3.0, "a note", author)
    unanswered = enter(next(shades), truth=KNIFE)
    found = screeners.read(db, ASKED)
    assert [(one.analyst, one.label or None, one.decision, one.blind) for one in found.answers] == list(told)
    table = screeners.by_analyst(found)
    places = [table.columns.index(name) for name in ("threat bags", "hits", "clear bags", "false alarms")]
    assert {(row[0], row[1]): tuple(row[place] for place in places) for row in table.rows} == {
        ("everybody", "all"): (3, 2, 2, 1),
        ("everybody", "models shown"): (2, 2, 2, 1),
        ("everybody", "blind"): (1, 0, 0, 0),
        ("anna", "all"): (2, 1, 1, 0),
        ("anna", "models shown"): (1, 1, 1, 0),
        ("anna", "blind"): (1, 0, 0, 0),
        ("ben", "all"): (1, 1, 1, 1),
    }
    classes = screeners.by_class(screeners.read(db, ASKED, "ben"))
    assert [row[:4] for row in classes.rows] == [("ben", "gun", 1, 1)]
    assert found.blind == (), "a blind test image is no blind bag of the traffic"
    tomorrow = Asked(first=TODAY + timedelta(days=2), last=TODAY + timedelta(days=3))
    assert screeners.read(db, tomorrow).answers == ()
    assert screeners.read(db, ASKED.model_copy(update={"scanner": "lane 9"})).answers == ()
    assert tip.sight(db, unanswered.id) == tip.Sight()


def test_d_prime_is_finite_at_the_extremes_and_as_in_hautus() -> None:
    value, low, high = d_prime(10, 10, 0, 10)
    # (10 + 0.5) / 11 and 0.5 / 11: z is 1.6906 either way.
    assert value == pytest.approx(3.381, abs=0.001)
    assert low < value < high
    assert d_prime(5, 10, 5, 10)[0] == 0
    assert d_prime(3, 5, 0, 0) == (None, None, None)


def test_the_interval_of_d_prime_holds_the_truth_as_often_as_it_says() -> None:
    rng, normal, n = random.Random(7), NormalDist(), 80
    hit, alarm = normal.cdf(0.9), normal.cdf(-0.9)  # d′ = 1.8
    held = 0
    for _ in range(1000):
        hits = sum(rng.random() < hit for _ in range(n))
        alarms = sum(rng.random() < alarm for _ in range(n))
        _, low, high = d_prime(hits, n, alarms, n)
        held += low <= 1.8 <= high
    assert 0.93 <= held / 1000 <= 0.98


def test_the_bias_says_who_lets_bags_go() -> None:
    def of(threat: str, clear: str) -> Any:
        answers = [Answer("anna", "knife", threat, False)] * 9 + [Answer("anna", "", clear, False)] * 9
        (row,) = screeners.by_analyst(ScreenerPerformance(tuple(answers), ())).rows
        return row[-1]

    assert of("CLEAR", "CLEAR") > 1
    assert of("SEARCH", "SEARCH") < -1
    assert of("SEARCH", "CLEAR") == pytest.approx(0)

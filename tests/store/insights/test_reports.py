"""The sums and what is said of them: counted by hand on small cases, and up to date after every change."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tests.conftest import MakeAnalysis, png, save_analysis, scan_facts
from training.evaluation.bag_table import ScanOutcome
from training.evaluation.confusion import Confusion
from xray_app.exchange.csv_text import csv_text
from xray_app.scan.appearance import Appearance
from xray_app.store import corrections, decisions, known_truths, outcomes
from xray_app.store.database import Database
from xray_app.store.fact_tables import StaleDayRow
from xray_app.store.insights import daily_sums, drift, reports
from xray_app.store.insights.reports import Asked, Insights, Table
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, CorrectionBox, CorrectionIn, ItemCount, Risk

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = NOON.date()
LOW = Risk(level="LOW", reason="-", action="REVIEW", policy="airport")


def read(db: Database, days: int = 7, **asked: str) -> Insights:
    return reports.read(db, Asked(first=DAY - timedelta(days=days), last=DAY + timedelta(days=days), **asked))


def rows(table: Table, *columns: str) -> list[tuple[object, ...]]:
    places = [table.columns.index(name) for name in columns]
    return [tuple(row[place] for place in places) for row in table.rows]


def found(db: Database, analysis: Analysis, taxonomy: Taxonomy, *labels: str) -> None:
    outcomes.add(db, analysis.id, [ItemCount(label=label, count=1) for label in labels], None, "ana", taxonomy)


def test_scans_that_keep_coming_in_do_not_keep_the_reader(
    db: Database, stored: MakeAnalysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shade in range(2):
        stored(shade=shade, created_at=NOON + timedelta(days=shade))
    made: list[date] = []

    def while_one_comes_in(session: Session, day: date) -> dict[daily_sums.Cell, daily_sums.Figures]:
        assert len(made) < 10, "it would go on for ever"
        made.append(day)
        session.merge(StaleDayRow(day=day))
        return {}

    monkeypatch.setattr(daily_sums, "of_day", while_one_comes_in)
    daily_sums.bring_up_to_date(db)
    assert made == [DAY + timedelta(days=1), DAY], "each once; what came in meanwhile is for the next reader"


def is_threat(label: str) -> bool:
    return label in ("knife", "dagger")


def test_traffic_and_decisions(db: Database, stored: MakeAnalysis) -> None:
    first, second = stored(shade=1, created_at=NOON), stored(shade=2, created_at=NOON, risk=LOW)
    stored(shade=3, created_at=NOON + timedelta(days=1))
    decisions.add(db, first.id, "REVIEW", 3.0, None, "ana")
    decisions.add(db, first.id, "SEARCH", 9.5, None, "ben")
    decisions.add(db, second.id, "CLEAR", 4.0, None, "ben")
    told = read(db, days=1)
    table = reports.traffic(told)
    assert rows(table, "day", "scans", "HIGH", "MEDIUM", "LOW", "decided", "searched", "median seconds") == [
        ("2026-11-19", 0, 0, 0, 0, 0, 0, None),
        ("2026-11-20", 2, 1, 0, 1, 2, 1, 4),
        ("2026-11-21", 1, 1, 0, 0, 0, 0, None),
    ]
    assert rows(table, "busiest hour (UTC)", "scans in that hour")[1] == ("12:00", 2)
    assert reports.decisions(told).rows == (("HIGH", 0, 0, 1, 1), ("MEDIUM", 0, 0, 0, 0), ("LOW", 1, 0, 0, 0))
    assert reports.analysts(told).rows == (("ben", 2),)


def test_the_sums_are_never_behind(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    analysis = stored(created_at=NOON)
    assert reports.decisions(read(db)).rows[0] == ("HIGH", 0, 0, 0, 1)
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(StaleDayRow)) == 0
    decisions.add(db, analysis.id, "SEARCH", None, None, "ana")
    assert reports.decisions(read(db)).rows[0] == ("HIGH", 0, 0, 1, 0)
    found(db, analysis, taxonomy, "knife")
    assert read(db).all.bags[0].found == ("knife",)
    sent = CorrectionIn(items=(ItemCount(label="knife", count=1),), boxes=())
    correction = corrections.add(db, analysis.id, sent, "ana", taxonomy, True)
    assert read(db).all.corrected == 0
    corrections.review(db, correction.id, "accepted", None, "ben")
    assert read(db).all.corrected == 1


def test_kept_sums_equal_sums_made_at_once(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    """After any order of events, read in between or not, the sums are those of the rows."""
    draws = random.Random(3)
    made: list[Analysis] = []
    for step in range(60):
        if not made or draws.random() < 0.4:
            moment = NOON + timedelta(days=draws.randrange(3))
            made.append(stored(shade=step, bag_id=f"bag {draws.randrange(12)}", created_at=moment))
        one = draws.choice(made)
        happening = draws.randrange(3)
        if happening == 0:
            decisions.add(db, one.id, draws.choice(("CLEAR", "SEARCH")), draws.random() * 20, "a note", "ana")
        elif happening == 1:
            found(db, one, taxonomy, *draws.sample(["knife", "axe"], draws.randrange(3)))
        else:
            newest = corrections.history(db, one.id)
            sent = CorrectionIn(
                items=(ItemCount(label=draws.choice(("knife", "can")), count=1),), boxes=(), base_revision=len(newest)
            )
            corrections.add(db, one.id, sent, "ana", taxonomy, False)
        if draws.random() < 0.3:
            read(db)
    kept = {(day, scanner, adapter): part for day, scanner, adapter, part in daily_sums.read(db, date.min, date.max)}
    with db.read() as session:
        for day in {day for day, *_ in kept}:
            for (scanner, adapter), part in daily_sums.of_day(session, day).items():
                assert kept[day, scanner, adapter] == part
    assert sum(part.scans for part in kept.values()) == len(made)


# --- corrections ------------------------------------------------------------------------------------------


def test_correction_rates_leave_out_what_nobody_looked_for(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    # Predicted: one knife (box b1), two plastic bottles.
    sent = CorrectionIn(
        items=(ItemCount(label="dagger", count=1),),
        boxes=(CorrectionBox(id="b1", label="dagger", xyxy=(10, 20, 110, 90)),),
        labelled_classes=("knife", "dagger"),
    )
    corrections.add(db, stored(shade=1, created_at=NOON).id, sent, "ana", taxonomy, False)
    same = CorrectionIn(
        items=(ItemCount(label="knife", count=1), ItemCount(label="plastic bottle", count=3)),
        boxes=(CorrectionBox(id="b1", label="knife", xyxy=(10, 20, 110, 90)),),
    )
    corrections.add(db, stored(shade=2, created_at=NOON).id, same, "ana", taxonomy, False)
    told = read(db)
    by_class = {row[1]: row[2:] for row in reports.corrections_by_adapter(told).rows}
    assert by_class["knife"][:5] == (2, 1, 0, 1, 0)  # checked, changed, missed, wrong, miscounted
    assert by_class["dagger"][:5] == (1, 1, 1, 0, 0)
    assert by_class["plastic bottle"][:5] == (1, 1, 0, 0, 1)
    assert by_class["all classes"][:2] == (4, 3)
    assert rows(reports.corrections(told), "week from", "adapter")[0] == ("2026-11-16", "base")
    assert ("dagger", "knife", 1.0) in reports.confusion(told, "boxes").rows
    assert reports.confusion(told, "items").rows[0] == ("dagger", "knife", 1.0)
    assert (told.all.corrected, told.all.confirmed) == (2, 0)


def test_confirming_is_no_change(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    analysis = stored(created_at=NOON)
    same = CorrectionIn(
        items=tuple(ItemCount(label=item.label, count=item.count) for item in analysis.report.items),
        boxes=tuple(CorrectionBox(id=box.id, label=box.label, xyxy=box.xyxy) for box in analysis.boxes),
    )
    corrections.add(db, analysis.id, same, "ana", taxonomy, False)
    told = read(db)
    assert (told.all.corrected, told.all.confirmed) == (1, 1)
    assert all(row[3] == 0 for row in reports.corrections_by_adapter(told).rows)


def test_items_are_confused_as_in_evaluation(taxonomy: Taxonomy) -> None:
    draws = random.Random(7)
    names = ["knife", "gun", "laptop", "can"]
    for _ in range(50):
        there, said = (
            {name: draws.randint(1, 3) for name in draws.sample(names, draws.randint(0, 4))} for _ in range(2)
        )
        outcome = ScanOutcome.__new__(ScanOutcome)
        object.__setattr__(outcome, "true", there)
        object.__setattr__(outcome, "said", said)
        other = Confusion.of([outcome], taxonomy)
        expected = {
            f"{row}|{column}": float(other.table[i, j])
            for i, row in enumerate(other.labels)
            for j, column in enumerate(other.labels)
            if other.table[i, j]
        }
        assert daily_sums.item_confusion(there, said) == pytest.approx(expected)


# --- detection --------------------------------------------------------------------------------------------


def test_bags_drawn_by_lot_stand_apart_from_those_searched_on_suspicion(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    for n, (lot, labels, changes) in enumerate(
        [(True, ("knife",), {"risk": LOW}), (True, ("knife",), {}), (True, (), {}), (False, ("knife",), {})]
    ):
        one = stored(shade=n + 1, bag_id=f"bag{n}", created_at=NOON, **changes)
        if lot:
            with db.write() as session:
                known_truths.draw(session, f"bag{n}")
        found(db, one, taxonomy, *labels)
    measures = {str(row[0]): row[1:3] for row in reports.detection(read(db), is_threat).rows}
    assert measures["drawn by lot: threat bags the models rated HIGH"] == (1, 2)
    assert measures["drawn by lot: no threat, rated HIGH"] == (1, 1)
    assert measures["detection: threat bags the models rated HIGH"] == (1, 1)
    assert measures["knife: found by hand, named by a model"] == (3, 3)


def test_detection_is_of_bags_with_an_outcome_each_once(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    stored(shade=1, created_at=NOON)  # HIGH, never searched: no truth
    caught = stored(shade=2, bag_id="caught", created_at=NOON, risk=LOW)
    stored(shade=3, bag_id="caught", created_at=NOON)  # its other view is HIGH
    found(db, caught, taxonomy, "knife")
    decisions.add(db, caught.id, "SEARCH", None, None, "ana")
    missed = stored(shade=4, bag_id="missed", created_at=NOON, risk=LOW)
    found(db, missed, taxonomy, "dagger", "can")
    alarm = stored(shade=5, bag_id="alarm", created_at=NOON)
    found(db, alarm, taxonomy, "dagger")
    found(db, alarm, taxonomy)  # said last: nothing after all
    clean = stored(shade=6, bag_id="clean", created_at=NOON, risk=LOW)
    found(db, clean, taxonomy, "can")
    measures = {str(row[0]): row[1:] for row in reports.detection(read(db), is_threat).rows}
    assert measures["detection: threat bags the models rated HIGH"][:3] == (1, 2, 0.5)
    assert measures["detection: threat bags people sent to search"][:2] == (1, 2)
    assert measures["false alarm: searched, no threat, rated HIGH"][:2] == (1, 2)
    assert measures["knife: found by hand, named by a model"][:2] == (1, 1)
    assert measures["dagger: found by hand, named by a model"][:2] == (0, 1)


def test_views_over_midnight_are_one_bag(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    late = stored(shade=1, bag_id="b", created_at=NOON.replace(hour=23))
    found(db, late, taxonomy, "knife")
    assert sum(bag.n for bag in read(db).all.bags) == 1
    early = stored(shade=2, bag_id="b", created_at=NOON.replace(hour=1) + timedelta(days=1))
    found(db, early, taxonomy)
    (bag,) = read(db).all.bags
    assert bag.found == ()


def test_a_later_model_does_not_answer_for_an_earlier_search(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy
) -> None:
    before = stored(shade=1, bag_id="b", created_at=NOON, risk=LOW)
    found(db, before, taxonomy, "knife")
    stored(shade=1, bag_id="b", created_at=datetime.now(UTC) + timedelta(hours=1))  # the same scan again: HIGH now
    (bag,) = read(db).all.bags
    assert bag.high is False


# hits, n, low, high: R's binom::binom.wilson, to four places
@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson(hits: int, n: int, low: float, high: float) -> None:
    share, lower, upper = reports.rate(hits, n)
    assert share == hits / n
    assert (lower, upper) == pytest.approx((low, high), abs=1e-4)


def test_no_bag_no_rate(db: Database) -> None:
    assert reports.rate(0, 0) == (None, None, None)
    assert all(row[2:] == (0, None, None, None) for row in reports.detection(read(db), is_threat).rows)


# --- filters ----------------------------------------------------------------------------------------------


def test_by_scanner_and_adapter(db: Database, make_analysis: MakeAnalysis) -> None:
    for shade, scanner in enumerate(("north", "north", "south", None)):
        facts = scan_facts(png(shade), scanner_id=scanner)
        save_analysis(db, make_analysis(scan=facts, created_at=NOON), png(shade), "ana")
    assert read(db).all.scans == 4
    assert read(db, scanner="north").all.scans == 2
    assert read(db, adapter="base").all.scans == 4
    assert read(db, adapter="nobody").all.scans == 0


@pytest.mark.parametrize(("first", "last"), [(DAY, DAY - timedelta(days=1)), (DAY, DAY + timedelta(days=800))])
def test_a_period_is_in_order_and_not_endless(first: date, last: date) -> None:
    with pytest.raises(ValueError, match="days"):
        Asked(first=first, last=last)


# --- drift ------------------------------------------------------------------------------------------------


def with_looks(db: Database, make_analysis: MakeAnalysis, start: int, n: int, when: datetime, metal: float) -> None:
    draws = random.Random(start)
    for number in range(start, start + n):
        look = Appearance(b"", draws.random() * 0.5, 0.2, min(metal + draws.random() * 0.1, 1), 0.5, "0" * 64)
        content = png(number)
        facts = scan_facts(content)
        save_analysis(db, make_analysis(scan=facts, created_at=when), content, "ana", look=look)


def test_drift_is_said_in_words_and_chance_is_not(
    db: Database, make_analysis: MakeAnalysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "REFERENCE_SCANS", 60)
    today = DAY + timedelta(days=60)
    with_looks(db, make_analysis, 0, 60, NOON, metal=0.05)
    with_looks(db, make_analysis, 1000, 20, NOON + timedelta(days=60), metal=0.4)
    few = {one.name: one.change for one in drift.read(db, today).features}
    assert few["metal (blue) share"] == "too few scans"
    with_looks(db, make_analysis, 2000, 40, NOON + timedelta(days=60), metal=0.4)
    assert drift.read(db, DAY).recent_scans == 0, "the first scans are not compared with themselves"
    moved = drift.read(db, today)
    assert (moved.reference_scans, moved.reference_until, moved.recent_scans) == (60, DAY, 60)
    assert [one.name for one in moved.alarms] == ["metal (blue) share"]
    assert (moved.alarms[0].before, moved.alarms[0].now) == ("half of them 5% to 20%", "half of them 40% to 50%")
    assert {one.name: one.change for one in moved.features}["organic (orange) share"] == "stable"


def test_stability_of_the_same_is_small_and_of_another_large() -> None:
    draws = random.Random(1)
    alarms = 0
    for _ in range(200):
        before, now = ({str(n): float(draws.randint(3, 9)) for n in range(10)} for _ in range(2))
        alarms += drift.stability(before, now) > drift.ALARM
    assert alarms < 10
    assert drift.stability({"0": 100.0, "1": 10.0}, {"0": 10.0, "1": 100.0}) > 1
    assert drift.stability({}, {"0": 1.0}) == drift.stability({"0": 5.0}, {"0": 9.0}) == 0


# --- CSV --------------------------------------------------------------------------------------------------


def test_no_csv_cell_is_a_formula() -> None:
    cells = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "knife", "a,b", 'a"b', -1.5, 0, None]
    lines = csv_text(["=heading"], [[cell] for cell in cells]).split("\r\n")
    assert lines[1:4] == ["'=1+1", "'+1", "'-1"]
    assert lines[9:13] == ["knife", '"a,b"', '"a""b"', "-1.5"]
    import csv
    import io

    read_back = [row[0] if row else "" for row in csv.reader(io.StringIO(csv_text(["x"], [[cell] for cell in cells])))]
    dangerous = [cell for cell in read_back if cell.lstrip(" ")[:1] in tuple("=+@\t\r＝")]
    assert dangerous == []

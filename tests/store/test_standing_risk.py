"""What a bag stands at by what is stored: corrections, their reviews, hand searches, several views and analyses."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, event, select, update

from tests.conftest import MakeAnalysis, png, save_analysis, scan_facts
from xray_app.errors import NeedsNote
from xray_app.store import corrections, decisions, facts, outcomes, queue, search, standing
from xray_app.store.database import Database
from xray_app.store.fact_tables import FactsRow, FoundItemRow
from xray_app.store.search import Filter
from xray_app.store.tip import Truth
from xray_app.taxonomy import Taxonomy
from xray_app.types import Analysis, Correction, CorrectionIn, ItemCount, Risk, StandingRisk

LOW = Risk(level="LOW", reason="no threats detected", action="CLEAR", policy="airport")
MEDIUM = Risk(level="MEDIUM", reason="lighter detected", action="REVIEW", policy="airport")
Say = Callable[..., Correction]


@pytest.fixture
def say(db: Database, taxonomy: Taxonomy) -> Say:
    """Saves a person's revision on top of all others: `say(analysis, "nora", "knife")`."""

    def save(analysis: Analysis, author: str, *labels: str, review: bool = False, **more: object) -> Correction:
        sent = CorrectionIn(
            items=tuple(ItemCount(label=label, count=1) for label in labels),
            boxes=(),
            base_revision=len(corrections.history(db, analysis.id)),
            **more,  # type: ignore[arg-type]
        )
        return corrections.add(db, analysis.id, sent, author, taxonomy, review)

    return save


def search_found(db: Database, taxonomy: Taxonomy, analysis: Analysis, *labels: str) -> None:
    found = [ItemCount(label=label, count=1) for label in labels]
    outcomes.add(db, analysis.id, found, None, "ana", taxonomy)


def over(db: Database, analysis: Analysis) -> tuple[str, str]:
    """Level, and by whom: what a bag stands at, which Search has stored too."""
    stands = standing.of_bag(db, analysis.scan.bag_id).over(analysis)
    assert stored_over(db, analysis) == stands
    return stands.level, stands.by


def stored_over(db: Database, analysis: Analysis) -> StandingRisk:
    with db.read() as session:
        row = session.get_one(FactsRow, analysis.id)
    return StandingRisk(
        level=row.standing_level,  # type: ignore[arg-type]
        action=row.standing_action,  # type: ignore[arg-type]
        reason=row.standing_reason,
        by=row.standing_by,
    )


def test_a_knife_that_a_person_listed_stands_over_what_the_models_said(
    db: Database, stored: MakeAnalysis, say: Say
) -> None:
    analysis = stored(risk=LOW)
    assert over(db, analysis) == ("LOW", "policy")
    say(analysis, "nora", "knife", "laptop")
    assert over(db, analysis) == ("HIGH", "nora")
    assert stored_over(db, analysis).reason == "knife, marked by nora"
    say(analysis, "nora", "laptop")  # her own word, and nobody has accepted it
    assert over(db, analysis) == ("LOW", "policy")


def test_people_never_bring_a_bag_below_the_models(db: Database, stored: MakeAnalysis, say: Say) -> None:
    analysis = stored()  # HIGH
    corrections.review(db, say(analysis, "nora", review=True).id, "accepted", None, "ben")
    assert over(db, analysis) == ("HIGH", "policy")
    restricted = stored(shade=3, risk=MEDIUM)
    say(restricted, "nora", "lighter")
    assert over(db, restricted) == ("MEDIUM", "policy")  # as bad: it was the models who said it first


@pytest.mark.parametrize("review", [True, False])
def test_lowering_anothers_word_waits_for_a_second_person_also_without_reviews(
    db: Database, stored: MakeAnalysis, say: Say, review: bool
) -> None:
    analysis = stored(risk=LOW)
    first = say(analysis, "nora", "knife", review=review)
    assert first.status == ("pending" if review else "accepted")
    lower = say(analysis, "ben", "laptop", review=review)
    assert lower.status == "pending"
    assert over(db, analysis) == ("HIGH", "nora")
    corrections.review(db, lower.id, "accepted", None, "cho")
    assert over(db, analysis) == ("LOW", "policy")


def test_a_rejected_revision_does_not_count_and_an_accepted_one_stays_under_a_pending_one(
    db: Database, stored: MakeAnalysis, say: Say
) -> None:
    analysis = stored(risk=LOW)
    corrections.review(db, say(analysis, "nora", "knife", review=True).id, "rejected", "a pen", "ben")
    assert over(db, analysis) == ("LOW", "policy")
    knife = say(analysis, "nora", "knife", review=True)
    corrections.review(db, knife.id, "accepted", None, "ben")
    mine = say(analysis, "nora", review=True)  # ben has said knife too by accepting it
    assert over(db, analysis) == ("HIGH", "nora")
    corrections.review(db, mine.id, "rejected", "it is one", "ben")
    assert over(db, analysis) == ("HIGH", "nora")


def test_what_was_accepted_as_saved_before_lowering_had_to_wait_still_lowers_nothing(
    db: Database, stored: MakeAnalysis, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = stored(risk=LOW)
    say(analysis, "nora", "knife")
    monkeypatch.setattr(corrections, "lowers", lambda *_: None)  # as the desk saved it before
    assert say(analysis, "ben").status == "accepted"
    assert over(db, analysis) == ("HIGH", "nora")


def test_a_hand_search_that_found_something_counts_and_one_that_found_nothing_lowers_nothing(
    db: Database, taxonomy: Taxonomy, stored: MakeAnalysis, say: Say
) -> None:
    analysis = stored(risk=LOW)
    search_found(db, taxonomy, analysis)
    search_found(db, taxonomy, analysis, "laptop")
    assert over(db, analysis) == ("LOW", "policy")
    search_found(db, taxonomy, analysis, "lighter")
    assert over(db, analysis) == ("MEDIUM", "ana")
    search_found(db, taxonomy, analysis, "knives")
    search_found(db, taxonomy, analysis)
    assert over(db, analysis) == ("HIGH", "ana")
    assert say(analysis, "ben").status == "accepted"  # there is nobody's opinion to ask
    assert over(db, analysis) == ("HIGH", "ana")


def test_a_bag_is_the_worst_of_its_views_and_a_view_takes_all_its_analyses(
    db: Database, make_analysis: MakeAnalysis, say: Say
) -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)

    def view(shade: int, hour: int, risk: Risk) -> Analysis:
        facts = scan_facts(png(shade), bag_id="case")
        made = make_analysis(scan=facts, risk=risk, created_at=start + timedelta(hours=hour))
        return save_analysis(db, made, png(shade))

    top, side = view(1, 0, LOW), view(2, 1, LOW)
    say(side, "nora", "knife")
    again = view(2, 2, MEDIUM)  # the side once more: she has said it of this view
    for one in (top, side, again):
        assert over(db, one) == ("HIGH", "nora")
    bag = standing.of_bag(db, "case")
    assert [bag.of_view(one).level for one in (top, side, again)] == ["LOW", "HIGH", "HIGH"]
    assert bag.worst_scan == side.scan.id
    assert say(again, "ben").status == "pending"  # her word, though of another analysis
    say(side, "nora")
    assert [over(db, one) for one in (top, side, again)] == [("MEDIUM", "policy")] * 3


def test_many_bags_take_as_many_questions_as_one(db: Database, stored: MakeAnalysis, say: Say) -> None:
    made = [stored(shade=shade, risk=LOW) for shade in range(6)]
    say(made[3], "nora", "knife")
    asked: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    one = standing.of_bags(db, [made[3].scan.bag_id])
    first = len(asked)
    found = standing.of_bags(db, [analysis.scan.bag_id for analysis in made])
    assert len(asked) - first == first
    assert [bag.risk.level for bag in found.values()] == ["LOW"] * 3 + ["HIGH"] + ["LOW"] * 2
    assert one[made[3].scan.bag_id] == found[made[3].scan.bag_id]
    assert standing.of_bags(db, ["unknown"]) == {}


def test_search_finds_by_what_stands_and_says_who_named_a_thing(
    db: Database, taxonomy: Taxonomy, stored: MakeAnalysis, say: Say
) -> None:
    analysis, other = stored(risk=LOW), stored(shade=9, risk=LOW)
    say(analysis, "nora", "gun")
    assert [one.analysis.id for one in search.page(db, Filter(risk="HIGH"))[0]] == [analysis.id]
    assert [one.analysis.id for one in search.page(db, Filter(risk="LOW"))[0]] == [other.id]
    ((found,), _) = search.page(db, Filter(label="gun", named_by="person"))
    assert found.standing.reason == "gun, marked by nora"
    assert ("gun", "person") in found.labels
    say(analysis, "ben")  # waits: the gun is still what counts
    assert [one.standing.reason for one in search.page(db, Filter(risk="HIGH"))[0]] == ["gun, marked by nora"]
    with db.read() as session:
        assert session.get_one(FactsRow, analysis.id).risk_level == "LOW"  # the models' own stays


def test_a_bag_in_which_somebody_found_more_comes_up_sooner(
    db: Database, make_analysis: MakeAnalysis, say: Say
) -> None:
    shades = range(1, 5)
    views = [
        save_analysis(db, make_analysis(scan=scan_facts(png(n), bag_id=f"case {n // 2}"), risk=LOW, id=f"{n}"), png(n))
        for n in shades
    ]
    before = {one.analysis_id: one.score for one in queue.page(db)[0]}
    say(views[1], "nora", "knife")  # of case 1, as the third
    entries = {one.analysis_id: one for one in queue.page(db)[0]}
    third = entries[views[2].id]
    assert third.score > before[third.analysis_id]
    assert "knife, marked by nora; the models said LOW" in third.reasons
    assert third.standing.level == "HIGH"
    assert entries[views[0].id].score == before[views[0].id]
    later = save_analysis(db, make_analysis(scan=scan_facts(png(7), bag_id="case 1"), risk=LOW), png(7))
    assert "knife, marked by nora; the models said LOW" in queue.get(db, later.id).reasons
    say(views[1], "nora")
    assert {one.analysis_id: one.score for one in queue.page(db)[0]}[third.analysis_id] == before[third.analysis_id]


@pytest.mark.parametrize("decide", [decisions.add, decisions.add_for_bag])
def test_clearing_a_bag_that_stands_at_high_needs_a_note(
    db: Database, stored: MakeAnalysis, say: Say, decide: Callable[..., object]
) -> None:
    analysis = stored(risk=LOW)
    decide(db, analysis.id, "CLEAR", 1.0, None, "ana")
    say(analysis, "nora", "knife")
    for note in (None, "", " \n"):
        with pytest.raises(NeedsNote) as refused:
            decide(db, analysis.id, "CLEAR", 1.0, note, "ana")
    assert refused.value.details == {
        "standing": {"level": "HIGH", "action": "SEARCH", "reason": "knife, marked by nora", "by": "nora"}
    }
    assert len(decisions.history(db, analysis.id)) == 1
    for word in ("REVIEW", "SEARCH"):
        decide(db, analysis.id, word, 1.0, None, "ana")
    decide(db, analysis.id, "CLEAR", 1.0, "a butter knife", "ana")
    first, *_, last = decisions.history(db, analysis.id)
    assert (first.flagged, last.flagged, last.note) == (False, True, "a butter knife")
    (reason,) = [words for words in queue.get(db, analysis.id).reasons if "CLEAR" in words]
    assert reason == "ana decided CLEAR; knife, marked by nora"


def test_a_test_image_asks_as_a_real_bag_does_and_a_blind_bag_tells_nothing(
    db: Database, taxonomy: Taxonomy, make_analysis: MakeAnalysis, say: Say
) -> None:
    test = save_analysis(db, make_analysis(scan=scan_facts(png(1))), png(1), truth=Truth())
    with pytest.raises(NeedsNote):
        decisions.add_for_bag(db, test.id, "CLEAR", 1.0, None, "ana")
    hidden = save_analysis(db, make_analysis(scan=scan_facts(png(2))), png(2), blind=True)
    marked = save_analysis(db, make_analysis(scan=scan_facts(png(3)), risk=LOW), png(3), blind=True)
    assert decisions.add(db, hidden.id, "CLEAR", 1.0, None, "ana").blind  # the models say HIGH: a note would tell
    say(marked, "ana", "knife")
    with pytest.raises(NeedsNote):  # what people marked is no secret
        decisions.add(db, marked.id, "CLEAR", 1.0, None, "ana")
    assert decisions.add(db, marked.id, "CLEAR", 1.0, "a toy", "ana").flagged
    assert over(db, marked) == ("HIGH", "ana")


def test_what_was_stored_before_is_worked_out_once(
    db: Database, taxonomy: Taxonomy, stored: MakeAnalysis, say: Say
) -> None:
    marked, searched, alone = (stored(shade=shade, risk=LOW) for shade in (1, 2, 3))
    say(marked, "nora", "knife")
    search_found(db, taxonomy, searched, "lighter", "laptop")
    before = {one.id: stored_over(db, one) for one in (marked, searched, alone)}
    with db.write() as session:  # as migration 0008 leaves them
        session.execute(
            update(FactsRow)
            .where(FactsRow.id.in_([marked.id, searched.id]))
            .values(standing_level=FactsRow.risk_level, standing_by="", standing_reason="", standing_action="CLEAR")
        )
        session.execute(update(FoundItemRow).values(status=""))
    assert standing.of_bag(db, searched.scan.bag_id).risk.level == "HIGH"  # not judged yet: the safe side
    facts.complete(db, taxonomy)
    assert {one.id: stored_over(db, one) for one in (marked, searched, alone)} == before
    with db.write() as session:
        session.execute(delete(FoundItemRow).where(FoundItemRow.label == "laptop"))
        session.execute(update(FoundItemRow).values(label="no class of ours", status=""))
    facts.complete(db, taxonomy)
    with db.read() as session:
        assert session.scalar(select(FoundItemRow.status)) == "prohibited"
        assert json.dumps(session.scalars(select(FactsRow.standing_by).order_by(FactsRow.standing_by)).all())

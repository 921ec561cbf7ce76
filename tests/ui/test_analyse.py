"""The Analyse tab's handlers: scans in, decisions, corrections, conflicts, outcomes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.ui.scripted import ScriptedDetector, ScriptedVlm
from xray_app.auth import Identity
from xray_app.errors import BadInput, Conflict, Forbidden, NotFound
from xray_app.services import Services
from xray_app.store import analyses, corrections, decisions, outcomes
from xray_app.types import Role
from xray_app.ui.analyse import AnalyseTab
from xray_app.ui.guard import Guard

pytestmark = pytest.mark.usefixtures("said")


@pytest.fixture
def tab(services: Services) -> AnalyseTab:
    with gr.Blocks():
        return AnalyseTab(Guard(services))


def add(tab: AnalyseTab, who: Identity, *paths: str, bag: str | None = None) -> dict[Any, Any]:
    """Adds scans where nothing is open; all values the page got, the last of each."""
    page: dict[Any, Any] = {}
    for step in tab.add_scans(who, list(paths), {"scanner": " lane 3 ", "bag": bag}):
        page |= step
    offered = page.get(tab.strip, {}).get("offer")
    return page | tab.open(who, {"current": offered}) if offered else page


@pytest.fixture
def work(tab: AnalyseTab, analyst: Identity, upload: Any) -> dict[str, Any]:
    """The viewer's value of one freshly analysed scan."""
    value: dict[str, Any] = add(tab, analyst, upload("bag.png"))[tab.viewer]
    return value


def test_several_scans_are_analysed_shown_and_stored_and_the_uploads_are_gone(
    tab: AnalyseTab, analyst: Identity, services: Services, upload: Any
) -> None:
    paths = [upload("one.png"), upload("two.png", shade=90)]
    page = add(tab, analyst, *paths, bag="bag 7")
    stored, _ = analyses.page(services.db, 10)
    assert [one.scan.filename for one in stored] == ["two.png", "one.png"]
    assert {(one.scan.bag_id, one.scan.scanner_id) for one in stored} == {("bag 7", "lane 3")}
    assert page[tab.viewer]["scan"]["filename"] == "one.png", "the first one is shown"
    assert [(item["filename"], item["views"]) for item in page[tab.strip]["items"]] == [("one.png", 2)]
    assert 'data-level="HIGH"' in page[tab.banner]
    assert page[tab.upload] is None
    assert not any(Path(path).exists() for path in paths)


def test_the_queue_is_ones_own_with_what_waits_first(tab: AnalyseTab, analyst: Identity, upload: Any) -> None:
    add(tab, Identity("somebody else", Role.ANALYST), upload("theirs.png", shade=10))
    first = add(tab, analyst, upload("one.png"), upload("two.png", shade=90))[tab.viewer]
    page = tab.decision.deciding("SEARCH")(analyst, first | {"seconds": 3.2}, "")
    queue = page[tab.strip]["items"]
    assert [(item["filename"], item["section"]) for item in queue] == [("two.png", "waiting"), ("one.png", "searching")]
    assert page[tab.viewer]["scan"]["filename"] == "two.png", "the next one waiting comes up"


def test_a_decision_keeps_time_and_note(tab: AnalyseTab, analyst: Identity, services: Services, work: Any) -> None:
    tab.decision.deciding("REVIEW")(analyst, work | {"seconds": 4.5}, " odd wiring ")
    (kept,) = decisions.history(services.db, work["analysis_id"])
    assert (kept.decision, kept.seconds, kept.note, kept.author) == ("REVIEW", 4.5, "odd wiring", "ana")


@pytest.mark.parametrize("seconds", [None, "4", -1, True, float("nan"), 1e12, [3]])
def test_a_time_that_cannot_be_is_not_kept(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any, seconds: object
) -> None:
    tab.decision.deciding("SEARCH")(analyst, work | {"seconds": seconds}, None)
    assert decisions.history(services.db, work["analysis_id"])[0].seconds is None


def test_clearing_a_high_bag_asks_first_and_needs_a_reason(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any
) -> None:
    asked = tab.decision.deciding("CLEAR")(analyst, work, "a note does not spare the question")
    assert asked[tab.decision.confirm]["visible"] is True
    assert decisions.history(services.db, work["analysis_id"]) == []
    with pytest.raises(BadInput, match="note"):
        tab.decision.clear_high(analyst, work, "  ")
    tab.decision.clear_high(analyst, work, "searched by hand before")
    assert decisions.history(services.db, work["analysis_id"])[0].decision == "CLEAR"


def test_a_low_bag_is_cleared_at_once(services: Services, analyst: Identity, upload: Any) -> None:
    services.analyser.vlm = ScriptedVlm(text="Items detected: none. Security risk: LOW - no threats detected.")
    services.analyser.detector = ScriptedDetector(found=())
    with gr.Blocks():
        tab = AnalyseTab(Guard(services))
    work = add(tab, analyst, upload("empty.png"))[tab.viewer]
    tab.decision.deciding("CLEAR")(analyst, work, None)
    assert decisions.history(services.db, work["analysis_id"])[0].decision == "CLEAR"


def test_a_bag_with_a_high_view_is_not_cleared_by_its_low_view(
    tab: AnalyseTab, services: Services, analyst: Identity, upload: Any
) -> None:
    add(tab, analyst, upload("top.png"), bag="bag 9")
    services.analyser.vlm.text = "Items detected: none. Security risk: LOW - no threats detected."
    services.analyser.detector = ScriptedDetector(found=())
    page = add(tab, analyst, upload("side.png", shade=20), bag="bag 9")
    assert 'data-level="HIGH"' in page[tab.banner]
    assert "(another view)" in page[tab.banner]
    asked = tab.decision.deciding("CLEAR")(analyst, page[tab.viewer], None)
    assert asked[tab.decision.confirm]["visible"] is True


def test_new_scans_do_not_push_away_the_one_at_hand(tab: AnalyseTab, analyst: Identity, work: Any, upload: Any) -> None:
    """Nor words typed about one that is decided: the page opens what comes in only where nothing is open."""
    steps = list(tab.add_scans(analyst, [upload("2.png", shade=3), upload("3.png", shade=4)], None))
    assert {part for step in steps for part in step} == {tab.strip, tab.upload, tab.intake}
    queued = [step[tab.strip] for step in steps if tab.strip in step]
    assert [(one["keep_current"], one["current"]) for one in queued] == [(True, None)] * 3
    assert {one["offer"] for one in queued} == {queued[-1]["items"][1]["id"]}
    assert steps[-1][tab.strip] == steps[-2][tab.strip], "the last word says the queue too: it may be all that is drawn"


def test_unsaved_edits_stay_on_the_screen_after_a_decision(tab: AnalyseTab, analyst: Identity, work: Any) -> None:
    page = tab.decision.deciding("SEARCH")(analyst, work | {"dirty": True}, None)
    assert tab.viewer not in page
    assert "SEARCH" in page[tab.banner]


EDITED = [("knife", 2), ("plastic bottle", 1), ("gun", 1)]


def edited(work: dict[str, Any]) -> dict[str, Any]:
    """The work as a browser sends it after a box was drawn, one moved, one deleted, and a count changed."""
    boxes = [dict(box) for box in work["boxes"]][:2]
    boxes[0] = boxes[0] | {"xyxy": [10, 10, 50, 50], "status": "allowed", "threat": False, "source": "model"}
    boxes.append({"id": "new-1", "label": "gun", "xyxy": [100, 20, 150, 60]})
    items = [{"label": label, "count": count} for label, count in EDITED]
    return {**work, "boxes": boxes, "items": items}


def test_a_correction_is_saved_as_the_next_revision(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any
) -> None:
    page = tab.decision.save_correction(analyst, edited(work), " two of them ", [])
    (saved,) = corrections.history(services.db, work["analysis_id"])
    assert (saved.revision, saved.author, saved.comment) == (1, "ana", "two of them")
    assert [(item.label, item.count) for item in saved.items] == EDITED
    moved = next(box for box in saved.boxes if box.id == work["boxes"][0]["id"])
    assert (moved.source, moved.xyxy, moved.threat) == ("human", (10, 10, 50, 50), True), (
        "the server says what is a threat"
    )
    assert any(box.label == "gun" and box.id != "new-1" for box in saved.boxes)
    assert page[tab.viewer]["base_revision"] == 1
    assert page[tab.viewer]["predicted"] == work["boxes"], "the prediction is kept beside it"


def test_a_box_that_the_list_does_not_name_is_settled_within_save(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any
) -> None:
    decision, others = tab.decision, [item for item in work["items"] if item["label"] != "knife"]
    lacking = {**work, "items": others}
    page = decision.save_correction(analyst, lacking, None, None, None)
    assert "The list lacks what the boxes show: 1 knife" in page[decision.conflict], "in place of a refusal"
    assert corrections.history(services.db, work["analysis_id"]) == []
    more = {**lacking, "boxes": [*work["boxes"], {**work["boxes"][0], "id": "new-1"}]}
    page = decision.save_correction(analyst, more, None, None, page[decision.agreed])
    assert "2 knife" in page[decision.conflict], "what was agreed to was another clash"
    other = {**page[decision.agreed], "analysis_id": "another"}
    assert decision.conflict in decision.save_correction(analyst, more, None, None, other)
    page = decision.save_correction(analyst, more, None, None, page[decision.agreed])
    assert (page[decision.conflict], page[decision.agreed]) == ("", None)
    (saved,) = corrections.history(services.db, work["analysis_id"])
    listed = {item.label: item.count for item in saved.items}
    assert listed.items() >= {item["label"]: item["count"] for item in others}.items(), "nothing is lowered"
    assert listed["knife"] == 2


def test_two_people_at_one_scan_overwrite_nothing(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any
) -> None:
    other = Identity("ben", Role.ANALYST)
    tab.decision.save_correction(other, {**work, "items": [{"label": "knife", "count": 3}], "boxes": []}, None, None)
    page = tab.decision.save_correction(analyst, edited(work), None, None)
    assert tab.viewer not in page, "the own edits stay on the screen"
    assert "ben" in page[tab.decision.conflict]
    assert page[tab.decision.conflict_buttons]["visible"] is True
    assert len(corrections.history(services.db, work["analysis_id"])) == 1

    seen = page[tab.decision.seen_revision]
    tab.decision.save_on_top(analyst, edited(work), None, None, None, seen)
    first, second = corrections.history(services.db, work["analysis_id"])
    assert (first.author, second.author, second.revision) == ("ben", "ana", 2)
    assert tab.decision.show_newest(other, work)[tab.viewer]["base_revision"] == 2

    # Agreeing to go on top of revision 1 is no agreement to go on top of whatever came after it.
    page = tab.decision.save_on_top(other, edited(work), None, None, None, seen)
    assert "ana" in page[tab.decision.conflict]
    assert len(corrections.history(services.db, work["analysis_id"])) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"items": [{"label": "knife", "count": -1}]},
        {"items": [{"label": "knife", "count": 10**9}]},
        {"items": [{"label": "flux capacitor", "count": 1}]},
        {"items": [{"label": ["knife"], "count": 1}]},
        {"items": "knife"},
        {"items": None},
        {"boxes": [{"id": None, "label": "knife", "xyxy": [0, 0, float("nan"), 5]}]},
        {"boxes": [{"id": None, "label": "knife", "xyxy": [50, 50, 10, 90]}]},
        {"boxes": [{"id": None, "label": "knife", "xyxy": [0, 0, 5000, 50]}]},
        {"boxes": [{"id": "of another scan", "label": "knife", "xyxy": [0, 0, 50, 50]}]},
        {"boxes": [{"label": "x" * 10_000, "xyxy": [0, 0, 50, 50]}]},
        {"boxes": [3]},
        {"boxes": [{}]},
        {"base_revision": "newest"},
        {"base_revision": -1},
        {"analysis_id": "x" * 100},
        {"analysis_id": None},
    ],
)
def test_whatever_comes_from_a_browser_is_checked(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any, change: dict[str, Any]
) -> None:
    with pytest.raises(BadInput):
        tab.decision.save_correction(analyst, {**work, **change}, None, None)
    assert corrections.history(services.db, work["analysis_id"]) == []


@pytest.mark.parametrize("value", [None, "x", 3, [], {}, {"analysis_id": "unknown", "items": [], "boxes": []}])
def test_nothing_open_is_said_so(tab: AnalyseTab, analyst: Identity, value: object) -> None:
    for act in (
        lambda: tab.decision.deciding("CLEAR")(analyst, value, None),
        lambda: tab.decision.clear_high(analyst, value, "why"),
        lambda: tab.decision.save_correction(analyst, value, None, None),
        lambda: tab.decision.save_on_top(analyst, value, None, None, None, 0),
        lambda: tab.outcome.record_nothing(analyst, value, None),
        lambda: tab.outcome.record_listed(analyst, value, None),
        lambda: tab.open_view(analyst, value),
        lambda: tab.decision.see_flagged(analyst, value),
        lambda: tab.open(analyst, value),
    ):
        with pytest.raises((BadInput, NotFound)):
            act()


def test_a_second_person_reviews(services: Services, analyst: Identity, upload: Any) -> None:
    services.settings.review = "required"
    with gr.Blocks():
        tab = AnalyseTab(Guard(services))
    work = add(tab, analyst, upload("bag.png"))[tab.viewer]
    page = tab.decision.save_correction(analyst, edited(work), None, None)
    assert page[tab.decision.review_group]["visible"] is False, "nobody reviews their own"
    annotator = Identity("nora", Role.ANNOTATOR)
    page = tab.show(annotator, work["analysis_id"])
    assert page[tab.decision.review_group]["visible"] is True
    with pytest.raises(Conflict):
        tab.decision.reviewing("accepted")(annotator, work, None)  # looks at the prediction still
    with pytest.raises(Forbidden):
        tab.decision.reviewing("accepted")(analyst, page[tab.viewer], None)
    tab.decision.reviewing("accepted")(annotator, page[tab.viewer], None)
    assert corrections.history(services.db, work["analysis_id"])[0].status == "accepted"


def test_what_the_search_found_is_recorded(tab: AnalyseTab, analyst: Identity, services: Services, work: Any) -> None:
    page = tab.outcome.record_found(analyst, work, "2 knives, 1 lighter", "in the lining")
    (kept,) = outcomes.history(services.db, work["analysis_id"])
    assert [(item.label, item.count) for item in kept.found] == [("knife", 2), ("lighter", 1)]
    assert "in the lining" in page[tab.history]


def test_the_outcome_is_asked_for_where_a_search_was_ordered(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any
) -> None:
    page = tab.decision.deciding("REVIEW")(analyst, work, None)
    assert page[tab.outcome.group]["visible"] is False
    page = tab.decision.deciding("SEARCH")(analyst, page[tab.viewer], None)
    assert page[tab.outcome.group]["visible"] is True
    assert "What did the hand search find?" in page[tab.outcome.question]
    page = tab.outcome.record_listed(analyst, work, None)
    (kept,) = outcomes.history(services.db, work["analysis_id"])
    assert [(item.label, item.count) for item in kept.found] == [("knife", 1)], "bottles and laptops are no finds"
    assert "The search found <b>1 knife</b>" in page[tab.outcome.question]
    assert [item["section"] for item in page[tab.strip]["items"]] == ["done"]
    with pytest.raises(BadInput, match="nothing"):
        tab.outcome.record_listed(analyst, work | {"items": []}, None)


def test_a_decision_is_taken_back_within_seconds(
    tab: AnalyseTab, analyst: Identity, services: Services, upload: Any
) -> None:
    first = add(tab, analyst, upload("one.png"), upload("two.png", shade=90))[tab.viewer]
    page = tab.decision.deciding("SEARCH")(analyst, first, None)
    assert "data-undo" in page[tab.decision.said]
    assert page[tab.viewer]["scan"]["filename"] == "two.png"
    page = tab.decision.undo_decision(analyst, page[tab.decision.made])
    assert page[tab.viewer]["analysis_id"] == first["analysis_id"]
    assert "Decided" not in page[tab.banner]
    assert "taken back" in page[tab.history]
    assert decisions.standing(services.db, first["analysis_id"]) == []
    for forged in ([], None, ["unknown"], [3], "x"):
        with pytest.raises((BadInput, NotFound)):
            tab.decision.undo_decision(analyst, forged)


def test_a_double_click_decides_and_saves_once(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any
) -> None:
    for _ in range(2):
        tab.decision.deciding("SEARCH")(analyst, work, None)
    assert len(decisions.history(services.db, work["analysis_id"])) == 1
    for _ in range(2):
        page = tab.decision.save_correction(analyst, edited(work), None, None)
    assert page[tab.viewer]["base_revision"] == 1
    tab.decision.save_correction(analyst, page[tab.viewer], None, None)  # the second click, after the answer
    assert len(corrections.history(services.db, work["analysis_id"])) == 1
    page = tab.decision.save_correction(analyst, edited(work) | {"items": [], "boxes": []}, None, None)
    assert "ana" in page[tab.decision.conflict], "another correction of one's own from another tab is a conflict"


def test_a_supervisor_sees_that_a_high_bag_was_cleared(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any
) -> None:
    tab.decision.clear_high(analyst, work, "cutlery <b>")
    supervisor = Identity("nora", Role.ANNOTATOR)
    assert [item["section"] for item in tab.queue(analyst, None)["items"]] == ["done"]
    assert [item["section"] for item in tab.queue(supervisor, None)["items"]] == ["flagged"]
    page = tab.show(supervisor, work["analysis_id"])
    assert page[tab.decision.flagged]["visible"] is True
    assert "cutlery &lt;b&gt;" in page[tab.decision.flag]
    page = tab.decision.see_flagged(supervisor, page[tab.viewer])
    assert page[tab.decision.flagged]["visible"] is False
    assert tab.queue(supervisor, None)["items"] == []


def test_after_the_shift_what_nobody_decided_or_saw_is_still_there(
    tab: AnalyseTab, analyst: Identity, upload: Any, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab.decision.clear_high(analyst, work, "cutlery")
    supervisor = Identity("nora", Role.ANNOTATOR)
    add(tab, analyst, upload("left.png", shade=20))
    add(tab, supervisor, upload("own.png", shade=30))
    monkeypatch.setattr("xray_app.ui.analyse.SHIFT", timedelta(0))
    told = tab.queue(analyst, None)
    assert ([item["filename"] for item in told["items"]], told["waiting"]) == (["left.png"], 1)
    told = tab.queue(supervisor, None)
    assert [item["section"] for item in told["items"]] == ["flagged", "waiting"]
    page = tab.show(supervisor, work["analysis_id"])
    assert page[tab.decision.flagged]["visible"] is True


def test_views_of_a_bag_share_a_tile_and_a_decision(
    tab: AnalyseTab, analyst: Identity, services: Services, upload: Any
) -> None:
    page = add(tab, analyst, upload("top.png"), upload("side.png", shade=20), bag="bag 9")
    work = page[tab.viewer]
    (tile,) = page[tab.strip]["items"]
    assert (tile["views"], len(tile["ids"])) == (2, 2)
    page = tab.show(analyst, work["analysis_id"])
    (other,) = page[tab.viewer]["views"]
    assert other["name"] == "side.png"
    assert other["boxes"]
    page = tab.open_view(analyst, work | {"open_view": other["analysis_id"]})
    assert page[tab.viewer]["analysis_id"] == other["analysis_id"]
    assert not {tab.decision.note, tab.decision.confirm} & page.keys(), "what was typed about the bag stays"
    elsewhere = add(tab, analyst, upload("of another bag.png", shade=70))[tab.viewer]
    page = tab.open_view(analyst, elsewhere | {"open_view": other["analysis_id"]})
    assert page[tab.decision.note] == ""
    page = tab.decision.deciding("SEARCH")(analyst, work | {"seconds": 3.0}, None)
    assert "all views" in page[tab.decision.said]
    for one, seconds in ((work["analysis_id"], 3.0), (other["analysis_id"], None)):
        (decision,) = decisions.history(services.db, one)
        assert (decision.decision, decision.seconds) == ("SEARCH", seconds)
    tab.decision.undo_decision(analyst, page[tab.decision.made])
    assert decisions.standing(services.db, other["analysis_id"]) == []

"""What a person found is the one verdict on the screen: banner, strip, views, Search, Annotate, and the question."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from tests.ui.scripted import ScriptedDetector, ScriptedVlm
from tests.ui.test_analyse import add
from xray_app.auth import Identity
from xray_app.html.queue_tiles import BLIND
from xray_app.html.review import facts, waiting_list
from xray_app.services import Services
from xray_app.store import corrections, decisions, outcomes, queue, reviews, search
from xray_app.store.search import Filter
from xray_app.types import CorrectionIn, ItemCount, Role
from xray_app.ui.analyse import AnalyseTab
from xray_app.ui.annotate import AnnotateTab
from xray_app.ui.guard import Guard
from xray_app.ui.search import _tile

pytestmark = pytest.mark.usefixtures("said")


@pytest.fixture
def tab(services: Services) -> AnalyseTab:
    """Analyse, with models that see nothing."""
    services.analyser.vlm = ScriptedVlm(text="Items detected: none. Security risk: LOW - no threats detected.")
    services.analyser.detector = ScriptedDetector(found=())
    with gr.Blocks():
        return AnalyseTab(Guard(services))


def mark(services: Services, analysis_id: str, author: str, *labels: str, review: bool = False) -> str:
    sent = CorrectionIn(
        items=tuple(ItemCount(label=label, count=1) for label in labels),
        boxes=(),
        base_revision=len(corrections.history(services.db, analysis_id)),
    )
    return corrections.add(services.db, analysis_id, sent, author, services.taxonomy, review).id


def test_a_knife_that_a_colleague_marks_is_the_verdict_and_clearing_asks(
    tab: AnalyseTab, services: Services, analyst: Identity, upload: Any
) -> None:
    page = add(tab, analyst, upload("bag.png"))
    work = page[tab.viewer]
    assert 'data-level="LOW"' in page[tab.banner]
    mark(services, work["analysis_id"], "nora", "knife")
    # The page still shows LOW: the question comes with the verdict.
    asked = tab.decision.deciding("CLEAR")(analyst, work, None)
    assert asked[tab.decision.confirm]["visible"] is True
    assert "This bag stands at HIGH: knife, marked by nora" in asked[tab.decision.question]
    assert 'data-level="HIGH" data-by="nora"' in asked[tab.banner]
    assert decisions.history(services.db, work["analysis_id"]) == []
    shown = tab.show(analyst, work["analysis_id"])
    assert 'data-level="HIGH"' in shown[tab.banner]
    assert "“LOW” is the VLM’s own word" in shown[tab.opinions]
    (tile,) = shown[tab.strip]["items"]
    assert (tile["level"], tile["by"], tile["reason"]) == ("HIGH", "nora", "knife, marked by nora")
    cleared = tab.decision.clear_high(analyst, shown[tab.viewer], "a butter knife")
    assert "Cleared" not in cleared
    (decision,) = decisions.history(services.db, work["analysis_id"])
    assert (decision.decision, decision.flagged) == ("CLEAR", True)


def test_one_who_marks_it_between_question_and_answer_is_heard(
    tab: AnalyseTab, services: Services, analyst: Identity, upload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = add(tab, analyst, upload("bag.png"))[tab.viewer]
    add_for_bag = decisions.add_for_bag

    def late(*told: Any, **more: Any) -> Any:
        mark(services, work["analysis_id"], "nora", "gun")
        return add_for_bag(*told, **more)

    monkeypatch.setattr(decisions, "add_for_bag", late)
    asked = tab.decision.deciding("CLEAR")(analyst, work, None)
    assert asked[tab.decision.confirm]["visible"] is True
    assert "gun, marked by nora" in asked[tab.decision.question]
    assert decisions.history(services.db, work["analysis_id"]) == []


def test_every_view_of_the_bag_shows_the_bags_verdict_and_its_tile_opens_the_marked_one(
    tab: AnalyseTab, services: Services, analyst: Identity, upload: Any
) -> None:
    add(tab, analyst, upload("other.png", shade=9))
    top = add(tab, analyst, upload("top.png"), bag="case")[tab.viewer]
    side = add(tab, analyst, upload("side.png", shade=70), bag="case")[tab.viewer]
    assert [item["filename"] for item in tab.queue(analyst, None)["items"]] == ["other.png", "top.png"]
    mark(services, side["analysis_id"], "nora", "knife")
    shown = tab.show(analyst, top["analysis_id"])
    assert 'data-level="HIGH"' in shown[tab.banner]
    assert "Knife, marked by nora (another view)" in shown[tab.banner]
    assert [view["level"] for view in shown[tab.viewer]["views"]] == ["HIGH"]
    # A bag in which somebody found a threat does not wait for its turn.
    items = shown[tab.strip]["items"]
    assert [(item["filename"], item["level"]) for item in items] == [("side.png", "HIGH"), ("other.png", "LOW")]
    mark(services, side["analysis_id"], "nora")
    assert [item["filename"] for item in tab.queue(analyst, None)["items"]] == ["other.png", "top.png"]


def test_a_search_that_found_nothing_closes_the_bag_and_leaves_it_high(
    tab: AnalyseTab, services: Services, analyst: Identity, upload: Any
) -> None:
    work = add(tab, analyst, upload("bag.png"))[tab.viewer]
    mark(services, work["analysis_id"], "nora", "knife")
    tab.decision.deciding("SEARCH")(analyst, work, None)
    outcomes.add(services.db, work["analysis_id"], [], None, "ana", services.taxonomy)
    (tile,) = tab.queue(analyst, None)["items"]
    assert (tile["section"], tile["level"]) == ("done", "HIGH")


def test_search_says_who_named_what(tab: AnalyseTab, services: Services, analyst: Identity, upload: Any) -> None:
    services.analyser.vlm = ScriptedVlm()
    services.analyser.detector = ScriptedDetector()
    analysis_id = add(tab, analyst, upload("bag.png"))[tab.viewer]["analysis_id"]
    mark(services, analysis_id, "nora", "knife", "gun")
    outcomes.add(services.db, analysis_id, [ItemCount(label="gun", count=1)], None, "ana", services.taxonomy)
    ((found,), _) = search.page(services.db, Filter())
    by = {one["label"]: one["by"] for one in _tile(found, services.taxonomy)["labels"]}
    assert by == {
        "knife": "both models + person", "gun": "person + hand search", "scissors": "detector",
        "plastic bottle": "both models", "laptop": "VLM",
    }  # fmt: skip
    assert _tile(found, services.taxonomy)["models"] == "HIGH"


def test_annotate_and_review_show_the_verdict_too(
    tab: AnalyseTab, services: Services, analyst: Identity, upload: Any
) -> None:
    top = add(tab, analyst, upload("top.png"), bag="case")[tab.viewer]["analysis_id"]
    side = add(tab, analyst, upload("side.png", shade=70), bag="case")[tab.viewer]["analysis_id"]
    mark(services, side, "nora", "knife")
    lower = mark(services, side, "ben", "laptop")
    annotator = Identity("cho", Role.ANNOTATOR)
    with gr.Blocks(), gr.Tab() as place:
        annotate = AnnotateTab(Guard(services), place)
    shown = annotate.open(annotator, top)
    assert '<b class="level high">HIGH</b>' in shown[annotate.why]
    assert "The models’ own of this view: LOW" in shown[annotate.why]
    assert [item["level"] for item in shown[annotate.list]["items"]] == ["HIGH"]
    waiting = reviews.waiting(services.db, "cho")
    assert [one.correction.id for one in waiting] == [lower]
    assert [item["level"] for item in waiting_list(waiting, None)["items"]] == ["HIGH"]
    assert "HIGH: knife, marked by nora" in facts(waiting[0], [])
    assert queue.get(services.db, top).risk_level == "LOW"


def test_a_blind_bag_says_nothing_but_asks_for_what_people_marked(
    services: Services, analyst: Identity, upload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(services.test_images), "draw_blind", lambda self: True)
    with gr.Blocks():
        tab = AnalyseTab(Guard(services))
    page = add(tab, analyst, upload("bag.png"))
    work = page[tab.viewer]
    mark(services, work["analysis_id"], "ana", "gun")
    (tile,) = tab.queue(analyst, None)["items"]
    assert (tile["level"], tile["reason"], tile["by"]) == (BLIND, "", None)
    asked = tab.decision.deciding("CLEAR")(analyst, work, None)
    assert "gun, marked by ana" in asked[tab.decision.question]
    assert tab.banner not in asked

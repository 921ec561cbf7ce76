"""The desk under a person's hands: keys, mouse, two people at once, hostile words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Desk, Open
from tests.ui.scripted import ScriptedDetector
from xray_app.settings import ASSETS
from xray_app.store import analyses, corrections, decisions
from xray_app.types import CorrectionIn

KNIFE = ASSETS / "samples" / "knife.jpg"
GUN = ASSETS / "samples" / "gun.jpg"


def add(page: Any, *files: Path) -> None:
    """Adds scans and waits until the first is shown and all are in the queue."""
    before = page.locator("#strip .tile").count()
    page.set_input_files("#upload input[type=file]", [str(file) for file in files])
    page.wait_for_function(
        "count => document.querySelectorAll('#strip .tile').length >= count", arg=before + len(files)
    )
    page.wait_for_function("xrayDesk.work !== null")
    picture_loaded(page)


def picture_loaded(page: Any) -> None:
    page.wait_for_function(
        """async () => { const url = document.querySelector('svg.scan image').getAttribute('href');
        const answer = await fetch(url);
        return answer.ok && answer.headers.get('content-type').startsWith('image/'); }"""
    )


def at(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a point of the picture (in fractions of it) is on the screen."""
    spot = page.evaluate(
        """([x, y]) => { const svg = document.querySelector('svg.scan'), scan = xrayDesk.work.scan;
        const at = new DOMPoint(x * scan.width, y * scan.height).matrixTransform(svg.getScreenCTM());
        return [at.x, at.y]; }""",
        [x, y],
    )
    return spot[0], spot[1]


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=6)
    page.mouse.up()


def boxes(page: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("xrayDesk.work.boxes")
    return found


def draw(page: Any, label: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    drag(page, start, end)
    page.wait_for_selector(".relabel:not([hidden])")
    page.mouse.move(*at(page, 0.5, 0.5))  # a hand on the mouse does not keep still while the other types
    page.keyboard.type(label)
    page.keyboard.press("Enter")


@pytest.fixture
def page(scripted: Desk, open_desk: Open) -> Any:
    opened = open_desk(scripted.url, "ana")
    add(opened, KNIFE)
    return opened


def test_the_risk_is_there_at_one_glance_and_nothing_needs_scrolling(page: Any) -> None:
    level = page.locator("#banner .risk-word")
    assert level.inner_text() == "HIGH"
    assert level.evaluate("node => parseFloat(getComputedStyle(node).fontSize)") >= 48
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "the page itself never scrolls"
    for seen in ("#decide-search", "#save-correction", "#viewer .toolbar", ".agreement.differ", ".demo"):
        frame = page.locator(seen).bounding_box()
        assert frame is not None, seen
        assert frame["y"] >= 0, seen
        assert frame["y"] + frame["height"] <= 768, seen
    assert "Items detected: 1 knife (threat)" in page.locator(".words blockquote").inner_text()


def test_boxes_are_drawn_moved_resized_relabelled_deleted_and_undone(page: Any) -> None:
    ids = [box["id"] for box in boxes(page)]
    draw(page, "gu", (0.55, 0.6), (0.75, 0.8))
    drawn = boxes(page)[-1]
    assert (drawn["label"], drawn["status"], drawn["source"]) == ("gun", "prohibited", "human")

    drag(page, (0.65, 0.7), (0.7, 0.75))  # from inside: the chosen box moves
    moved = boxes(page)[-1]
    assert moved["id"] == drawn["id"]
    assert moved["xyxy"][0] > drawn["xyxy"][0]
    page.keyboard.press("ArrowLeft")
    assert boxes(page)[-1]["xyxy"][0] == pytest.approx(moved["xyxy"][0] - 1)

    scan = page.evaluate("xrayDesk.work.scan")
    x1, y1 = boxes(page)[-1]["xyxy"][2:]
    drag(page, (x1 / scan["width"], y1 / scan["height"]), (0.9, 0.95))  # its lower right handle
    assert boxes(page)[-1]["xyxy"][2] == pytest.approx(0.9 * scan["width"], abs=2)

    page.keyboard.press("Enter")
    page.keyboard.type("axe")
    page.keyboard.press("Enter")
    assert boxes(page)[-1]["label"] == "axe"
    page.keyboard.press("Delete")
    assert [box["id"] for box in boxes(page)] == ids
    for _ in range(6):
        page.keyboard.press("Control+z")
    assert [box["id"] for box in boxes(page)] == ids
    assert page.locator(".unsaved").is_hidden()
    page.keyboard.press("Control+y")
    assert boxes(page)[-1]["label"] == "gun"
    assert page.locator(".unsaved").is_visible()


def test_a_box_never_leaves_the_picture(page: Any) -> None:
    draw(page, "knife", (0.8, 0.8), (1.4, 1.4))
    scan = page.evaluate("xrayDesk.work.scan")
    assert boxes(page)[-1]["xyxy"][2:] == [scan["width"], scan["height"]]
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    assert boxes(page)[-1]["xyxy"][2] == scan["width"]


def test_filters_are_in_the_browser_and_never_touch_the_boxes(page: Any) -> None:
    picture = page.locator("svg.scan image")
    for key, name in {"b": "grey", "n": "negative", "t": "contrast", "o": "organic", "m": "metal"}.items():
        page.keyboard.press(key)
        assert f"xf-{name}" in picture.evaluate("node => node.style.filter")
    assert "colour alone" in page.locator(".viewer-note").inner_text(), "honest about what it is told by"
    page.keyboard.press("h")
    page.keyboard.press("e")
    assert "xf-high" in picture.evaluate("node => node.style.filter")
    chain = picture.evaluate("node => node.style.filter")
    for name in ("metal", "high", "contrast", "grey", "negative", "edge"):
        assert f"xf-{name}" in chain, "they are combined"
    assert "xf-organic" not in chain, "but not organic with metal"
    page.keyboard.press("r")
    assert picture.evaluate("node => node.style.filter") == "none"
    assert page.locator("svg.scan .boxes").evaluate("node => getComputedStyle(node).filter") == "none"


def test_hovering_an_item_lights_its_boxes(page: Any) -> None:
    page.hover("#items tr[data-label=knife] td.label")
    assert page.locator(".box.lit").count() == 1
    assert (
        page.evaluate(
            "id => xrayDesk.work.boxes.find(box => box.id === id).label", page.get_attribute(".box.lit", "data-id")
        )
        == "knife"
    )


def test_keys_typed_into_a_field_decide_nothing(scripted: Desk, page: Any) -> None:
    page.click("#comment textarea, #comment input")
    page.keyboard.type("1 2 3 snd")
    page.wait_for_timeout(800)
    analysis_id = page.evaluate("xrayDesk.work.analysis_id")
    assert decisions.history(scripted.services.db, analysis_id) == []
    assert corrections.history(scripted.services.db, analysis_id) == []


def test_all_keys_are_listed(page: Any) -> None:
    page.keyboard.press("?")
    text = page.locator("dialog.desk-help").inner_text()
    for words in ("clear the bag", "metal only", "save the correction", "next scan", "undo", "draw a box"):
        assert words in text
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")  # the browser tells of its closing a moment later


def test_counts_follow_the_boxes_and_the_correction_is_saved(scripted: Desk, page: Any) -> None:
    counts = "() => Object.fromEntries(xrayDesk.work.items.map(item => [item.label, item.count]))"
    assert page.evaluate(counts) == {"knife": 1, "plastic bottle": 2, "laptop": 1}
    draw(page, "knife", (0.55, 0.6), (0.75, 0.8))
    draw(page, "plastic b", (0.8, 0.1), (0.95, 0.3))
    # The second knife is one more; the second bottle had been counted without a box.
    assert page.evaluate(counts) == {"knife": 2, "plastic bottle": 2, "laptop": 1}
    page.keyboard.press("c")
    page.keyboard.press("s")
    page.wait_for_function("xrayDesk.work.base_revision === 1")
    analysis_id = page.evaluate("xrayDesk.work.analysis_id")
    (saved,) = corrections.history(scripted.services.db, analysis_id)
    assert {item.label: item.count for item in saved.items}["knife"] == 2
    assert saved.author == "ana"
    assert page.locator(".unsaved").is_hidden()


def test_the_next_bag_comes_up_after_a_decision_with_its_time(scripted: Desk, page: Any) -> None:
    first = page.evaluate("xrayDesk.work.analysis_id")
    add(page, GUN)
    page.keyboard.press("k")
    page.wait_for_function("id => xrayDesk.work.analysis_id === id", arg=first)
    page.wait_for_function("xrayDesk.looked()")
    page.keyboard.press("3")
    page.keyboard.press("3")  # twice by mistake: the next bag must not be decided unseen
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=first)
    page.wait_for_timeout(300)
    (decision,) = decisions.history(scripted.services.db, first)
    assert decision.decision == "SEARCH"
    assert decision.seconds is not None
    assert 0.5 < decision.seconds < 60
    assert decisions.history(scripted.services.db, page.evaluate("xrayDesk.work.analysis_id")) == []


def test_clearing_a_high_bag_asks_why(scripted: Desk, page: Any) -> None:
    analysis_id = page.evaluate("xrayDesk.work.analysis_id")
    page.wait_for_function("xrayDesk.looked()")
    page.keyboard.press("1")
    page.wait_for_selector("#clear-anyway")
    page.wait_for_function("document.activeElement.closest('#decision-note') !== null")
    page.keyboard.press("Escape")
    page.wait_for_selector("#clear-anyway", state="hidden")
    page.keyboard.press("1")
    page.wait_for_selector("#clear-anyway")
    page.wait_for_function("document.activeElement.closest('#decision-note') !== null")
    page.keyboard.type("cutlery, seen by hand")
    page.click("#clear-anyway")
    page.wait_for_selector("#banner .decided")
    (decision,) = decisions.history(scripted.services.db, analysis_id)
    assert (decision.decision, decision.note) == ("CLEAR", "cutlery, seen by hand")


def test_a_reload_loses_neither_the_queue_nor_unsaved_edits(page: Any) -> None:
    draw(page, "gun", (0.55, 0.6), (0.75, 0.8))
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    page.wait_for_selector("#strip .tile")
    page.keyboard.press("j")
    page.wait_for_function("xrayDesk.work !== null")
    assert boxes(page)[-1]["label"] == "gun"
    assert page.locator(".unsaved").is_visible()


def test_two_people_at_one_scan(scripted: Desk, page: Any, open_desk: Open) -> None:
    analysis_id = page.evaluate("xrayDesk.work.analysis_id")
    draw(page, "gun", (0.55, 0.6), (0.75, 0.8))
    services = scripted.services
    corrections.add(
        services.db, analysis_id, CorrectionIn(items=(), boxes=()), "ben", services.taxonomy, review_required=False
    )
    page.keyboard.press("c")
    page.keyboard.press("s")
    page.wait_for_selector(".conflict")
    assert "ben" in page.locator(".conflict").inner_text()
    assert boxes(page)[-1]["label"] == "gun", "nothing was lost"
    page.keyboard.press("c")
    page.click("#keep-mine")
    page.wait_for_function("xrayDesk.work.base_revision === 2")
    assert [one.author for one in corrections.history(services.db, analysis_id)] == ["ben", "ana"]


def test_edits_are_not_lost_when_somebody_else_saved_meanwhile(scripted: Desk, page: Any) -> None:
    analysis_id, services = page.evaluate("xrayDesk.work.analysis_id"), scripted.services
    draw(page, "gun", (0.55, 0.6), (0.75, 0.8))
    theirs = CorrectionIn(items=(), boxes=())
    corrections.add(services.db, analysis_id, theirs, "ben", services.taxonomy, review_required=False)
    page.click("#strip .tile")
    page.wait_for_selector("#desk-hint")
    assert "Revision 1 was saved" in page.locator("#desk-hint").inner_text()
    assert boxes(page)[-1]["label"] == "gun"
    page.keyboard.press("c")
    page.keyboard.press("s")
    page.wait_for_selector(".conflict")
    page.click("#take-theirs")
    page.wait_for_function("xrayDesk.work.base_revision === 1")
    assert (boxes(page), page.evaluate("xrayDesk.dirty()")) == ([], False)


def test_hostile_names_and_words_stay_words(scripted: Desk, open_desk: Open, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=window.hacked=1>"
    services = scripted.services
    services.analyser.vlm.text = f"Items detected: 1 {hostile}. Security risk: LOW - no threats detected."
    services.analyser.detector = ScriptedDetector(found=())
    named = tmp_path / f"{hostile}.jpg"
    named.write_bytes(KNIFE.read_bytes())
    broken = tmp_path / f"{hostile}.png"
    broken.write_bytes(b"not a picture")
    page = open_desk(scripted.url, "ana")
    page.set_input_files("#upload input[type=file]", [str(named), str(broken)])
    page.wait_for_selector("#refused .refused")
    page.wait_for_function("xrayDesk.work !== null")
    assert hostile in page.locator(".words blockquote").inner_text()
    # A label that got past the server all the same is still only text.
    page.evaluate(
        """label => xrayDesk.edit(work => {
        work.boxes.push({id: 'new-9', source: 'human', label, status: 'allowed', threat: false, xyxy: [5, 5, 60, 60]});
        work.items.push({label, count: 1, status: 'allowed'}); })""",
        hostile,
    )
    assert hostile in page.locator(".box text").last.text_content()
    page.wait_for_timeout(300)
    assert page.evaluate("window.hacked") is None
    assert len(analyses.page(services.db, 5)[0]) == 1


def test_only_what_a_role_may_do_is_shown(page: Any, scripted: Desk, open_desk: Open) -> None:
    assert page.get_by_role("tab", name="Train").count() == 0
    assert page.get_by_role("tab", name="Users").count() == 0
    admin = open_desk(scripted.url)
    admin.get_by_role("tab", name="Train").wait_for()
    assert admin.get_by_role("tab", name="Users").count() == 1
    assert admin.locator("#strip .tile").count() == 0, "the queue is one's own"


def test_a_refused_event_is_said_and_loses_nothing(scripted: Desk, page: Any) -> None:
    analysis_id = page.evaluate("xrayDesk.work.analysis_id")
    draw(page, "gun", (0.55, 0.6), (0.75, 0.8))
    page.keyboard.press("c")
    page.fill("#comment textarea, #comment input", "under the lining")
    page.locator("#comment textarea, #comment input").blur()
    cookies = page.context.cookies()
    page.context.clear_cookies()  # as when the session ends in the middle of a shift
    page.keyboard.press("s")
    page.wait_for_selector("#desk-alarm")
    assert "signed out" in page.locator("#desk-alarm").inner_text()
    assert corrections.history(scripted.services.db, analysis_id) == []
    page.context.add_cookies(cookies)
    page.wait_for_timeout(500)  # the alarm comes before Gradio has done with the refused event and takes another
    page.keyboard.press("s")
    page.wait_for_function("xrayDesk.work.base_revision === 1")
    page.wait_for_selector("#desk-alarm", state="detached")
    (saved,) = corrections.history(scripted.services.db, analysis_id)
    assert saved.comment == "under the lining"


def test_signing_out_ends_it(page: Any) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    page.click(".desk-head form button")
    page.wait_for_selector("input[name=password]")
    page.goto(page.url.split("/signin")[0] + "/desk/")
    assert page.locator("input[name=password]").count() == 1

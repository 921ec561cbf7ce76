"""The viewer by keys alone, and what it must never do: hide a box from a save, or forget which is in doubt."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.browser.conftest import Desk, Open
from tests.browser.test_desk import KNIFE, add, at, boxes, draw
from xray_app.store import corrections


@pytest.fixture
def page(scripted: Desk, open_desk: Open) -> Any:
    opened = open_desk(scripted.url, "ana")
    add(opened, KNIFE)
    return opened


def press(page: Any, *keys: str) -> int:
    """Presses keys one after the other; how many there were."""
    for key in keys:
        page.keyboard.press(key)
    return len(keys)


def chosen(page: Any) -> str | None:
    found = page.locator(".box.frame.chosen")
    return None if found.count() == 0 else str(found.get_attribute("data-id"))


@pytest.mark.parametrize(
    ("keys", "label"),
    [
        (("Enter", "2", "s"), "knife"),  # by the number beside it
        (("Enter", "g", "Enter", "s"), "gun"),  # by its first letter
        (("Enter", "p", "3", "s"), None),  # by both
    ],
)
def test_one_wrong_label_is_mended_with_four_keys(
    scripted: Desk, page: Any, keys: tuple[str, ...], label: str | None
) -> None:
    before = {box["id"]: box["label"] for box in boxes(page)}
    assert press(page, *keys) <= 4
    page.wait_for_function("xrayDesk.work.base_revision === 1")
    (saved,) = corrections.history(scripted.services.db, page.evaluate("xrayDesk.work.analysis_id"))
    changed = {box.id: box.label for box in saved.boxes if before[box.id] != box.label}
    (wrong,) = [box_id for box_id, was in before.items() if was == "scissors"]
    assert list(changed) == [wrong], "the one the models disagree about is offered first"
    assert label in (None, changed[wrong])
    assert saved.diff.boxes_changed == (wrong,)


def test_any_box_can_be_made_by_keys(page: Any) -> None:
    count = len(boxes(page))
    press(page, "d", "Enter")
    press(page, "Shift+ArrowLeft", "ArrowUp", "Control+Shift+ArrowRight", "Control+ArrowUp")
    scan = page.evaluate("xrayDesk.work.scan")
    press(page, "Enter")
    page.keyboard.type("axe")
    press(page, "Enter")
    drawn = boxes(page)[-1]
    assert (len(boxes(page)), drawn["label"], drawn["source"]) == (count + 1, "axe", "human")
    width, height = scan["width"], scan["height"]
    expected = [width * 3 / 8 - 10, height * 3 / 8 - 1, width * 5 / 8 - 10 + 10, height * 5 / 8 - 1 - 1]
    assert drawn["xyxy"] == pytest.approx(expected, abs=0.2)
    press(page, "Control+ArrowRight", "Control+Shift+ArrowDown")  # the chosen box is sized the same way
    assert boxes(page)[-1]["xyxy"][2:] == pytest.approx([expected[2] + 1, expected[3] + 10], abs=0.2)
    press(page, "Escape", "d", "Enter", "Escape")
    assert len(boxes(page)) == count + 1, "one that got no name is dropped"


def test_the_keys_go_through_the_boxes_by_doubt_and_light_their_items(page: Any) -> None:
    by_id = {box["id"]: box["label"] for box in boxes(page)}
    order = []
    for _ in range(len(by_id)):
        press(page, ".")
        order.append(by_id[str(chosen(page))])
    assert order == ["scissors", "plastic bottle", "knife"]
    assert page.locator("#items tr.lit").get_attribute("data-label") == "knife"
    press(page, ",", "Escape")
    assert chosen(page) is None


def test_a_box_under_the_pointer_lights_its_item_and_no_other_box(page: Any) -> None:
    knife = next(box for box in boxes(page) if box["label"] == "knife")
    scan = page.evaluate("xrayDesk.work.scan")
    page.mouse.move(*at(page, knife["xyxy"][0] / scan["width"], (knife["xyxy"][1] + 8) / scan["height"]))
    page.wait_for_selector("#items tr.lit")
    assert page.locator("#items tr.lit").get_attribute("data-label") == "knife"
    assert page.locator(".box.frame.lit").get_attribute("data-id") == knife["id"]


def test_the_slider_hides_boxes_but_never_from_a_save(scripted: Desk, page: Any) -> None:
    for _ in range(13):
        press(page, "]")  # to 65 %
    assert page.locator(".box.frame").count() == 2
    assert "1 hidden" in page.locator(".threshold output").inner_text()
    assert page.locator("#items tr.faint").count() >= 1
    assert page.locator("#banner .risk-word").inner_text() == "HIGH", "the risk stays the policy's"
    press(page, "s")
    page.wait_for_selector("#desk-hint")
    assert page.locator(".box.frame").count() == 3
    assert corrections.history(scripted.services.db, page.evaluate("xrayDesk.work.analysis_id")) == []
    page.locator(".threshold input").fill("75")
    assert page.locator(".box.frame").count() == 1, "by mouse too"
    page.locator(".threshold input").fill("0")
    press(page, "c", "s")
    page.wait_for_function("xrayDesk.work.base_revision === 1")


def test_edits_after_a_save_and_during_one_stay(scripted: Desk, page: Any) -> None:
    draw(page, "gun", (0.55, 0.6), (0.75, 0.8))
    held: list[Any] = []
    page.route("**/gradio_api/queue/join*", lambda route: held.append(route))
    press(page, "c", "s")
    draw(page, "axe", (0.8, 0.1), (0.95, 0.3))  # before the answer comes
    for route in held:
        route.continue_()
    page.unroute("**/gradio_api/queue/join*")
    page.wait_for_function("xrayDesk.work.base_revision === 1")
    assert [box["label"] for box in boxes(page)][-2:] == ["gun", "axe"]
    (saved,) = corrections.history(scripted.services.db, page.evaluate("xrayDesk.work.analysis_id"))
    assert "axe" not in [box.label for box in saved.boxes]
    assert boxes(page)[-2]["id"] == saved.boxes[-1].id, "the saved box is not drawn twice"
    page.get_by_role("tab", name="Search").click()
    page.wait_for_selector("#find-status")
    page.get_by_role("tab", name="Analyse").click()
    page.wait_for_timeout(300)
    assert boxes(page)[-1]["label"] == "axe"
    press(page, "s")
    page.wait_for_function("xrayDesk.work.base_revision === 2")
    assert not page.evaluate("xrayDesk.dirty()")
    page.get_by_role("tab", name="Search").click()
    page.get_by_role("tab", name="Analyse").click()
    page.wait_for_timeout(300)
    assert not page.evaluate("xrayDesk.dirty()"), "what is saved does not come back as unsaved"


def test_a_button_held_by_the_keyboard_stays_held_and_keeps_its_space(page: Any) -> None:
    count = "xrayDesk.work.items.find(item => item.label === 'knife')?.count"
    page.mouse.move(*at(page, 0.5, 0.5))
    press(page, "Tab")
    page.focus("#items tr[data-label=knife] button[title='one knife more']")
    press(page, "Enter", "Space", "Space")  # the mouse rests over the picture
    assert page.evaluate(count) == 4
    page.focus("#items tr[data-label=knife] button[title='remove knife']")
    press(page, "Enter")
    assert page.evaluate(count) is None
    assert page.evaluate("document.activeElement.title").startswith("remove "), "the row that took its place"
    press(page, "Escape")


def test_wheel_and_keys_zoom_and_move(page: Any) -> None:
    box = "document.querySelector('svg.scan').getAttribute('viewBox').split(' ').map(Number)"
    whole = page.evaluate(box)
    page.mouse.move(*at(page, 0.25, 0.25))
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"({box})[2] < {whole[2]} * 0.8")
    zoomed = page.evaluate(box)
    press(page, "ArrowRight", "ArrowDown")
    moved = page.evaluate(box)
    assert moved[0] > zoomed[0]
    assert moved[1] > zoomed[1]
    press(page, "0")
    assert page.evaluate(box) == whole


def test_filters_change_what_is_seen_and_ask_no_server(page: Any) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    press(page, "x")  # the picture without its boxes
    plain = seen(page)
    for key in "bnomhlte":
        press(page, key)
        assert difference(seen(page), plain) > 1, key
        press(page, "r")
        assert difference(seen(page), plain) < 0.1, key
    assert asked == []


def seen(page: Any) -> Image.Image:
    return Image.open(io.BytesIO(page.locator("svg.scan").screenshot())).convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures, in grey levels of 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3

"""Annotate and Review under the hands of two people, each in a browser of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import ADMIN_PASSWORD, SCREENSHOTS, Desk, Open
from tests.conftest import save_analysis
from xray_app import auth
from xray_app.scan.read import read_scan
from xray_app.settings import ASSETS
from xray_app.store import analyses, corrections, decisions, drafts, queue, reviews
from xray_app.types import CorrectionIn, Role

# What the scripted detector sees and the scripted VLM does not name would keep a prediction from being right.
AGREED = (
    "Items detected: 1 knife (threat), 1 scissors (threat), 1 plastic bottle. Security risk: HIGH - knife detected."
)
OPEN = "id => xrayDesk.work !== null && xrayDesk.work.analysis_id === id"


@pytest.fixture
def scans(scripted: Desk) -> list[str]:
    """Three analysed scans and two annotators."""
    services = scripted.services
    services.analyser.vlm.text = AGREED
    for name in ("nora", "ben"):
        auth.add_user(services.db, name, ADMIN_PASSWORD, Role.ANNOTATOR)
    ids = []
    for name in ("knife", "gun", "handcuffs"):
        file = ASSETS / "samples" / f"{name}.jpg"
        scan = read_scan(file.read_bytes(), file.name, services.limits)
        analysis = services.analyser.analyse(scan)
        save_analysis(services.db, analysis, scan.content, "ana", media_type=scan.media_type)
        ids.append(analysis.id)
    return ids


Enter = Callable[[str, str], Any]


@pytest.fixture
def enter(scripted: Desk, scans: list[str], open_desk: Open) -> Enter:
    """Somebody's browser at a tab."""

    def open_tab(username: str, tab: str) -> Any:
        page = open_desk(scripted.url, username)
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(f"#{tab.lower()}-list .picklist")
        if tab == "Annotate":
            page.wait_for_selector("#annotate-list .pick")
        return page

    return open_tab


def take_next(page: Any, but: str | None = None) -> str:
    page.keyboard.press("t")
    page.wait_for_function("id => xrayDesk.work !== null && xrayDesk.work.analysis_id !== id", arg=but)
    page.wait_for_function("xrayDesk.looked()")  # a key pressed sooner was meant for the scan before
    found: str = page.evaluate("xrayDesk.work.analysis_id")
    return found


def draw(page: Any, label: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draws a box, by fractions of the picture, on the viewer that is on the screen."""
    ends = page.evaluate(
        """points => { const svg = document.querySelector('#annotate-viewer svg.scan'), scan = xrayDesk.work.scan;
        return points.map(([x, y]) => { const spot = new DOMPoint(x * scan.width, y * scan.height);
        const at = spot.matrixTransform(svg.getScreenCTM()); return [at.x, at.y]; }); }""",
        [start, end],
    )
    page.mouse.move(*ends[0])
    page.mouse.down()
    page.mouse.move(*ends[1], steps=6)
    page.mouse.up()
    page.wait_for_selector(".relabel:not([hidden])")
    page.keyboard.type(label)
    page.keyboard.press("Enter")


def picture(page: Any, name: str) -> None:
    if SCREENSHOTS:
        page.wait_for_timeout(1000)
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


def test_two_people_get_two_scans_and_are_told_of_each_other(scripted: Desk, scans: list[str], enter: Enter) -> None:
    db = scripted.services.db
    nora, ben = enter("nora", "Annotate"), enter("ben", "Annotate")
    hers = take_next(nora)
    assert "Yours until" in nora.locator("#annotate-claim").inner_text()
    assert nora.locator("#annotate-why .reason").count() >= 1, "why this scan is said"
    his = take_next(ben)
    assert hers != his
    taken = ben.locator(f"#annotate-list [data-analysis='{hers}']")
    assert "nora is at work" in taken.inner_text()
    picture(nora, "annotate")
    taken.click()
    ben.wait_for_selector("text=nora is at work on this scan")
    assert ben.evaluate("xrayDesk.work.analysis_id") == his, "what he had open stays"

    # Right as it is: one key, and the next one comes up.
    nora.locator("svg.scan:visible").focus()
    nora.keyboard.press("y")
    nora.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=hers)
    (saved,) = corrections.history(db, hers)
    assert saved.author == "nora"
    assert saved.boxes == analyses.get(db, hers).boxes

    # Skipped with two keys; the reason goes to whoever comes next.
    third = nora.evaluate("xrayDesk.work.analysis_id")
    nora.keyboard.press("q")
    nora.wait_for_selector("#annotate-skips.open")
    nora.keyboard.press("1")
    nora.wait_for_function("xrayDesk.work === null")
    assert queue.get(db, third).skipped == ("nora: I cannot tell what it is",)


def test_add_and_save_keys_go_to_the_tab_on_the_screen(scripted: Desk, scans: list[str], enter: Enter) -> None:
    page = enter("nora", "Annotate")
    analysis_id = take_next(page)
    page.keyboard.press("a")
    page.wait_for_function("document.activeElement.closest('#annotate-items') !== null")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")  # the box in most doubt
    page.keyboard.type("gun")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("id => xrayDesk.work === null || xrayDesk.work.analysis_id !== id", arg=analysis_id)
    (saved,) = corrections.history(scripted.services.db, analysis_id)
    assert "gun" in [box.label for box in saved.boxes]
    page.get_by_role("tab", name="Analyse").click()
    page.set_input_files("#upload input[type=file]", [str(ASSETS / "samples" / "clear.jpg")])
    page.wait_for_function("xrayDesk.looked()")
    page.keyboard.press("a")
    page.wait_for_function("document.activeElement.closest('#items') !== null")


def test_hidden_boxes_are_shown_before_they_are_saved(scripted: Desk, scans: list[str], enter: Enter) -> None:
    page = enter("nora", "Annotate")
    analysis_id = take_next(page)
    for hide, save in (("]" * 13, "s"), ("x", "y")):
        for key in hide:
            page.keyboard.press(key)
        page.keyboard.press(save)
        page.wait_for_selector("#desk-hint")
        assert page.locator("#annotate-viewer .boxes").is_visible()
        assert page.locator("#annotate-viewer .box.frame").count() == 3
    assert corrections.history(scripted.services.db, analysis_id) == []
    page.keyboard.press("y")
    page.wait_for_function("id => xrayDesk.work === null || xrayDesk.work.analysis_id !== id", arg=analysis_id)


def test_an_unsaved_edit_survives_a_reload_and_its_browser(scripted: Desk, scans: list[str], enter: Enter) -> None:
    page = enter("nora", "Annotate")
    analysis_id = take_next(page)
    draw(page, "gun", (0.55, 0.6), (0.75, 0.8))
    assert page.evaluate("xrayDesk.work.items.find(item => item.label === 'gun').count") == 1, "items follow boxes"
    page.click("#annotate-items tr[data-label=gun] button[title='one gun more']")  # and are overruled
    page.wait_for_function("document.querySelector('#annotate-claim [data-claim=held]') !== null")
    wait_for(
        page, lambda: bool((kept := drafts.get(scripted.services.db, analysis_id, "nora")) and kept.items[0].count)
    )

    elsewhere = enter("nora", "Annotate")
    elsewhere.wait_for_function(OPEN, arg=analysis_id)
    assert elsewhere.evaluate("xrayDesk.work.boxes.at(-1).label") == "gun"
    assert elsewhere.evaluate("xrayDesk.work.items.find(item => item.label === 'gun').count") == 2
    assert elsewhere.locator(".unsaved:visible").count() == 1
    elsewhere.wait_for_function("xrayDesk.looked()")  # a key pressed sooner was meant for the scan before
    elsewhere.keyboard.press("s")
    elsewhere.wait_for_function("id => xrayDesk.work === null || xrayDesk.work.analysis_id !== id", arg=analysis_id)
    (saved,) = corrections.history(scripted.services.db, analysis_id)
    assert {item.label: item.count for item in saved.items}["gun"] == 2


def test_the_work_on_analyse_and_on_annotate_are_two(scripted: Desk, scans: list[str], enter: Enter) -> None:
    page = enter("nora", "Annotate")
    take_next(page)
    draw(page, "gun", (0.55, 0.6), (0.75, 0.8))
    page.keyboard.press("n")
    assert "xf-negative" in page.locator("#annotate-viewer svg.scan image").evaluate("node => node.style.filter")
    page.get_by_role("tab", name="Analyse").click()
    page.wait_for_function("xrayDesk.work === null")
    page.set_input_files("#upload input[type=file]", [str(ASSETS / "samples" / "clear.jpg")])
    page.wait_for_function("xrayDesk.work !== null")
    assert page.evaluate("xrayDesk.work.scan.filename") == "clear.jpg"
    page.get_by_role("tab", name="Annotate").click()
    page.wait_for_function("xrayDesk.work.boxes.at(-1).label === 'gun'")
    page.keyboard.press("3")  # a decision key decides nothing here
    page.wait_for_timeout(500)
    assert decisions.history(scripted.services.db, page.evaluate("xrayDesk.work.analysis_id")) == []


def test_a_conflict_is_merged_and_reviewed(scripted: Desk, scans: list[str], enter: Enter) -> None:
    services = scripted.services
    services.settings.review = "required"
    nora = enter("nora", "Annotate")
    analysis_id = take_next(nora)
    draw(nora, "gun", (0.55, 0.6), (0.75, 0.8))
    # An analyst corrects the same scan on Analyse meanwhile: a claim keeps annotators apart, nobody else.
    analysis = analyses.get(services.db, analysis_id)
    theirs = CorrectionIn.model_validate(
        {
            "items": [{"label": "knife", "count": 1}],
            "boxes": [
                {"id": box.id, "label": box.label, "xyxy": box.xyxy} for box in analysis.boxes if box.label == "knife"
            ],
        }
    )
    corrections.add(services.db, analysis_id, theirs, "ana", services.taxonomy, True)
    nora.keyboard.press("s")
    nora.wait_for_selector("#annotate-conflict .conflict")
    assert "ana saved revision 1" in nora.locator("#annotate-conflict").inner_text()
    assert len(corrections.history(services.db, analysis_id)) == 1
    nora.click("#annotate-merge")
    nora.wait_for_function("xrayDesk.work.base_revision === 1")
    assert sorted(nora.evaluate("xrayDesk.work.boxes.map(box => box.label)")) == ["gun", "knife"]
    picture(nora, "annotate-merged")
    nora.locator("svg.scan:visible").focus()
    nora.keyboard.press("s")
    nora.wait_for_function("id => xrayDesk.work === null || xrayDesk.work.analysis_id !== id", arg=analysis_id)
    first, second = corrections.history(services.db, analysis_id)
    assert (first.author, second.author) == ("ana", "nora")
    assert {box.label for box in second.boxes} == {"knife", "gun"}

    ben = enter("ben", "Review")
    ben.wait_for_selector(".version.proposed .added")
    assert ben.locator(".version").count() == 3, "the prediction, what ana saved, what nora saved"
    picture(ben, "review")
    ben.locator("#review-list .pick").first.focus()
    ben.keyboard.press("e")
    ben.wait_for_function(OPEN, arg=analysis_id)
    assert ben.locator("#annotate-viewer svg.scan").is_visible()
    ben.get_by_role("tab", name="Review").click()
    ben.wait_for_selector("#review-accept")

    def accepted() -> bool:
        """Pressed again and again: a key within 600 ms of the list's coming anew was meant for another correction."""
        ben.wait_for_timeout(700)
        ben.keyboard.press("a")
        return corrections.history(services.db, analysis_id)[1].status == "accepted"

    wait_for(ben, accepted)
    ben.click("#review-refresh")
    ben.wait_for_selector("#review-versions .review-empty")


def test_a_box_that_the_list_lacks_is_settled_within_save(scripted: Desk, scans: list[str], enter: Enter) -> None:
    db = scripted.services.db
    page = enter("nora", "Annotate")
    analysis_id = take_next(page)
    assert "VLM’s list, detector’s boxes" in page.inner_text("#annotate-right")
    for key in ("s", "Enter"):
        page.click("#annotate-items tr[data-label=knife] button[title='remove knife']")
        assert page.is_disabled("#annotate-right"), "it is not as predicted"
        page.keyboard.press("s")
        page.wait_for_selector("#annotate-conflict .clash")
        assert "1 knife" in page.inner_text("#annotate-conflict")
        assert corrections.history(db, analysis_id) == []
        page.locator("svg.scan:visible").focus()
        page.keyboard.press(key)
        page.wait_for_function("id => xrayDesk.work === null || xrayDesk.work.analysis_id !== id", arg=analysis_id)
        (saved,) = corrections.history(db, analysis_id)
        assert saved.counts["knife"] == 1
        page.wait_for_function("xrayDesk.looked()")
        assert page.locator(".clash:visible").count() == 0
        analysis_id = page.evaluate("xrayDesk.work.analysis_id")
    # Settled by hand, the clash goes.
    page.click("#annotate-items tr[data-label=knife] button[title='remove knife']")
    page.keyboard.press("s")
    page.wait_for_selector("#annotate-conflict .clash")
    page.keyboard.press("c")
    page.wait_for_selector("#annotate-conflict .clash", state="hidden")


def test_typing_a_reason_never_judges_and_what_was_judged_is_taken_back(
    scripted: Desk, scans: list[str], enter: Enter
) -> None:
    db = scripted.services.db
    for analysis_id in scans[:2]:
        sent = CorrectionIn.model_validate({"items": [{"label": "knife", "count": 1}], "boxes": []})
        corrections.add(db, analysis_id, sent, "nora", scripted.services.taxonomy, True)
    statuses = "[...document.querySelectorAll('#review-list .pick')].length"

    def of_first() -> str:
        return corrections.history(db, scans[0])[0].status

    page = enter("ben", "Review")
    page.wait_for_function(f"{statuses} === 2")
    page.wait_for_timeout(700)
    page.keyboard.press("r")
    page.wait_for_function("document.activeElement.closest('#review-comment') !== null")
    page.keyboard.press("Enter")  # without a reason
    page.keyboard.type("a bottle")
    page.click("#review-facts")  # the caret is lost, and the rest of the reason is typed into nothing
    page.keyboard.type("a jar, z e 1 3")
    page.wait_for_timeout(700)
    assert (of_first(), page.evaluate(statuses)) == ("pending", 2)
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    page.wait_for_function(f"{statuses} === 1")
    assert of_first() == "rejected"
    assert reviews.of_analysis(db, scans[0])[0].comment == "a bottle"
    page.wait_for_selector("#review-undo:visible")
    page.keyboard.press("z")
    page.wait_for_function(f"{statuses} === 2")
    assert of_first() == "pending"
    assert page.locator("#review-list .pick").first.get_attribute("aria-current") == "true"

    page.click("#review-comment textarea, #review-comment input")
    page.keyboard.type("so be it")
    page.keyboard.press("Enter")  # no rejection was begun
    page.keyboard.press("Escape")
    page.keyboard.press("a")  # nor is what is begun in words accepted by one of their letters
    page.wait_for_timeout(700)
    assert of_first() == "pending"
    page.click("#review-accept")
    page.wait_for_function(f"{statuses} === 1")
    assert of_first() == "accepted"


def test_an_analyst_sees_neither_tab(scripted: Desk, open_desk: Open) -> None:
    page = open_desk(scripted.url, "ana")
    assert page.get_by_role("tab", name="Annotate").count() == 0
    assert page.get_by_role("tab", name="Review").count() == 0


def wait_for(page: Any, happened: Callable[[], bool], seconds: float = 120) -> None:
    for _ in range(int(seconds * 5)):
        if happened():
            return
        page.wait_for_timeout(200)
    pytest.fail(f"it did not happen within {seconds} s")

"""What the desk tells: beside what it is about, over nothing, and while it stands no letter decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import ADMIN_PASSWORD, COVERED, Desk, Open
from tests.browser.test_desk import GUN, KNIFE, add, draw
from xray_app import auth
from xray_app.store import corrections, decisions
from xray_app.types import CorrectionIn, Role

BESIDE = """control => {
    const node = document.querySelector(control), refusal = document.querySelector('.refusal');
    const at = node.getBoundingClientRect(), told = refusal.getBoundingClientRect();
    return { far: Math.round(Math.max(told.top - at.bottom, at.top - told.bottom, 0)),
        wide: Math.min(at.right, told.right) - Math.max(at.left, told.left) > 0,
        focused: node.contains(document.activeElement), on: told.top >= 0 && told.bottom <= innerHeight }; }"""


def refused(page: Any, control: str, words: str) -> None:
    """A refusal stands beside a control, on the screen, over nothing, and the control has the focus."""
    page.wait_for_selector(f".refusal:has-text({words!r})")
    found = page.evaluate(BESIDE, control)
    assert found.pop("far") <= 60, found
    assert found == {"wide": True, "focused": True, "on": True}
    assert page.locator(".toast-body").count() == 0
    assert page.evaluate(COVERED) == []


def field(control: str) -> str:
    return f"{control} textarea, {control} input"


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()
    page.wait_for_timeout(800)


def users_refuse(page: Any) -> None:
    tab(page, "Users")
    page.fill(field("#new-name"), "eve")
    page.fill(field("#new-password"), "short")
    page.click("#add-user")
    refused(page, "#new-password", "8 to")
    page.keyboard.type("er than that")
    page.wait_for_selector(".refusal", state="detached")  # what is mended is no longer refused
    page.fill(field("#new-name"), "ana")
    page.click("#add-user")
    refused(page, "#new-name", "ana")
    for button in ("#set-password", "#disable-user"):
        press_twice(page, button)
        refused(page, "#chosen-user", "Choose a user")
        page.keyboard.press("Escape")
        page.wait_for_selector(".refusal", state="detached")


def press_twice(page: Any, button: str) -> None:
    """A button that asks once, and takes no more room for that."""
    height = "button => document.querySelector(button).offsetHeight"
    before = page.evaluate(height, button)
    page.click(button)
    page.wait_for_selector(f"{button}[data-asked]")
    assert page.evaluate(height, button) == before
    page.wait_for_timeout(500)
    page.click(button)


def train_refuses(page: Any) -> None:
    tab(page, "Train")
    page.click("#start-run")
    refused(page, "#start-run", "correction")


def export_refuses(page: Any) -> None:
    tab(page, "Export")
    page.click("#export")
    refused(page, "#export", "nothing to export")
    page.click("#import")
    refused(page, "#import-file", "Choose a ZIP")


def search_refuses(page: Any) -> None:
    tab(page, "Search")
    page.fill(field("#find-last"), "tomorrow")
    page.press(field("#find-last"), "Enter")
    refused(page, "#find-last", "YYYY-MM-DD")
    page.fill(field("#find-last"), "")
    page.press(field("#find-last"), "Enter")
    page.wait_for_timeout(500)
    page.click("#find-save")
    refused(page, "#find-name", "name")


def analyse_refuses(page: Any) -> None:
    tab(page, "Analyse")
    page.keyboard.press("1")
    page.wait_for_selector("#confirm")
    page.keyboard.press("Enter")
    refused(page, "#decision-note", "says why")
    page.keyboard.press("Escape")
    page.wait_for_selector(".refusal", state="detached")
    page.keyboard.press("Escape")
    page.wait_for_selector("#confirm", state="hidden")
    page.keyboard.press("3")
    page.wait_for_selector("#outcome")
    page.fill(field("#outcome-found"), "2 flux capacitors")
    page.press(field("#outcome-found"), "Enter")
    refused(page, "#outcome-found", "flux capacitors")


def annotate_refuses(page: Any) -> None:
    tab(page, "Annotate")
    page.click("#annotate-next")
    page.wait_for_function("xrayDesk.work !== null && xrayDesk.looked()")
    page.keyboard.press("q")
    page.click(field("#annotate-skip-words"))
    page.keyboard.press("Enter")
    refused(page, "#annotate-skip-words", "why")


@pytest.mark.parametrize(
    "refuses",
    [users_refuse, train_refuses, export_refuses, search_refuses, analyse_refuses, annotate_refuses],
    ids=lambda one: one.__name__,
)
def test_a_refusal_stands_beside_what_was_refused(
    scripted: Desk, open_desk: Open, refuses: Callable[[Any], None]
) -> None:
    page = open_desk(scripted.url)
    add(page, KNIFE)
    page.wait_for_function("xrayDesk.looked()")
    refuses(page)


def test_no_message_covers_a_page_however_it_is_scrolled(scripted: Desk, open_desk: Open) -> None:
    for number in range(40):
        auth.add_user(scripted.services.db, f"user {number}", ADMIN_PASSWORD, Role.ANALYST)
    page = open_desk(scripted.url)
    tab(page, "Users")
    page.wait_for_selector("#user-table tr:has-text('user 39')")
    scrolling = "document.querySelector('.column:has(> #users)')"
    assert page.evaluate(f"{scrolling}.scrollHeight > {scrolling}.clientHeight + 200"), "longer than the screen"
    for number, top in enumerate((0, 10_000)):
        page.fill(field("#new-name"), f"eve {number}")
        page.fill(field("#new-password"), ADMIN_PASSWORD)
        page.click("#add-user")
        page.wait_for_selector(f".toast-body:has-text('eve {number}')")
        page.evaluate(f"top => {scrolling}.scrollTop = top", top)
        page.wait_for_timeout(300)
        assert page.evaluate(COVERED) == []
    assert page.locator("#tabs > .tab-wrapper").is_visible()
    assert page.locator(".toast-message-item").count() == 2, "of two lines neither lies over the page"


def test_what_was_done_is_said_over_nothing(scripted: Desk, open_desk: Open) -> None:
    """By an admin, whose tabs take the most room."""
    page = open_desk(scripted.url)
    add(page, KNIFE)
    page.wait_for_function("xrayDesk.looked()")
    page.keyboard.press("3")
    page.wait_for_selector("#undo-decision.offered")
    page.wait_for_selector("#said .said")
    assert page.evaluate(COVERED) == []
    tab(page, "Annotate")
    page.click("#annotate-next")
    page.wait_for_function("xrayDesk.work !== null && xrayDesk.looked()")
    page.keyboard.press("q")
    page.keyboard.press("4")
    page.wait_for_selector("#annotate-said .said")
    assert page.evaluate(COVERED) == []


def test_what_is_said_is_seen_anew_each_time_and_goes_with_its_scan(scripted: Desk, open_desk: Open) -> None:
    page = open_desk(scripted.url, "ana")
    add(page, KNIFE, GUN)
    page.wait_for_function("xrayDesk.looked()")
    for revision in (1, 2):
        page.keyboard.press("c")
        page.keyboard.press("s")
        page.wait_for_selector(f"#said .said:has-text('Revision {revision} saved')")
        page.wait_for_timeout(200)
        opacity = "getComputedStyle(document.querySelector('#said .said')).opacity"
        assert float(page.evaluate(opacity)) > 0.9
        page.evaluate("document.querySelector('#said .said').getAnimations().forEach(fading => fading.finish())")
        assert float(page.evaluate(opacity)) == 0
        page.wait_for_timeout(2100)  # else it were the second press of a double one
    page.keyboard.press("j")
    page.wait_for_selector("#said .said", state="detached")


def test_a_conflict_on_save_holds_the_keys_until_it_is_answered(scripted: Desk, open_desk: Open) -> None:
    page, services = open_desk(scripted.url, "ana"), scripted.services
    add(page, KNIFE)
    page.wait_for_function("xrayDesk.looked()")
    analysis_id = page.evaluate("xrayDesk.work.analysis_id")
    draw(page, "gun", (0.55, 0.6), (0.75, 0.8))
    page.keyboard.press("c")
    corrections.add(services.db, analysis_id, CorrectionIn(items=(), boxes=()), "ben", services.taxonomy, False)
    page.keyboard.press("s")
    page.wait_for_selector("#conflict .conflict")
    assert page.evaluate(COVERED) == []
    for key in "3jds":
        page.keyboard.press(key)
    assert "Escape" in page.locator("#desk-hint").inner_text()
    page.wait_for_timeout(500)
    assert decisions.history(services.db, analysis_id) == []
    assert len(corrections.history(services.db, analysis_id)) == 1
    page.keyboard.press("Escape")
    page.wait_for_selector("#conflict .conflict", state="hidden")
    assert page.locator("#conflict-buttons").is_hidden()
    page.keyboard.press("s")  # the same, anew
    page.wait_for_selector("#conflict .conflict")
    page.click("#keep-mine")
    page.wait_for_function("xrayDesk.work.base_revision === 2")
    page.keyboard.press("3")
    page.wait_for_selector("#banner .decided")


def test_two_windows_of_one_person_see_each_others_decision(scripted: Desk, open_desk: Open) -> None:
    first = open_desk(scripted.url, "ana")
    add(first, KNIFE)
    first.wait_for_function("xrayDesk.looked()")
    second = first.context.new_page()
    second.goto(first.url)
    second.wait_for_selector("#strip .tile")
    second.click("#strip .tile")
    second.wait_for_function("xrayDesk.work !== null && xrayDesk.looked()")
    first.keyboard.press("3")
    first.wait_for_selector("#banner .decided")
    second.wait_for_timeout(2100)  # else it were the second press of a double one
    second.keyboard.press("2")
    refused(second, "#decide-review", "You decided SEARCH in another window")
    assert "SEARCH" in second.locator("#banner .decided").inner_text()
    analysis_id = first.evaluate("xrayDesk.work.analysis_id")
    assert [one.decision for one in decisions.history(scripted.services.db, analysis_id)] == ["SEARCH"]
    second.click("#decide-review")
    second.wait_for_selector("#banner .decided:has-text('REVIEW')")

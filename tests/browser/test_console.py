"""The analyst's shift: many scans at once, one key a decision, five seconds to take it back, what the search found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import COVERED, Desk, Open
from tests.browser.test_desk import GUN, KNIFE, add, draw
from xray_app.settings import ASSETS
from xray_app.store import analyses, decisions, outcomes

CLEAR = ASSETS / "samples" / "clear.jpg"


@pytest.fixture
def page(scripted: Desk, open_desk: Open) -> Any:
    opened = open_desk(scripted.url, "ana")
    add(opened, KNIFE, GUN)
    page_ready(opened)
    return opened


def page_ready(page: Any) -> None:
    """Past the first instants of a scan, in which no decision is taken."""
    page.wait_for_function("xrayDesk.looked()")


def wait_until(page: Any, happened: Callable[[], bool]) -> None:
    for _ in range(100):
        if happened():
            return
        page.wait_for_timeout(100)
    pytest.fail("it did not happen within ten seconds")


def at_hand(page: Any) -> str:
    return str(page.evaluate("xrayDesk.work.analysis_id"))


def test_from_shown_to_stored_takes_one_key(scripted: Desk, page: Any) -> None:
    first = at_hand(page)
    page.keyboard.press("2")
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=first)
    (decision,) = decisions.history(scripted.services.db, first)
    assert (decision.decision, decision.author) == ("REVIEW", "ana")
    assert decision.seconds is not None


def test_no_bag_is_decided_by_the_picture_of_another(scripted: Desk, page: Any) -> None:
    first, held = at_hand(page), []
    page.route("**/v1/scans/*/image", lambda route: held.append(route))
    page.keyboard.press("j")
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=first)
    second = at_hand(page)
    page.wait_for_selector(".viewer-loading")
    assert page.locator("svg.scan image").is_hidden(), "the last bag's picture is gone with its boxes"
    page.wait_for_timeout(700)
    page.keyboard.press("3")
    page.click("#decide-review")
    wait_until(page, lambda: bool(held))
    held.pop().continue_()
    page_ready(page)
    assert decisions.history(scripted.services.db, second) == []
    page.keyboard.press("3")
    page.wait_for_selector("#strip .divider.searching")
    (decision,) = decisions.history(scripted.services.db, second)
    assert decision.seconds is not None


def test_a_bag_without_a_picture_is_not_cleared_and_its_picture_is_asked_for_again(scripted: Desk, page: Any) -> None:
    first = at_hand(page)
    page.route("**/v1/scans/*/image", lambda route: route.abort())
    page.keyboard.press("j")
    page.wait_for_selector(".viewer-broken")
    page_ready(page)
    second = at_hand(page)
    page.keyboard.press("1")
    page.wait_for_selector(".refusal:has-text('cannot be cleared')")
    assert page.evaluate(COVERED) == []
    assert page.locator("#confirm").is_hidden()
    page.unroute("**/v1/scans/*/image")
    page.click("#strip [aria-current=true]")
    page.wait_for_selector(".viewer-broken", state="hidden")
    page_ready(page)
    assert (second != first, at_hand(page)) == (True, second)
    page.keyboard.press("1")
    page.wait_for_selector("#confirm")


def test_a_decision_is_taken_back_with_one_key_for_five_seconds(
    scripted: Desk, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = at_hand(page)
    assert page.evaluate("xrayDesk.undoFor") == decisions.UNDO_FOR.total_seconds() * 1000 == 5000
    page.evaluate("xrayDesk.undoFor = 60000")  # a machine at work on other things may take that long to press a key
    monkeypatch.setattr(decisions, "UNDO_FOR", timedelta(seconds=60))
    page.keyboard.press("3")
    page.wait_for_selector("#undo-decision.offered")
    page.keyboard.press("z")
    page.wait_for_function("id => xrayDesk.work.analysis_id === id", arg=first)
    assert decisions.standing(scripted.services.db, first) == []
    assert decisions.history(scripted.services.db, first)[0].withdrawn_at is not None
    page_ready(page)
    page.evaluate("xrayDesk.undoFor = 2000")
    page.click("#decide-search")
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=first)
    page.wait_for_selector("#undo-decision.offered")  # the offer comes a moment after the next bag
    page.wait_for_selector("#undo-decision", state="hidden")
    page.keyboard.press("z")  # too late: nothing happens
    page.wait_for_timeout(300)
    assert [one.decision for one in decisions.standing(scripted.services.db, first)] == ["SEARCH"]


def test_a_double_click_decides_about_one_bag(scripted: Desk, page: Any) -> None:
    first = at_hand(page)
    page.dblclick("#decide-search")
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=first)
    page.wait_for_timeout(400)
    assert len(decisions.history(scripted.services.db, first)) == 1
    assert decisions.history(scripted.services.db, at_hand(page)) == []
    page.click("#strip .divider.searching + li .tile")
    page.wait_for_selector("#outcome")
    page.dblclick("#found-nothing")
    page.wait_for_selector("#strip .divider.searching", state="detached")
    page.wait_for_timeout(400)
    assert len(outcomes.history(scripted.services.db, first)) == 1


def test_a_high_bag_is_cleared_by_a_second_key_with_a_reason_and_a_supervisor_sees_it(
    scripted: Desk, page: Any, open_desk: Open
) -> None:
    first = at_hand(page)
    page.keyboard.press("1")
    page.wait_for_function("document.activeElement.closest('#decision-note') !== null")
    page.keyboard.press("Enter")  # without a reason
    page.wait_for_selector(".refusal")
    assert page.evaluate(COVERED) == []
    page.click("#viewer")  # what is typed beside the note decides nothing, whether the refusal stands or the question
    page.keyboard.type("3 jars, 2 sk")
    page.keyboard.press("Escape")
    page.wait_for_selector(".refusal", state="detached")
    page.keyboard.type("3 z")
    assert "Escape" in page.locator("#desk-hint").inner_text()
    assert page.evaluate(COVERED) == []
    page.wait_for_timeout(300)
    assert at_hand(page) == first
    assert decisions.history(scripted.services.db, first) == []
    page.keyboard.press("Escape")
    page.wait_for_selector("#confirm", state="hidden")
    page.keyboard.press("1")
    page.wait_for_selector("#confirm")
    page.click("#decision-note textarea, #decision-note input")
    page.keyboard.type("cutlery 🔪 \u202eyrelturc")
    page.keyboard.press("Enter")
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=first)
    (decision,) = decisions.history(scripted.services.db, first)
    assert (decision.decision, decision.note, decision.flagged) == ("CLEAR", "cutlery 🔪 \u202eyrelturc", True)

    supervisor = open_desk(scripted.url)
    supervisor.click("#strip .divider.flagged + li .tile")
    supervisor.wait_for_selector("#flagged")
    assert "cutlery" in supervisor.locator("#flagged q").inner_text()
    assert supervisor.evaluate(COVERED) == []
    supervisor.click("#flag-seen")
    supervisor.wait_for_selector("#strip .divider.flagged", state="detached")


def test_what_the_search_found_is_asked_for_where_it_was_ordered(scripted: Desk, page: Any) -> None:
    first = at_hand(page)
    assert page.locator("#outcome").is_hidden()
    page.keyboard.press("3")
    page.wait_for_selector("#strip .divider.searching")
    page.click("#strip .divider.searching + li .tile")
    page.wait_for_function("id => xrayDesk.work.analysis_id === id", arg=first)
    page.wait_for_selector("#outcome")
    in_form = "document.activeElement.closest('#outcome') !== null"
    page.keyboard.press("f")
    page.keyboard.type("2 knives")
    page.keyboard.press("Escape")
    assert not page.evaluate(in_form), "a way out of the field by keys"
    page.keyboard.press("f")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_selector("#strip .divider.searching", state="detached")
    page.wait_for_function(f"!({in_form})")
    (told,) = outcomes.history(scripted.services.db, first)
    assert [(item.label, item.count) for item in told.found] == [("knife", 2)]
    assert page.locator("#strip .tile").last.get_attribute("aria-current") == "true"
    page.keyboard.press("j")  # from the last tile on to what waits
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=first)


def test_a_folder_goes_in_bag_by_bag_with_progress_and_its_broken_file_is_listed(
    scripted: Desk, open_desk: Open, tmp_path: Path
) -> None:
    folder = tmp_path / "scans"
    (folder / "inner").mkdir(parents=True)
    for number in range(7):
        (folder / "inner" / f"{number}.jpg").write_bytes(KNIFE.read_bytes() + bytes([number]))
    (folder / "<b onclick=x>broken '..'.png").write_bytes(b"\x89PNG nothing")
    (folder / ".DS_Store").write_bytes(b"x")
    page = open_desk(scripted.url, "ana")
    page.set_input_files(".intake input.folder", str(folder))
    page.wait_for_selector(".intake .progress:not([hidden])")
    page.wait_for_function("xrayDesk.work !== null")
    page.wait_for_selector("#refused .refused")
    page.wait_for_selector(".intake .progress", state="hidden")
    assert page.locator("#strip .tile").count() == 7
    assert page.locator("#refused li").count() == 1
    assert "<b onclick=x>broken '..'.png" in page.locator("#refused li").inner_text()
    assert len(analyses.page(scripted.services.db, 50)[0]) == 7


def test_scans_that_come_in_take_nothing_off_the_screen(scripted: Desk, page: Any, tmp_path: Path) -> None:
    first = at_hand(page)
    page_ready(page)
    page.keyboard.press("3")
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=first)
    page.click("#strip .divider.searching + li .tile")
    page.wait_for_selector("#outcome")
    field = page.locator("#outcome textarea, #outcome input").first
    field.fill("2 kni")
    more = tmp_path / "more.jpg"
    more.write_bytes(KNIFE.read_bytes() + b"more")
    before = page.locator("#strip .tile").count()
    page.set_input_files("#upload input[type=file]", str(more))
    page.wait_for_function("n => document.querySelectorAll('#strip .tile').length > n", arg=before)
    page.wait_for_selector(".intake .progress", state="hidden")
    assert (at_hand(page), field.input_value()) == (first, "2 kni")
    field.fill("")
    more.write_bytes(KNIFE.read_bytes() + b"still more")
    page.set_input_files("#upload input[type=file]", str(more))
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=first)
    newest, _ = analyses.page(scripted.services.db, 1)
    assert at_hand(page) == newest[0].id, "who has done with a scan and drops another wants to see that"


def test_scans_get_the_bag_that_was_named_when_they_were_dropped(
    scripted: Desk, open_desk: Open, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.jpg" for number in range(6)]
    for number, file in enumerate(files):
        file.write_bytes(KNIFE.read_bytes() + bytes([number]))
    page = open_desk(scripted.url, "ana")
    page.click("#scan-facts button")
    field = page.locator("#bag-id textarea, #bag-id input")
    for bag, some in (("bag 7", files[:4]), ("bag 8", files[4:])):
        field.fill(bag)
        page.set_input_files("#upload input[type=file]", [str(file) for file in some])
    field.fill("bag 9")  # typed while the others are read
    page.wait_for_selector(".intake .progress", state="hidden")
    assert {len(analyses.of_bag(scripted.services.db, bag)) for bag in ("bag 7", "bag 8")} == {4, 2}
    assert field.input_value() == "bag 9"


def test_a_batch_is_cancelled_and_what_was_analysed_stays(scripted: Desk, open_desk: Open, tmp_path: Path) -> None:
    files = []
    for number in range(40):
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(KNIFE.read_bytes() + bytes([number]))
    page = open_desk(scripted.url, "ana")
    page.set_input_files("#upload input[type=file]", [str(file) for file in files])
    page.wait_for_selector("#strip .tile")
    page.click(".intake .cancel")
    page.wait_for_selector(".intake .progress", state="hidden")
    page.wait_for_timeout(500)
    stored = len(analyses.page(scripted.services.db, 100)[0])
    assert 0 < stored < 40
    page.wait_for_timeout(1500)
    assert len(analyses.page(scripted.services.db, 100)[0]) == stored
    add(page, GUN)  # and the way in is open again
    assert len(analyses.page(scripted.services.db, 100)[0]) == stored + 1


def test_five_hundred_scans_show_progress_and_are_cancelled_by_key(
    scripted: Desk, open_desk: Open, tmp_path: Path
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(500):
        (folder / f"{number:03}.jpg").write_bytes(KNIFE.read_bytes() + bytes([number % 256, number // 256]))
    (folder / "001-broken.jpg").write_bytes(b"\xff\xd8 no picture")
    page = open_desk(scripted.url, "ana")
    page.set_input_files(".intake input.folder", str(folder))
    page.wait_for_selector("#refused li")
    page.wait_for_function("document.querySelectorAll('#strip .tile').length > 2")
    assert "of 501" in page.locator(".intake .progress-words").inner_text()
    bar = page.locator(".intake [role=progressbar]")
    assert 0 < int(bar.get_attribute("aria-valuenow")) < int(bar.get_attribute("aria-valuemax")) == 501
    assert page.locator("#strip .tile img").first.get_attribute("src").endswith("/thumbnail"), "not the whole picture"
    page.keyboard.press("Shift+X")
    page.wait_for_selector(".intake .progress", state="hidden")
    page.wait_for_timeout(1000)
    stored = len(analyses.page(scripted.services.db, 500)[0])
    assert 2 < stored < 400
    assert "001-broken.jpg" in page.locator("#refused li").inner_text(), "the list stays until it is put away"


def test_views_of_a_bag_side_by_side(scripted: Desk, open_desk: Open) -> None:
    page = open_desk(scripted.url, "ana")
    page.click("#scan-facts button")
    page.fill("#bag-id textarea, #bag-id input", "bag 7")
    page.locator("#bag-id textarea, #bag-id input").blur()
    page.set_input_files("#upload input[type=file]", [str(KNIFE), str(GUN)])
    page.wait_for_selector("#strip .tile-views")
    page.wait_for_selector(".intake .progress", state="hidden")
    assert page.input_value("#bag-id textarea, #bag-id input") == "", "the next scans are of another bag"
    page.click("#strip .tile")
    page.wait_for_selector(".view")
    first = at_hand(page)
    draw(page, "gun", (0.55, 0.6), (0.75, 0.8))
    page.keyboard.press("n")
    assert "xf-negative" in page.locator(".view image").evaluate("node => node.style.filter"), "all views alike"
    page.wait_for_timeout(500)
    page.keyboard.press("v")
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=first)
    page.wait_for_timeout(500)
    page.click(".view")
    page.wait_for_function("id => xrayDesk.work.analysis_id === id", arg=first)
    assert page.evaluate("xrayDesk.dirty()"), "unsaved edits of a view wait for it"
    page.keyboard.press("Control+z")
    page_ready(page)
    page.keyboard.press("3")
    page.wait_for_selector("#strip .divider.searching")
    for one in analyses.of_bag(scripted.services.db, "bag 7"):
        assert [decision.decision for decision in decisions.history(scripted.services.db, one.id)] == ["SEARCH"]

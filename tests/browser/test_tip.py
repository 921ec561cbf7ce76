"""A test image and a blind scan by keyboard: found out only after the answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.browser.conftest import Desk, Open
from tests.browser.test_console import COVERED, at_hand, page_ready
from tests.browser.test_desk import GUN, KNIFE, add
from tests.browser.test_search import fill, picture, tab
from xray_app.scan.read import read_scan
from xray_app.store import decisions
from xray_app.store.insights import screeners
from xray_app.store.insights.reports import Asked


def test_a_missed_threat_is_shown_at_once_and_counts_in_ones_own_figures(
    scripted: Desk, open_desk: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = scripted.services
    monkeypatch.setattr(services.settings, "test_image_share", 0.5)  # one after every scan
    monkeypatch.setattr("xray_app.tip.THREAT_SHARE", 1.0)
    page = open_desk(scripted.url, "ana")
    add(page, KNIFE, GUN)
    page.wait_for_function("document.querySelectorAll('#strip .tile').length === 4")
    page_ready(page)
    real = at_hand(page)
    page.keyboard.press("3")
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=real)
    test = at_hand(page)
    assert page.locator(".risk.test").count() == 0
    assert page.evaluate("xrayDesk.work.readonly") is False
    page_ready(page)
    page.keyboard.press("1")  # the models rate it HIGH
    page.wait_for_function("document.activeElement.closest('#decision-note') !== null")
    page.keyboard.type("a toy")
    page.keyboard.press("Enter")
    page.wait_for_selector('.risk.test[data-result="miss"]')
    assert at_hand(page) == test
    page.wait_for_function("document.querySelectorAll('svg.scan .box.frame').length === 1")
    page.wait_for_selector("#next-scan", state="visible")
    picture(page, "miss")
    page.keyboard.press("z")  # there is nothing to undo
    page.keyboard.press("g")
    page.wait_for_function("id => xrayDesk.work.analysis_id !== id", arg=test)
    page.wait_for_selector("#next-scan", state="hidden")
    assert [one.decision for one in decisions.standing(services.db, test)] == ["CLEAR"]
    tab(page, "Insights")
    page.wait_for_selector("#insight-vigilance svg.chart")
    assert "ana: hits" in page.locator("#insight-vigilance").text_content()
    assert page.locator("#insight-traffic").count() == 0
    with page.expect_download() as download:
        page.locator("#insight-vigilance a.csv").click()
    assert "ana,all,1,0," in download.value.path().read_text()


def test_a_blind_scan_shows_its_prediction_after_the_key_that_decides_it(
    scripted: Desk, open_desk: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted.services.settings, "blind_share", 1.0)
    page = open_desk(scripted.url, "ana")
    add(page, KNIFE)
    page.wait_for_selector(".risk.blind")
    assert page.locator("svg.scan .box").count() == 0
    assert page.locator("#strip .tile-level").inner_text() == "BLIND"
    picture(page, "blind")
    page_ready(page)
    page.keyboard.press("1")
    page.wait_for_selector(".risk.high")
    page.wait_for_function("document.querySelectorAll('svg.scan .box.frame').length === 3")
    assert "you decided CLEAR" in page.locator("#answered").first.inner_text()
    assert page.evaluate(COVERED) == []
    picture(page, "blind-shown")
    (decision,) = decisions.history(scripted.services.db, at_hand(page))
    assert decision.blind


def test_a_supervisor_sees_how_everybody_answered(scripted: Desk, open_desk: Open, monkeypatch: Any) -> None:
    services = scripted.services
    monkeypatch.setattr(services.settings, "test_image_share", 0.5)
    monkeypatch.setattr(services.settings, "blind_share", 0.3)
    fill(scripted, 2)
    answer(services)
    page = open_desk(scripted.url)
    tab(page, "Insights")
    page.wait_for_selector("#insight-vigilance svg.chart")
    page.locator("#vigilance").scroll_into_view_if_needed()
    assert "everybody" in page.locator("#insight-vigilance .cards").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#vigilance").evaluate("node => node.scrollIntoView()")
    picture(page, "vigilance")
    today = datetime.now(UTC).date()
    asked = Asked(first=today - timedelta(days=1), last=today + timedelta(days=1))
    assert len(screeners.read(services.db, asked).answers) == 24


def answer(services: Any) -> None:
    """Two people answer a dozen test images each, one of them better than the other."""
    like = read_scan(KNIFE.read_bytes(), "bag-7.jpg", services.limits)
    for n in range(12):
        for author, wrong in (("ana", 6), ("ben", 3)):
            made = services.test_images.make(like, author)
            decision = "CLEAR" if n % wrong == 0 else "SEARCH"
            decisions.add_for_bag(services.db, made.id, decision, 4.0, "a toy", author)

"""The scan report as somebody prints it: from a key, a button and a search; one sheet of A4."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.browser.conftest import Desk, Open
from tests.browser.test_desk import KNIFE, add
from tests.browser.test_theme import picture
from tests.conftest import MakeAnalysis, png
from xray_app.correction.statements import BagStanding
from xray_app.html.scan_report import Reported, document
from xray_app.store import decisions
from xray_app.types import Decision, Item, Report, Risk, StandingRisk


def sheets(page: Any) -> int:
    """How many pages it prints on."""
    return len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True)))


def test_a_report_comes_by_key_by_button_and_from_a_search(scripted: Desk, open_desk: Open) -> None:
    page = open_desk(scripted.url, "ana")
    add(page, KNIFE)
    analysis_id = page.evaluate("xrayDesk.work.analysis_id")
    decisions.add(scripted.services.db, analysis_id, "SEARCH", 4.0, "look <b>under</b> the laptop", "ana")
    ways: list[Callable[[], Any]] = [
        lambda: page.keyboard.press("Shift+P"), lambda: page.click("#viewer [data-act=report]"),
        lambda: page.click(".match-report"),
    ]  # fmt: skip
    for number, way in enumerate(ways):
        if number == 2:
            page.get_by_role("tab", name="Search", exact=True).click()
            page.wait_for_selector(".match-report")
        with page.context.expect_page() as opened:
            way()
        report = opened.value
        report.wait_for_selector(".risk.high")
        assert report.url.endswith(f"/v1/analyses/{analysis_id}/report")
        if number == 0:
            report.set_viewport_size({"width": 794, "height": 1123})
            assert "look <b>under</b> the laptop" in report.locator("body").inner_text()
            assert report.evaluate("getComputedStyle(document.querySelector('h1')).fontSize") == "20px", "styled"
            assert report.locator("figure rect.prohibited").count() == 2
            picture(report, "report")
            assert sheets(report) == 1
        report.close()


@pytest.mark.parametrize("size", [(1200, 300), (300, 900), (640, 480)])
def test_the_fullest_report_is_one_sheet(chromium: Any, make_analysis: MakeAnalysis, size: tuple[int, int]) -> None:
    items = tuple(
        Item(label=f"something with a long name {n}", count=9, status="restricted", threat=False, confidence=0.5)
        for n in range(30)
    )
    names = tuple(item.label for item in items)
    plain = make_analysis()
    worst = Risk(level="HIGH", reason="thing " * 30, action="SEARCH", policy="airport")
    analysis = plain.model_copy(
        update={
            "scan": plain.scan.model_copy(update={"filename": "name " * 60, "width": size[0], "height": size[1]}),
            "risk": worst.model_copy(update={"level": "MEDIUM", "reason": "reason " * 30}),
            "report": Report(items=items, text="word " * 2000, complete=False),
            "agreement": plain.agreement.model_copy(update={"both": names, "vlm_only": names, "detector_only": names}),
        }
    )
    now = datetime.now(UTC)
    decided = [
        Decision(
            id=str(n), analysis_id=analysis.id, author="ana " * 20, created_at=now, decision="CLEAR", seconds=9.0,
            note="why " * 500, flagged=True,
        )
        for n in range(20)
    ]  # fmt: skip
    bag = BagStanding(StandingRisk(**worst.model_dump(exclude={"policy"}), by="nora"), analysis.scan.id, {})
    told = Reported(
        analysis=analysis, bag=bag, analyst="ana", picture=png(200, *size), media_type="image/png", revisions=[],
        decisions=decided, outcomes=[], demonstration=True, printed_by="ana", printed_at=now,
    )  # fmt: skip
    page = chromium.new_page(viewport={"width": 794, "height": 1123})
    page.set_content(document(told))
    picture(page, f"report-full-{size[0]}")
    assert sheets(page) == 1
    page.close()

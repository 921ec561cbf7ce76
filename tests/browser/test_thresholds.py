"""Thresholds in a browser: an admin is told what a detection promises and costs, and sets it or takes it back."""

from __future__ import annotations

from pathlib import Path

from tests.browser.conftest import COVERED, Desk, Open, press
from tests.operating_site import Hinting, Seeing, Site
from xray_app.store import audit


def test_a_threshold_is_chosen_set_and_withdrawn(scripted: Desk, open_desk: Open, tmp_path: Path) -> None:
    site = Site(tmp_path / "data")
    site.fill(threats=31, clear=20)
    scripted.services.analyser.vlm, scripted.services.analyser.detector = Seeing(), Hinting()
    page = open_desk(scripted.url)
    tabs = page.locator("#tabs [role=tab]:visible").all_inner_texts()
    assert tabs[-3:] == ["Thresholds", "Users", "Help"], "no tab of an admin hides behind a menu on a laptop"
    page.get_by_role("tab", name="Thresholds").click()
    said = page.locator("#thresholds-said")
    said.get_by_text("finds at least 90% of threats (95 % sure)").first.wait_for()
    assert "No threshold is in force" in said.inner_text()
    assert page.evaluate(COVERED) == []

    wanted = page.locator("#wanted-recall input[type=number]")
    wanted.fill("0.95")
    wanted.press("Enter")
    said.get_by_text("it takes 28 more held-out bags").wait_for()
    wanted.fill("0.9")
    wanted.press("Enter")
    said.get_by_text("Alarms at").first.wait_for()

    press(page, "#set-threshold")
    page.get_by_text("Say why").first.wait_for()
    assert page.evaluate("document.activeElement.closest('#threshold-reason') !== null"), "the focus is where it is due"
    assert page.evaluate(COVERED) == []
    assert "No threshold is in force" in said.inner_text()
    page.fill("#threshold-reason textarea", "first evidence")
    press(page, "#set-threshold")
    said.get_by_text("first evidence").wait_for()
    assert page.evaluate(COVERED) == []
    page.fill("#threshold-reason textarea", "the belt was changed")
    press(page, "#withdraw-threshold")
    said.get_by_text("No threshold is in force").wait_for()
    acts = [entry.what for entry in audit.newest(scripted.services.db)]
    assert acts[:2] == ["operating point withdrawn", "operating point set"]
    site.services.db.close()

"""Validation in a browser: an admin opens a campaign, sees how it stands, signs it, and takes it back."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page

from tests.browser.conftest import COVERED, Desk, Open, press
from tests.operating_site import Hinting, Seeing
from tests.validation_site import ValidatingSite
from xray_app.store import audit


def choose(page: Page, scanner: str) -> None:
    page.locator("#threshold-scanner input").click()
    page.get_by_role("option", name=scanner, exact=True).click()


def test_a_scanner_is_validated_by_a_campaign(scripted: Desk, open_desk: Open, tmp_path: Path) -> None:
    site = ValidatingSite(ValidatingSite.begin(tmp_path / "data"))
    analyser, settings = scripted.services.analyser, scripted.services.settings
    analyser.vlm, analyser.detector = Seeing(), Hinting()
    analyser._operating_point = site.services.analyser._operating_point
    settings.vlm, settings.detector = "site/vlm", "site.onnx"
    page = open_desk(scripted.url)
    page.set_default_timeout(30000)
    page.get_by_role("tab", name="Thresholds").click()
    said = page.locator("#validation-said")
    said.get_by_text("no bag is advised to be cleared anywhere").wait_for()
    press(page, "#open-campaign")
    page.get_by_text("choose it above").first.wait_for()
    assert page.evaluate(COVERED) == []

    choose(page, "A")
    page.fill("#campaign-bags input", "200")
    page.fill("#validation-reason textarea", "the belt is stable")
    press(page, "#open-campaign")
    said.get_by_text("0 of 200 bags have come in").first.wait_for()
    site.gather_into_open_campaign()
    press(page, "#sign-validation")
    page.get_by_text("Say why").first.wait_for()
    assert page.evaluate("document.activeElement.closest('#validation-reason') !== null")
    page.get_by_role("tab", name="Users").click()
    page.get_by_role("tab", name="Thresholds").click()
    said.get_by_text("Can be signed.").wait_for()
    assert "at least 95.1% (95 % sure)" in said.inner_text()
    page.fill("#validation-reason textarea", "all labelled")
    press(page, "#sign-validation")
    said.get_by_text(re.compile("in force")).wait_for()
    assert page.evaluate(COVERED) == []
    page.fill("#validation-reason textarea", "a new belt")
    press(page, "#withdraw-validation")
    said.get_by_text("A: withdrawn by admin").wait_for()
    acts = [entry.what for entry in audit.newest(scripted.services.db)]
    assert acts[0] == "validation withdrawn"
    site.services.db.close()

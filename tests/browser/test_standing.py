"""A knife that a person boxed makes every place HIGH, and clearing the bag asks why: by key, by button, by program."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.browser.conftest import ADMIN_PASSWORD, Desk, Open
from tests.browser.test_desk import GUN, add, draw
from tests.browser.test_theme import picture
from tests.ui.scripted import ScriptedDetector
from xray_app import auth
from xray_app.store import decisions


@pytest.fixture
def calm(scripted: Desk) -> Desk:
    """A desk whose models see nothing."""
    scripted.services.analyser.vlm.text = "Items detected: none. Security risk: LOW - no threats detected."
    scripted.services.analyser.detector = ScriptedDetector(found=())
    return scripted


def post(desk: Desk, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and answer, as a program of ana's gets them."""
    token = auth.sign_in(desk.services.db, "ana", ADMIN_PASSWORD).token
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(desk.url + path, json.dumps(sent).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def test_a_persons_knife_makes_every_place_high_and_clearing_asks(calm: Desk, open_desk: Open) -> None:
    page = open_desk(calm.url, "ana")
    add(page, GUN)
    assert page.locator("#banner .risk-word").inner_text() == "LOW"
    ticks = page.evaluate("document.querySelector('#banner .risk-icon').innerHTML.includes('l15 16 29-34')")
    assert not ticks, "the advice is REVIEW"
    analysis_id = page.evaluate("xrayDesk.work.analysis_id")
    draw(page, "kni", (0.3, 0.3), (0.5, 0.5))
    page.keyboard.press("s")

    page.wait_for_selector("#banner .risk.high[data-by=ana]")
    assert page.locator("#banner .risk-word").inner_text() == "HIGH"
    assert "Knife, marked by ana" in page.locator("#banner strong").inner_text()
    own = page.locator("#banner .risk-own b")
    assert own.inner_text() == "LOW"
    sizes = [
        page.locator(where).evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
        for where in ("#banner .risk-own b", "#banner .risk-word")
    ]
    assert sizes[0] * 2 < sizes[1], "the models' own is smaller"
    inside = page.evaluate(
        """() => { const frame = document.querySelector('#banner .risk').getBoundingClientRect();
        return [...document.querySelectorAll('#banner .risk-text > *, #banner .risk-own')].every(node => {
          const at = node.getBoundingClientRect(); return at.top >= frame.top && at.bottom <= frame.bottom; }); }"""
    )
    assert inside, "nothing of the banner is cut off"
    assert "HIGH ✎ ana" in page.locator("#strip .tile.high .tile-level").inner_text()
    assert "“LOW” is the VLM’s own word" in page.locator("#opinions .own-level").inner_text()
    picture(page, "standing-banner")

    for press in (lambda: page.keyboard.press("1"), lambda: page.click("#decide-clear")):
        page.wait_for_timeout(700)  # the desk ignores a decision before the scan could be seen
        press()
        page.wait_for_selector("#confirm:visible")
        assert "This bag stands at HIGH: knife, marked by ana" in page.locator("#confirm").first.inner_text()
        page.click("#keep-bag")
        page.wait_for_selector("#confirm", state="hidden")
    assert decisions.history(calm.services.db, analysis_id) == []

    path = f"/v1/analyses/{analysis_id}/decision"
    status, refused = post(calm, path, {"decision": "CLEAR"})
    assert (status, refused["error"]["code"]) == (422, "needs_note")
    assert refused["error"]["details"]["standing"]["reason"] == "knife, marked by ana"
    assert decisions.history(calm.services.db, analysis_id) == []
    told = page.evaluate(
        """async id => { const analysis = await (await fetch(`../v1/analyses/${id}`)).json();
        const bag = await (await fetch(`../v1/bags/${analysis.scan.bag_id}`)).json();
        const report = await (await fetch(`../v1/analyses/${id}/report`)).text();
        return [analysis.risk.level, analysis.standing.level, bag.standing.by, report.includes('>HIGH<')]; }""",
        analysis_id,
    )
    assert told == ["LOW", "HIGH", "ana", True]

    page.click("button[role=tab]:has-text('Search')")
    match = page.locator("#found .match.high")
    match.wait_for()
    assert "knife, marked by ana · models: LOW" in match.inner_text()
    assert "knife person" in match.inner_text()
    picture(page, "standing-search")

    assert post(calm, path, {"decision": "CLEAR", "note": "a butter knife"})[0] == 201
    assert decisions.history(calm.services.db, analysis_id)[-1].flagged

"""The whole ring by a person, in a browser, against `python app.py` as it ships."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import ADMIN_PASSWORD, SCREENSHOTS, Desk, Open, press
from tests.browser.test_desk import add, draw
from xray_app.simulate import simulate_scan
from xray_app.taxonomy import load_taxonomy

# A run takes three minutes on two idle cores; a busy machine is given time.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SCANS = 4
MINUTES = 60_000


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """Freshly simulated bags, each with a threat in it; or the first of a folder, in XRAY_TEST_SCANS."""
    if folder := os.environ.get("XRAY_TEST_SCANS"):
        return sorted(path for path in Path(folder).iterdir() if path.suffix in {".jpg", ".png"})[:SCANS]
    taxonomy = load_taxonomy()
    paths = []
    for seed in range(7_000, 7_000 + SCANS):
        path = tmp_path / f"bag-{seed}.png"
        simulate_scan(seed, taxonomy, items=(1, 4), threat_rate=1.0).image.save(path)
        paths.append(path)
    return paths


def picture(page: Any, name: str) -> None:
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


def get(desk: Desk, path: str) -> Any:
    """A row of the API, as a program sees it."""
    body = json.dumps({"username": "admin", "password": ADMIN_PASSWORD}).encode()
    login = urllib.request.Request(f"{desk.url}/v1/login", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(login) as answer:
        token = json.load(answer)["token"]
    asked = urllib.request.Request(desk.url + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)


def test_the_ring_turns_in_a_browser(real: Desk, open_desk: Open, scans: list[Path], tmp_path: Path) -> None:
    page = open_desk(real.url)
    picture(page, "1-signed-in")
    add(page, *scans)
    assert page.locator("#banner .risk-word").inner_text() in ("LOW", "MEDIUM", "HIGH")
    assert page.locator(".words blockquote").inner_text().startswith("Items detected:")
    assert page.locator(".demo").is_visible()
    picture(page, "2-analysed")

    for number in range(SCANS):
        tile = page.locator("#strip .tile").nth(0)  # what waits comes first
        analysis_id = tile.get_attribute("data-analysis")
        tile.click()
        page.wait_for_function("id => xrayDesk.work && xrayDesk.work.analysis_id === id", arg=analysis_id)
        draw(page, "scissors", (0.1, 0.1), (0.3, 0.3))
        page.keyboard.press("c")
        page.keyboard.press("m")
        picture(page, f"3-corrected-{number}")
        page.keyboard.press("s")
        page.wait_for_function("xrayDesk.work.base_revision === 1")
        page.wait_for_function("xrayDesk.looked()")  # a decision sooner than that is taken for a slip
        page.keyboard.press("3")
        page.wait_for_function(
            "id => document.querySelector(`#strip [data-analysis='${id}'].done`) !== null", arg=analysis_id
        )
        kept = get(real, f"/v1/analyses/{analysis_id}/corrections")["items"]
        assert [one["revision"] for one in kept] == [1]
        assert "scissors" in [box["label"] for box in kept[0]["boxes"]]

    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector("#count-train b")
    figures = {name: int(page.locator(f"#count-{name} b").inner_text()) for name in ("new", "train", "holdout")}
    assert figures["new"] == SCANS
    assert figures["train"] + figures["holdout"] == SCANS
    picture(page, "4-train")

    page.fill("#start-row input[type=number]", "1")
    page.click("#start-run")
    page.wait_for_selector("#run-status .run")
    page.wait_for_selector("#loss-curve canvas, #loss-curve svg", timeout=8 * MINUTES)
    picture(page, "5-running")
    page.wait_for_selector("#run-status .run:is(.succeeded, .failed, .cancelled)", timeout=12 * MINUTES)
    assert page.locator("#run-status .run").get_attribute("data-status") == "succeeded", page.locator(
        "#run-status"
    ).inner_text()
    page.wait_for_selector(".gate")
    metrics = get(real, "/v1/training/runs")["items"][0]["metrics"]
    assert [metrics[model]["simulated"]["n"] for model in ("active", "candidate")] == [300, 300]
    picture(page, "6-finished")
    (log,) = (tmp_path / "data" / "runs").glob("*/log.txt")
    first, *_ = log.read_text().splitlines()
    assert "WARNING" not in first, f"a run's log opens with what is not about the run: {first}"

    if page.locator(".gate.passed").count():
        press(page, "#promote")
    else:
        assert page.locator("#promote").is_disabled()
        refused = page.locator(".gate.refused").count() > 0
        said = "The gate refuses it:" if refused else "Not shown yet:"
        assert said in page.locator("#unpromoted").inner_text()
        if refused:
            page.locator("#force button").first.click()
        way = "force" if refused else "trial"
        page.fill(f"#{way}-reason textarea", "trying the ring on simulated bags")
        page.click(f"#{way}-promote")
    adapter = get(real, "/v1/adapters")["items"][0]["id"]
    page.wait_for_function("id => document.querySelector('.serving').innerText.includes(id)", arg=adapter[:8])
    picture(page, "7-promoted")

    page.get_by_role("tab", name="Analyse").click()
    add(page, scans[0])
    assert get(real, "/v1/analyses?limit=1")["items"][0]["models"]["vlm"]["adapter"] == adapter
    picture(page, "8-analysed-again")
    page.get_by_role("tab", name="Train").click()
    press(page, "#rollback")
    page.wait_for_function("document.querySelector('.serving').innerText.includes('base model')")

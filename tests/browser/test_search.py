"""Search and Insights under a person's hands."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import ADMIN_PASSWORD, SCREENSHOTS, Desk, Open
from tests.conftest import save_analysis
from xray_app import auth
from xray_app.scan.appearance import appearance_of
from xray_app.scan.read import read_scan
from xray_app.settings import ASSETS
from xray_app.store import decisions, search
from xray_app.types import Role

SAMPLES = sorted((ASSETS / "samples").glob("*.jpg"))


def fill(desk: Desk, n: int, *, looks: bool = True) -> list[str]:
    """Stores analyses of the sample scans, one an hour, each its own bytes; returns their ids, newest first."""
    services, made = desk.services, []
    for number in range(n):
        picture = Image.open(SAMPLES[number % len(SAMPLES)]).convert("RGB")
        picture.putpixel((0, 0), (number % 256, number // 256, 0))
        out = io.BytesIO()
        picture.save(out, "PNG")
        scan = read_scan(out.getvalue(), f"bag-{number}.png", services.limits, scanner_id=f"line {number % 2}")
        analysis = services.analyser.analyse(scan)
        moment = datetime.now(UTC) - timedelta(hours=n - number)
        analysis = analysis.model_copy(update={"created_at": moment})
        look = appearance_of(scan.image) if looks else None
        save_analysis(services.db, analysis, scan.content, "ana", media_type=scan.media_type, look=look)
        made.append(analysis.id)
    return made[::-1]


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def picture(page: Any, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/{name}.png")


def choose(page: Any, field: str, words: str) -> None:
    page.click(f"#find-{field} input")
    page.get_by_role("option", name=words, exact=True).click()


@pytest.fixture
def page(scripted: Desk, open_desk: Open) -> Any:
    return open_desk(scripted.url, "ana")


def test_an_empty_search_says_what_to_do(page: Any) -> None:
    tab(page, "Search")
    page.wait_for_selector("#find-status .none-found")
    assert "No scan was analysed yet" in page.locator("#find-status").inner_text()


def test_a_scan_is_found_by_filter_and_opened_by_keyboard(scripted: Desk, open_desk: Open) -> None:
    made = fill(scripted, 60)
    decisions.add(scripted.services.db, made[3], "SEARCH", 4.0, None, "ana")
    page = open_desk(scripted.url, "ana")
    tab(page, "Search")
    page.wait_for_selector(".match")
    assert page.locator(".match").count() == 48
    assert page.locator(".match-level").first.inner_text() == "⬣ HIGH"  # word and shape with the colour
    page.wait_for_function("document.querySelector('.match img').naturalWidth > 100")
    picture(page, "search")
    page.click("#find-older")
    page.wait_for_function("document.querySelectorAll('.match').length === 12")
    assert "49 to 60" in page.locator("#find-status").inner_text()
    page.click("#find-newer")
    page.wait_for_function("document.querySelectorAll('.match').length === 48")
    choose(page, "decision", "search")
    page.wait_for_function("document.querySelectorAll('.match').length === 1")
    page.focus(".match")
    page.keyboard.press("Enter")
    page.wait_for_function("id => xrayDesk.work !== null && xrayDesk.work.analysis_id === id", arg=made[3])
    page.wait_for_selector("#banner .decided")
    assert "SEARCH" in page.locator("#banner .decided").inner_text()
    tab(page, "Search")  # and back: the filter is as it was left
    page.wait_for_function("document.querySelectorAll('.match').length === 1")


def test_arrow_keys_go_through_the_tiles(scripted: Desk, page: Any) -> None:
    made = fill(scripted, 12, looks=False)  # thumbnails are made when they are first asked for
    tab(page, "Search")
    page.wait_for_selector(".match img")
    page.focus(".match")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.analysis") == made[2]
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.analysis") == made[1]
    page.wait_for_function("[...document.querySelectorAll('.match img')].some(image => image.naturalWidth > 100)")


def test_a_filter_is_kept_and_used_again(scripted: Desk, page: Any) -> None:
    fill(scripted, 4)
    tab(page, "Search")
    page.wait_for_selector(".match")
    choose(page, "scanner", "line 1")
    page.wait_for_function("document.querySelectorAll('.match').length === 2")
    hostile = "<img src=x onerror=window.hacked=1>"
    page.fill("#find-name input, #find-name textarea", hostile)
    page.click("#find-save")
    page.wait_for_function("document.querySelector('#find-saved input').value.startsWith('<img')")
    assert search.saved(scripted.services.db, "ana")[hostile].scanner == "line 1"
    page.click("#find-clear")
    page.wait_for_function("document.querySelectorAll('.match').length === 4")
    page.click("#find-saved input")
    page.get_by_role("option", name=hostile, exact=True).click()
    page.wait_for_function("document.querySelectorAll('.match').length === 2")
    assert page.evaluate("window.hacked") is None


def test_insights_are_for_annotators_and_each_chart_has_its_csv(scripted: Desk, page: Any, open_desk: Open) -> None:
    made = fill(scripted, 12)
    for one in made[:6]:
        decisions.add(scripted.services.db, one, "REVIEW", 4.0, None, "ana")
    assert page.get_by_role("tab", name="Insights").count() == 0
    auth.add_user(scripted.services.db, "annie", ADMIN_PASSWORD, Role.ANNOTATOR)
    annie = open_desk(scripted.url, "annie")
    tab(annie, "Insights")
    annie.wait_for_selector("#insight-traffic svg.chart")
    picture(annie, "insights")
    assert "50% decided" in annie.locator("#insight-analysts .cards").inner_text().replace("\n", " ")
    assert annie.evaluate("document.documentElement.scrollWidth <= innerWidth")
    annie.locator("#insight-traffic summary").click()
    assert annie.locator("#insight-traffic table tbody tr").count() == 30
    with annie.expect_download() as download:
        annie.locator("#insight-traffic a.csv").first.click()
    assert download.value.suggested_filename.startswith("traffic-")
    assert download.value.path().read_text().startswith("day,scans,HIGH")

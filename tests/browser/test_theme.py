"""How the desk looks: both themes readable, nothing wider than the screen, motion and keys as one may expect.

With XRAY_TEST_SCREENSHOTS naming a folder, the tour leaves a picture of every tab in both themes there, of simulated
scans read by the bundled models, for somebody to look at.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.browser.conftest import HEIGHT, SCREENSHOTS, WIDTH, Desk, Open
from tests.browser.test_desk import KNIFE, add
from tests.conftest import save_analysis
from training.promotion import registry
from xray_app.adapter import Gate, GateCheck
from xray_app.scan.appearance import appearance_of
from xray_app.scan.read import read_scan
from xray_app.simulate import simulate_scan
from xray_app.store import corrections, decisions, outcomes
from xray_app.store.insights import daily_sums
from xray_app.types import (
    Analysis,
    CorrectionIn,
    ItemCount,
    Metrics,
    MetricSet,
    RunMetrics,
)

TABS = ("Analyse", "Annotate", "Review", "Search", "Insights", "Export", "Train", "Users", "Help")
SIZES = ((WIDTH, HEIGHT), (1024, 768), (820, 1180))
CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
TOO_WIDE = (Path(__file__).parent / "too_wide.js").read_text(encoding="utf-8")
SCANS = 26
DAYS = 13


@pytest.fixture
def furnished(scripted: Desk) -> Desk:
    """A desk with two weeks of traffic: scans, decisions, searches, corrections, a candidate the gate let through."""
    services = scripted.services
    if SCREENSHOTS:
        _use_bundled_models(services)
    services.settings.review = "required"
    now = datetime.now(UTC)
    for number in range(SCANS):
        out = io.BytesIO()
        bag = simulate_scan(9_100 + number, services.taxonomy, items=(1, 5), threat_rate=0.5)
        bag.image.save(out, "PNG")
        name = f"bag-{9_100 + number}.png"
        scan = read_scan(out.getvalue(), name, services.limits, scanner_id=f"line {1 + number % 2}", view="top")
        recent = number >= SCANS - 8
        age = timedelta(minutes=2 * (SCANS - number)) if recent else timedelta(days=DAYS - number // 2, hours=number)
        analysis = services.analyser.analyse(scan).model_copy(update={"created_at": now - age})
        look = appearance_of(scan.image)
        by = "admin" if recent else "ana"
        save_analysis(services.db, analysis, scan.content, by, media_type=scan.media_type, look=look)
        if not recent:
            _worked_on(services, analysis, number)
    daily_sums.bring_up_to_date(services.db)
    _candidate(services)
    return scripted


def _use_bundled_models(services: Any) -> None:
    from xray_app.detector.load import load_detector
    from xray_app.vlm.load import load_vlm

    services.analyser.vlm = load_vlm(services.settings, services.taxonomy)
    services.analyser.detector = load_detector(services.settings, services.taxonomy)


def _worked_on(services: Any, analysis: Analysis, number: int) -> None:
    """What people said of a scan: all were decided, some searched, some corrected, some of these reviewed."""
    db, action = services.db, analysis.risk.action
    decisions.add(db, analysis.id, "SEARCH" if number % 3 == 0 else action, 4.0 + number % 5, None, "ana")
    if number % 3 == 0:
        found = tuple(ItemCount(label=item.label, count=1) for item in analysis.report.items if item.threat)
        outcomes.add(db, analysis.id, found, None, "ana", services.taxonomy)
    if number % 2 == 0:
        boxes = [{"id": box.id, "label": box.label, "xyxy": box.xyxy} for box in analysis.boxes[:-1]]
        width, height = analysis.scan.width, analysis.scan.height
        boxes.append({"label": "scissors", "xyxy": (width * 0.1, height * 0.1, width * 0.3, height * 0.25)})
        labels = [box["label"] for box in boxes]
        items = [{"label": label, "count": labels.count(label)} for label in sorted(set(labels))]
        sent = CorrectionIn.model_validate({"items": items, "boxes": boxes})
        saved = corrections.add(db, analysis.id, sent, "ana", services.taxonomy, review_required=True)
        if number % 4 == 0:
            corrections.review(db, saved.id, "accepted", None, "admin")


def _candidate(services: Any) -> None:
    def figures_of(recall: float) -> Metrics:
        simulated = MetricSet(
            n=300, item_f1=recall, exact_list=0.41, threat_bag_recall=recall, false_alarm_rate=0.05, map50=0.8
        )
        return Metrics(simulated=simulated, site=MetricSet(n=9, item_f1=0.5))

    folder = services.db.data_dir / "trained"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    checks = (
        GateCheck(name="loads", answer="passed", detail="no missing and no unexpected keys"),
        GateCheck(name="threat recall", answer="passed", detail="lower bound -0.02, margin 0.05"),
        GateCheck(name="false alarms", answer="refused", detail="0.12, budget 0.10"),
    )
    vlm = services.analyser.vlm
    manifest = registry.new_manifest(
        id=uuid4().hex, kind="vlm-adapter", base=vlm.name, base_sha256=vlm.weights_sha256,
        taxonomy_sha256=services.taxonomy.sha256,
        metrics=RunMetrics(active=figures_of(0.83), candidate=figures_of(0.88)), gate=Gate.of(checks),
    )  # fmt: skip
    registry.register(services.db, folder, manifest)


def open_tab(page: Any, name: str) -> None:
    """Goes to a tab and waits until it shows what it shows."""
    page.get_by_role("tab", name=name, exact=True).click()
    shown = {
        "Analyse": "#viewer .stage", "Annotate": "#annotate-viewer .stage", "Review": "#review-list .picklist",
        "Search": "#find-status p", "Insights": "#insights .insights", "Export": "#exchange", "Train": "#counts .cards",
        "Users": "#user-table table", "Help": "#help-text",
    }  # fmt: skip
    page.wait_for_selector(shown[name])
    page.wait_for_timeout(1200)


def set_theme(page: Any, theme: str) -> None:
    if page.evaluate("document.documentElement.dataset.theme") != theme:
        page.click(".desk-head .theme")
    assert page.evaluate("document.documentElement.dataset.theme") == theme


def tour(page: Any, prefix: str, tabs: tuple[str, ...], prepared: Any = None) -> list[str]:
    """Every tab in both themes and at all sizes; says what is wrong with any of them."""
    wrong: list[str] = []
    for name in tabs:
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        open_tab(page, name)
        if prepared:
            prepared(name)
        for theme in ("dark", "light"):
            set_theme(page, theme)
            page.mouse.move(WIDTH / 2, HEIGHT - 1)
            page.wait_for_timeout(300)
            wrong += [f"{name}, {theme}: {one}" for one in page.evaluate(CONTRAST)]
            picture(page, f"{prefix}{name.lower()}-{theme}")
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(200)
            wrong += [f"{name}, {width}x{height}: {one}" for one in page.evaluate(TOO_WIDE)]
            if (width, height) != SIZES[0]:
                picture(page, f"{prefix}{name.lower()}-{width}")
    return wrong


def picture(page: Any, name: str) -> None:
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(300)
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


@pytest.mark.timeout(1800)
def test_every_tab_is_readable_in_both_themes_and_fits_every_screen(furnished: Desk, open_desk: Open) -> None:
    page = open_desk(furnished.url)

    def prepared(name: str) -> None:
        if name == "Analyse":
            page.click("#strip .tile")
            page.wait_for_function("xrayDesk.work !== null")
        if name == "Annotate":
            page.keyboard.press("t")
            page.wait_for_function("xrayDesk.work !== null")
        if name == "Review" and page.locator("#review-list .pick").count():
            page.click("#review-list .pick")
            page.wait_for_selector(".version")
        if name == "Search":
            page.wait_for_function("document.querySelector('.match img').naturalWidth > 100")
        page.wait_for_timeout(500)

    wrong = tour(page, "", TABS, prepared)
    assert wrong == [], "\n".join(wrong)


@pytest.mark.timeout(1200)
def test_an_empty_desk_is_readable_too(scripted: Desk, open_desk: Open) -> None:
    page = open_desk(scripted.url)
    wrong = tour(page, "empty-", TABS)
    assert wrong == [], "\n".join(wrong)


def test_the_chosen_theme_is_remembered_and_nothing_flashes(scripted: Desk, open_desk: Open) -> None:
    page = open_desk(scripted.url)
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(11, 16, 22)", "dark is the default"
    page.click(".desk-head .theme")
    assert page.evaluate(background) == "rgb(238, 242, 245)"
    assert not page.evaluate("document.body.classList.contains('dark')")
    # What stands before any script or style sheet of Gradio's has come.
    page.route("**/assets/**", lambda route: route.abort())
    page.reload(wait_until="domcontentloaded")
    assert page.evaluate("document.querySelector('#viewer')") is None
    assert page.evaluate(background) == "rgb(238, 242, 245)"
    page.unroute("**/assets/**")
    page.reload()
    page.wait_for_selector(".desk-head .theme")
    assert page.evaluate(background) == "rgb(238, 242, 245)"
    assert page.locator(".desk-head .theme").inner_text().endswith("Dark")


def test_the_list_of_keys_is_that_of_the_keyboard(scripted: Desk, open_desk: Open) -> None:
    page = open_desk(scripted.url)
    tables = page.evaluate(
        """() => xrayDesk.places.map(place => [place.name, Object.entries(place.keys).map(
        ([key, action]) => [key, action.help || '', Boolean(action.run)])])"""
    )
    names = {name for name, _ in tables}
    assert {"Analyse", "Annotate", "Review", "Search", "Picture and boxes", "Naming a box", "Everywhere"} <= names
    aliases = {"ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Backspace", "=", "Ctrl+Z", *"23456789"}
    aliases |= {f"Ctrl+{arrow}" for arrow in ("ArrowLeft", "ArrowUp", "ArrowDown")}
    assert {key for _, keys in tables for key, text, runs in keys if runs and not text} <= aliases
    for tab in ("Analyse", "Search", "Insights"):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(1200)
        page.keyboard.press("?")
        page.wait_for_selector("dialog.desk-help[open]")
        words = page.locator("dialog.desk-help").inner_text()
        assert [text for _, keys in tables for _, text, _ in keys if text not in words] == []
        if tab == "Search":
            assert page.locator("dialog.desk-help .here").first.inner_text().lower().startswith("search")
        picture(page, f"keys-{tab.lower()}")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog.desk-help", state="detached")


def test_where_the_keyboard_is_can_be_seen(scripted: Desk, open_desk: Open) -> None:
    page = open_desk(scripted.url)
    add(page, KNIFE)
    seen = 0
    for _ in range(45):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => { const node = document.activeElement, style = getComputedStyle(node);
            const at = node.getBoundingClientRect();
            return [node.tagName + '#' + node.id + '.' + node.className, at.width > 4 && at.height > 4,
              style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1]; }"""
        )
        if found[1] and not found[0].startswith("BODY"):
            assert found[2], f"no focus is seen on {found[0]}"
            seen += 1
    assert seen > 20


def test_nothing_moves_for_who_asked_for_stillness(scripted: Desk, open_desk: Open) -> None:
    page = open_desk(scripted.url)
    page.emulate_media(reduced_motion="reduce")
    add(page, KNIFE)
    page.wait_for_function("xrayDesk.seconds() > 0.7")
    page.keyboard.press("2")
    page.wait_for_selector("#undo-decision.offered")
    moving = page.evaluate(
        """() => document.getAnimations().map(one => one.animationName || one.transitionProperty)
        .filter(name => name !== 'said')"""
    )
    assert moving == []

"""The Insights tab: every chart with its table and CSV, empty states in words, nothing of others as markup."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.conftest import MakeAnalysis, png, save_analysis, scan_facts
from xray_app import auth
from xray_app.api.app import create_app
from xray_app.auth import Identity
from xray_app.errors import BadInput
from xray_app.html import charts
from xray_app.html.insights import _alarm
from xray_app.services import Services
from xray_app.store import corrections, decisions, outcomes
from xray_app.store.insights import drift
from xray_app.store.insights.drift import Drift, Feature
from xray_app.taxonomy import Taxonomy
from xray_app.types import CorrectionIn, ItemCount, Role
from xray_app.ui.desk import build_desk
from xray_app.ui.insights import InsightsTab

HOSTILE = "<img src=x onerror=alert(1)>"
FORMULA = "=HYPERLINK(1)"
SECTIONS = (
    "traffic", "decisions", "corrections-by-adapter", "detection", "confusion-items", "confusion-boxes", "analysts",
    "drift",
)  # fmt: skip


@pytest.fixture
def tab(services: Services, monkeypatch: pytest.MonkeyPatch) -> InsightsTab:
    """The tab of a built desk."""
    made: list[InsightsTab] = []
    build = InsightsTab.__init__
    monkeypatch.setattr(InsightsTab, "__init__", lambda self, *given: (made.append(self), build(self, *given))[1])
    build_desk(services)
    return made[0]


@pytest.fixture
def annotator() -> Identity:
    return Identity("annie", Role.ANNOTATOR)


def show(tab: InsightsTab, who: Identity, period: Any = 30, scanner: Any = "", adapter: Any = "") -> str:
    told = tab.show(who, period, scanner, adapter, "all classes")
    return str(told[tab.shown])


def some(services: Services, stored: MakeAnalysis, make_analysis: MakeAnalysis, taxonomy: Taxonomy) -> None:
    facts = scan_facts(png(1), scanner_id=HOSTILE)
    analysis = make_analysis(scan=facts)
    save_analysis(services.db, analysis, png(1), FORMULA)
    decisions.add(services.db, analysis.id, "SEARCH", 5.0, None, FORMULA)
    outcomes.add(services.db, analysis.id, [ItemCount(label="knife", count=1)], None, "ana", taxonomy)
    sent = CorrectionIn(items=(ItemCount(label="dagger", count=1),), boxes=())
    corrections.add(services.db, analysis.id, sent, HOSTILE, taxonomy, False)
    stored(shade=2)


def test_an_empty_desk_says_so_everywhere(tab: InsightsTab, annotator: Identity) -> None:
    page = show(tab, annotator)
    for name in SECTIONS:
        assert f'id="insight-{name}"' in page
    assert page.count("nothing-yet") == 7 + 3, "the last three of them say how to have test images"
    assert "too few scans" in page
    assert "NaN" not in page
    assert "drift-alarm" not in page


def test_each_chart_has_its_table_and_csv(
    tab: InsightsTab, annotator: Identity, services: Services, stored: MakeAnalysis, make_analysis: MakeAnalysis,
    taxonomy: Taxonomy,
) -> None:  # fmt: skip
    some(services, stored, make_analysis, taxonomy)
    page = show(tab, annotator)
    sections = re.findall(r'<section id="insight-([a-z-]+)">(.*?)</section>', page, re.DOTALL)
    assert [name for name, _ in sections] == [*SECTIONS, "vigilance", "vigilance-classes", "vigilance-blind"]
    for name, inside in sections[: len(SECTIONS)]:
        assert "<table" in inside, name
        assert ("nothing-yet" in inside) == (name == "drift"), name
        assert "/v1/insights/" in inside, name
    assert "Nothing to compare yet" in page, "all scans there are would be compared with themselves"
    assert "1 of 1" in page  # detection with its number
    assert "<img" not in page
    assert show(tab, annotator, scanner=HOSTILE).count("<img") == 0
    assert "No scans in this period" in show(tab, annotator, scanner="nobody's")


def test_the_csv_is_the_table_and_no_formula(
    tab: InsightsTab, annotator: Identity, services: Services, stored: MakeAnalysis, make_analysis: MakeAnalysis,
    taxonomy: Taxonomy,
) -> None:  # fmt: skip
    some(services, stored, make_analysis, taxonomy)
    page = show(tab, annotator)
    for name, role in (("annie", Role.ANNOTATOR), ("ana", Role.ANALYST)):
        auth.add_user(services.db, name, "a good password", role)
    headers = {
        name: {"Authorization": f"Bearer {auth.sign_in(services.db, name, 'a good password').token}"}
        for name in ("annie", "ana")
    }
    addresses = [one.replace("&amp;", "&") for one in re.findall(r'href="\.\.(/v1/insights/[^"]+)"', page)]
    assert len(addresses) == len(SECTIONS) + 1
    with TestClient(create_app(services)) as client:
        for address in addresses:
            assert client.get(address, headers=headers["ana"]).status_code == 403
            answer = client.get(address, headers=headers["annie"])
            assert answer.status_code == 200, answer.text
            assert "attachment" in answer.headers["content-disposition"]
            lines = list(csv.reader(io.StringIO(answer.text)))
            assert len(lines) > 1, address
            assert len({len(line) for line in lines}) == 1
            assert not [cell for line in lines for cell in line if cell.startswith(("=", "+", "@"))]
        for wrong in ("first=2026-01-02&last=2026-01-01", "first=x&last=y", "first=1990-01-01&last=2026-01-01"):
            answer = client.get(f"/v1/insights/traffic.csv?{wrong}", headers=headers["annie"])
            assert answer.status_code == 422
            assert "error" in answer.json()
        missing = client.get("/v1/insights/none.csv?first=2026-01-01&last=2026-01-02", headers=headers["annie"])
        assert missing.status_code == 404
    (busiest,) = [one for one in addresses if "analysts.csv" in one]
    with TestClient(create_app(services)) as client:
        assert f"'{FORMULA}" in client.get(busiest, headers=headers["annie"]).text


@pytest.mark.parametrize(
    ("period", "scanner"), [("30", ""), (True, ""), (31, ""), (None, ""), (7, ["x"]), (7, {"a": 1}), (10**9, "")]
)
def test_what_no_page_sends_is_refused(tab: InsightsTab, annotator: Identity, period: Any, scanner: Any) -> None:
    with pytest.raises(BadInput):
        show(tab, annotator, period, scanner)


def test_a_drift_is_said_in_words() -> None:
    moved = Drift(
        (Feature(HOSTILE, 1.0, "changed", "half of them 5% to 20%", "half of them 40% to 50%"),), 300,
        datetime.now(UTC).date(), 100, datetime.now(UTC).date() - timedelta(days=drift.RECENT_DAYS),
    )  # fmt: skip
    words = _alarm(moved)
    assert "no longer look like" in words
    assert "was half of them 5% to 20%; now half of them 40% to 50%" in words
    assert "<img" not in words


def test_bars_are_as_tall_as_their_numbers() -> None:
    series = [("HIGH", "risk-high", [1, 0]), ("LOW", "risk-low", [3, 4])]
    chart = charts.stacked_bars(["2026-11-20", "2026-11-21"], series, "x")
    assert chart.count("url(#bar-lines)") >= 2, "told apart without colour, in the chart and in its legend"
    bars = re.findall(r'<rect class="risk-[^>]*height="([\d.]+)"', chart.split("<ul")[0])
    tall = [float(one) for one in bars]
    assert tall == pytest.approx([43.5, 130.5, 174.0], abs=0.1)
    assert "2026-11-20: 4 x (HIGH 1, LOW 3)" in chart

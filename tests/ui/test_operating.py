"""The Thresholds tab: what it says of a detection, what it sets, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from tests.operating_site import Site
from xray_app.auth import Identity
from xray_app.errors import BadInput, Conflict, NotFound
from xray_app.types import Role
from xray_app.ui.guard import Guard
from xray_app.ui.operating import ThresholdsTab

pytestmark = pytest.mark.usefixtures("said")
BOSS = Identity("boss", Role.ADMIN)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    made.fill(threats=31, clear=20)
    yield made
    made.services.db.close()


@pytest.fixture
def tab(site: Site) -> ThresholdsTab:
    with gr.Blocks(), gr.Tab("Thresholds") as holder:
        return ThresholdsTab(Guard(site.services), holder)


def test_it_says_what_a_detection_promises_and_costs(tab: ThresholdsTab) -> None:
    shown = tab.open(BOSS, "A", 0.9, 0.95, 200)
    assert ("A", "A") in shown[tab.scanner]["choices"]
    assert "finds at least 90% of threats (95 % sure)" in shown[tab.said]
    assert "At 200 bags an hour" in shown[tab.said]
    assert "Rests on 51 held-out bags, 31 with a threat" in shown[tab.said]
    assert "No threshold is in force" in shown[tab.said]
    more = tab.show(BOSS, "A", 0.95, 0.97, 200)[tab.said]
    assert "it takes 28 more held-out bags with a threat: there are 31" in more
    nowhere = tab.show(BOSS, "Z", 0.9, 0.95, 200)[tab.said]
    assert "0 held-out bags, 0 with a threat: both kinds are needed" in nowhere


def test_it_is_set_with_a_reason_and_withdrawn_with_one(tab: ThresholdsTab, site: Site) -> None:
    with pytest.raises(BadInput, match="Say why"):
        tab.set_point(BOSS, "A", 0.9, 0.95, 150, "  ")
    with pytest.raises(Conflict, match="28 more"):
        tab.set_point(BOSS, "A", 0.95, 0.97, 150, "too much")
    done = tab.set_point(BOSS, "A", 0.9, 0.95, 150, "first evidence")
    assert done[tab.reason] == ""
    assert "first evidence" in done[tab.said]
    assert site.get("")[0]["scanner_id"] == "A"
    with pytest.raises(BadInput, match="of its own"):
        tab.withdraw_point(BOSS, "", 0.9, 0.95, 150, "not there")
    gone = tab.withdraw_point(BOSS, "A", 0.9, 0.95, 150, "new belt")
    assert "No threshold is in force" in gone[tab.said]


def test_held_out_scans_are_measured_a_few_at_a_time(tab: ThresholdsTab, site: Site) -> None:
    site.services.analyser.detector.sha256 = "3" * 64
    try:
        before = tab.show(BOSS, "A", 0.9, 0.95, 150)[tab.said]
        assert "51 scans that the models in use have not seen" in before
        *steps, last = [said[tab.said] for said in tab.measure_all(BOSS, "A", 0.9, 0.95, 150)]
        assert "Measuring: 0 of 51 scans" in steps[0]
        assert "Measuring: 48 of 51 scans" in steps[-1]
        assert "Rests on 51 held-out bags" in last
    finally:
        site.services.analyser.detector.sha256 = "1" * 64


@pytest.mark.parametrize(
    "values",
    [
        ("A", 1.5, 0.95, 150), ("A", None, 0.95, 150), (3, 0.9, 0.95, 150), ("A", 0.9, True, 150),
        ("A", 0.9, 0.95, 0), ("A", 0.9, 0.95, "many"), ("x" * 201, 0.9, 0.95, 150),
    ],
)  # fmt: skip
def test_what_a_browser_makes_up_is_refused(tab: ThresholdsTab, values: tuple[Any, ...]) -> None:
    with pytest.raises((BadInput, NotFound)):
        tab.show(BOSS, *values)

"""The Search tab: what its handlers answer, also to values that no page would send."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import MakeAnalysis
from tests.ui.conftest import Ask
from xray_app import auth
from xray_app.auth import Identity
from xray_app.errors import BadInput, NotFound
from xray_app.services import Services
from xray_app.store import decisions
from xray_app.types import Role
from xray_app.ui.desk import build_desk
from xray_app.ui.search import FIELDS, PAGE, GalleryTab

HOSTILE = "<img src=x onerror=alert(1)>"
NAMES = (*FIELDS, "first", "last")


@pytest.fixture
def tab(services: Services, monkeypatch: pytest.MonkeyPatch) -> GalleryTab:
    """The tab of a built desk."""
    made: list[GalleryTab] = []
    build = GalleryTab._build
    monkeypatch.setattr(GalleryTab, "_build", lambda self: (made.append(self), build(self))[1])
    build_desk(services)
    return made[0]


def asked(**values: Any) -> list[Any]:
    return [values.get(name, "") for name in NAMES]


def shown(tab: GalleryTab, told: dict[Any, Any]) -> list[str]:
    return [item["id"] for item in told[tab.grid]["items"]]


def test_a_filter_finds_and_says_how_many(tab: GalleryTab, analyst: Identity, stored: MakeAnalysis) -> None:
    first, second = stored(shade=1), stored(shade=2)
    decisions.add(tab.services.db, first.id, "SEARCH", None, None, "ana")
    told = tab.find(analyst, *asked(decision="SEARCH"))
    assert shown(tab, told) == [first.id]
    assert "<b>1</b> scan " in told[tab.status]
    assert shown(tab, tab.find(analyst, *asked(decision="none", models="differ"))) == [second.id]
    assert shown(tab, tab.find(analyst, *asked(models="agree"))) == []
    assert "Nothing fits" in tab.find(analyst, *asked(risk="LOW"))[tab.status]


def test_an_empty_desk_says_what_to_do(tab: GalleryTab, analyst: Identity) -> None:
    assert "Add some on <b>Analyse</b>" in tab.find(analyst, *asked())[tab.status]


def test_pages_go_forth_and_back(tab: GalleryTab, analyst: Identity, stored: MakeAnalysis) -> None:
    made = {stored(shade=number).id for number in range(2 * PAGE + 3)}
    one = tab.find(analyst, *asked())
    two = tab.go_older(analyst, *asked(), one[tab.cursors])
    three = tab.go_older(analyst, *asked(), two[tab.cursors])
    pages = [shown(tab, told) for told in (one, two, three)]
    assert [len(page) for page in pages] == [PAGE, PAGE, 3]
    assert {id for page in pages for id in page} == made
    assert f"{2 * PAGE + 1} to {2 * PAGE + 3}" in three[tab.status]
    assert three[tab.older]["interactive"] is False
    assert shown(tab, tab.go_older(analyst, *asked(), three[tab.cursors])) == pages[2]
    assert shown(tab, tab.go_newer(analyst, *asked(), three[tab.cursors])) == pages[1]
    back = tab.go_newer(analyst, *asked(), two[tab.cursors])
    assert shown(tab, back) == pages[0]
    assert back[tab.newer]["interactive"] is False


@pytest.mark.parametrize(
    "values",
    [
        {"risk": "red"}, {"risk": ["HIGH"]}, {"risk": {"a": 1}}, {"decision": 1}, {"models": "perhaps"},
        {"models": [1]}, {"first": "yesterday"}, {"last": "2026-02-31"}, {"first": 5}, {"label": "x" * 500},
        {"analyst": "a\0"},
    ],
)  # fmt: skip
def test_what_no_page_sends_is_refused(tab: GalleryTab, analyst: Identity, values: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        tab.find(analyst, *asked(**values))


@pytest.mark.parametrize("grid", [None, "x", {}, {"chosen": 5}, {"chosen": "x" * 100}, {"chosen": "a\0"}])
def test_opening_nothing_is_refused(tab: GalleryTab, analyst: Identity, grid: Any) -> None:
    with pytest.raises(BadInput):
        tab.open(analyst, grid)


def test_opening_one_shows_it_on_analyse(tab: GalleryTab, analyst: Identity, stored: MakeAnalysis) -> None:
    analysis = stored()
    told = tab.open(analyst, {"chosen": analysis.id})
    assert told[tab.tabs]["selected"] == "analyse"
    assert any(isinstance(value, dict) and value.get("analysis_id") == analysis.id for value in told.values())
    with pytest.raises(NotFound):
        tab.open(analyst, {"chosen": "0" * 32})


def test_a_filter_is_kept_used_and_deleted(tab: GalleryTab, analyst: Identity, said: list[str]) -> None:
    auth.add_user(tab.services.db, analyst.username, "a good password", Role.ANALYST)
    values = asked(label="knife", models="differ", first="2026-11-01", corrected="no")
    tab.save_filter(analyst, HOSTILE, *values)
    assert "<img" not in said[0]
    told = tab.use_saved(analyst, HOSTILE)
    assert [told[field] for field in (*tab.fields.values(), tab.first, tab.last)] == values
    stranger = Identity("ben", Role.ADMIN)
    with pytest.raises(NotFound):
        tab.use_saved(stranger, HOSTILE)
    tab.forget_filter(analyst, HOSTILE)
    with pytest.raises(NotFound):
        tab.use_saved(analyst, HOSTILE)
    with pytest.raises(BadInput):
        tab.save_filter(analyst, " ", *values)


def test_the_lists_hold_what_there_is(tab: GalleryTab, analyst: Identity, stored: MakeAnalysis, ask: Ask) -> None:
    stored(by="chi")
    told = tab.open_tab(analyst, *asked(), [])
    assert told[tab.fields["analyst"]]["choices"] == [("any", ""), ("chi", "chi")]
    assert told[tab.fields["adapter"]]["choices"] == [("any", ""), ("base model", "base")]
    assert ("knife", "knife") in told[tab.fields["label"]]["choices"]

"""What was decided elsewhere meanwhile is shown before it is overruled."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from tests.ui.test_analyse import add
from xray_app.auth import Identity
from xray_app.services import Services
from xray_app.store import decisions
from xray_app.ui.analyse import AnalyseTab
from xray_app.ui.guard import Guard


@pytest.fixture
def tab(services: Services) -> AnalyseTab:
    with gr.Blocks():
        return AnalyseTab(Guard(services))


@pytest.fixture
def work(tab: AnalyseTab, analyst: Identity, upload: Any) -> dict[str, Any]:
    value: dict[str, Any] = add(tab, analyst, upload("bag.png"))[tab.viewer]
    return value


def test_somebody_elses_newer_decision_is_shown_before_it_is_overruled(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any, said: list[str]
) -> None:
    theirs = decisions.add(services.db, work["analysis_id"], "SEARCH", 2.0, None, "<ben>")
    page = tab.decision.deciding("REVIEW")(analyst, work, "typed")
    assert [one.author for one in decisions.history(services.db, work["analysis_id"])] == ["<ben>"]
    assert "&lt;ben&gt; decided SEARCH at" in said[-1]
    assert "SEARCH" in page[tab.banner]
    assert tab.decision.note not in page, "what was typed stays"
    assert page[tab.viewer]["decided"] == theirs.id
    tab.decision.deciding("REVIEW")(analyst, page[tab.viewer], "typed")
    assert [one.decision for one in decisions.standing(services.db, work["analysis_id"])] == ["SEARCH", "REVIEW"]


def test_two_windows_of_one_person_see_each_others_decision(
    tab: AnalyseTab, analyst: Identity, services: Services, work: Any, said: list[str]
) -> None:
    first = tab.decision.deciding("SEARCH")(analyst, work | {"dirty": True}, None)
    page = tab.decision.deciding("REVIEW")(analyst, work, None)
    assert "You decided SEARCH in another window at" in said[-1]
    assert "SEARCH" in page[tab.banner]
    assert [one.decision for one in decisions.history(services.db, work["analysis_id"])] == ["SEARCH"]
    # The window that decided knows, though unsaved edits keep the scan on its screen as it was.
    tab.decision.deciding("REVIEW")(analyst, work, None, first[tab.decision.made])
    assert [one.decision for one in decisions.history(services.db, work["analysis_id"])] == ["SEARCH", "REVIEW"]

"""Test images and blind scans at the desk: nothing seen before, everything after, and one's own figures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from tests.conftest import png
from tests.ui.conftest import PASSWORD
from tests.ui.test_analyse import add
from xray_app import auth
from xray_app.api.app import create_app
from xray_app.auth import Identity
from xray_app.errors import Conflict, NotFound
from xray_app.html.tip import result_banner
from xray_app.services import Services
from xray_app.store import decisions, tip
from xray_app.store.database import Database
from xray_app.store.tables import TrialRow
from xray_app.store.tip import Truth
from xray_app.tip import TipMaker
from xray_app.types import Role
from xray_app.ui.analyse import AnalyseTab
from xray_app.ui.guard import Guard
from xray_app.ui.insights import InsightsTab

pytestmark = pytest.mark.usefixtures("said")
SAID_BY_MODELS = ("knife", "scissors", "plastic bottle", "HIGH")


def desk(services: Services, **shares: float) -> AnalyseTab:
    settings = services.settings.model_copy(update=shares)
    with gr.Blocks():
        return AnalyseTab(Guard(replace(services, settings=settings)))


def trials_in(db: Database, page: dict[Any, Any], tab: AnalyseTab) -> list[str]:
    """Which scans of the queue are test images: the store knows, the page does not."""
    with db.read() as session:
        return [one["id"] for one in page[tab.strip]["items"] if session.get(TrialRow, one["id"])]


@pytest.fixture
def threats_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test image holds a threat."""
    monkeypatch.setattr("xray_app.tip.THREAT_SHARE", 1.0)


@pytest.mark.usefixtures("threats_alone")
def test_a_test_image_joins_the_queue_unmarked_and_is_told_once_it_is_answered(
    services: Services, analyst: Identity, upload: Any
) -> None:
    tab = desk(services, test_image_share=0.5)
    page = add(tab, analyst, upload("bag-017.png"), upload("bag-018.png", shade=90))
    tiles = page[tab.strip]["items"]
    assert len(tiles) == 4
    tests = trials_in(services.db, page, tab)
    assert len(tests) == 2
    assert len({frozenset(tile) for tile in tiles}) == 1, "no tile has a part that another lacks"
    assert len({(tile["level"], tile["section"], tile["decision"]) for tile in tiles}) == 1

    shown = tab.show(analyst, tests[0])
    assert "test" not in json.dumps({key: value for key, value in shown[tab.viewer].items() if key != "labels"}).lower()
    assert shown[tab.answered.words] == ""
    assert 'data-level="HIGH"' in shown[tab.banner]
    asked = tab.decision.deciding("CLEAR")(analyst, shown[tab.viewer] | {"seconds": 4.0}, "")
    assert asked[tab.decision.confirm] == gr.update(visible=True), "clearing a HIGH bag asks as of any other"
    assert "test" not in asked[tab.decision.question] + asked[tab.banner]

    missed = tab.decision.clear_high(analyst, shown[tab.viewer] | {"seconds": 4.0}, "a toy")
    assert 'data-result="miss"' in missed[tab.banner]
    truth = missed[tab.viewer]
    assert (truth["analysis_id"], truth["readonly"]) == (tests[0], True)
    (box,) = truth["boxes"]
    assert box["label"] in missed[tab.banner]
    assert box["threat"]
    assert missed[tab.decision.made] == [], "there is nothing to undo"
    (tile,) = [one for one in missed[tab.strip]["items"] if one["id"] == tests[0]]
    assert (tile["section"], tile["decision"]) == ("done", "CLEAR · test: miss")

    following = tab.answered.next_scan(analyst)[tab.viewer]
    assert following["analysis_id"] not in (tests[0],)
    hit = tab.decision.deciding("SEARCH")(analyst, tab.show(analyst, tests[1])[tab.viewer], "")
    assert 'data-result="hit"' in hit[tab.banner]
    assert hit[tab.outcome.group] == gr.update(visible=False), "nobody searches a test image"
    with pytest.raises(Conflict, match="test image"):
        tab.decision.save_correction(analyst, hit[tab.viewer], None, None)


def test_who_went_wrong_by_the_desks_advice_is_told_so(
    services: Services, analyst: Identity, upload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_app.tip.THREAT_SHARE", 0.0)
    tab = desk(services, test_image_share=0.5)
    page = add(tab, analyst, upload("bag-017.png"), upload("bag-018.png", shade=90))
    first, second = trials_in(services.db, page, tab)
    advised = tab.decision.deciding("SEARCH")(analyst, tab.show(analyst, first)[tab.viewer], "")
    assert "false alarm" in advised[tab.answered.words]
    assert "The desk advised SEARCH too" in advised[tab.answered.words]
    own = tab.decision.deciding("REVIEW")(analyst, tab.show(analyst, second)[tab.viewer], "")
    assert "false alarm" in own[tab.answered.words]
    assert "advised" not in own[tab.answered.words]


def test_nothing_comes_up_where_the_share_is_zero(services: Services, analyst: Identity, upload: Any) -> None:
    tab = desk(services)
    page = add(tab, analyst, upload("bag.png"))
    assert len(page[tab.strip]["items"]) == 1
    assert page[tab.viewer]["boxes"]


def sent(page: dict[Any, Any], tab: AnalyseTab) -> str:
    """All that reaches the browser of a page, without the list of labels one may choose from."""
    work = {key: value for key, value in page[tab.viewer].items() if key != "labels"}
    return json.dumps([work, *(str(value) for part, value in page.items() if part is not tab.viewer)])


def test_a_blind_scan_is_sent_without_a_word_of_the_models_until_it_is_decided(
    services: Services,
    analyst: Identity,
    upload: Any,
) -> None:
    tab = desk(services, blind_share=1.0)
    page = add(tab, analyst, upload("top.png"), upload("side.png", shade=90), bag="bag 7")
    assert not [word for word in SAID_BY_MODELS if word in sent(page, tab)]
    (tile,) = page[tab.strip]["items"]
    assert tile["level"] == "BLIND"
    page = tab.show(analyst, tile["id"])
    assert not [word for word in SAID_BY_MODELS if word in sent(page, tab)]
    work = page[tab.viewer]
    assert (work["views"][0]["boxes"], work["views"][0]["level"]) == ([], "BLIND")

    drawn = {"id": "new-1", "label": "knife", "xyxy": [10, 10, 60, 60]}
    items = [{"label": "knife", "count": 1}]
    saved = tab.decision.save_correction(analyst, work | {"boxes": [drawn], "items": items}, None, None)
    assert saved[tab.viewer]["base_revision"] == 1
    assert [box["label"] for box in saved[tab.viewer]["boxes"]] == ["knife"], "what the person drew, alone"
    assert "scissors" not in sent(saved, tab)

    asked = tab.decision.deciding("CLEAR")(analyst, saved[tab.viewer] | {"seconds": 2.0}, "")
    assert "knife, marked by ana" in asked[tab.decision.question], "a person's own word is no secret"
    assert "VLM" not in asked[tab.decision.question]
    shown = tab.decision.clear_high(analyst, saved[tab.viewer] | {"seconds": 2.0}, "a toy")
    assert shown[tab.viewer]["analysis_id"] == work["analysis_id"], "it stays, to be compared"
    assert len(shown[tab.viewer]["predicted"]) == 3
    assert "The models say HIGH, advice SEARCH; you decided CLEAR" in shown[tab.answered.words]
    assert [one.blind for one in decisions.history(services.db, work["analysis_id"])] == [True]
    anew = tab.decision.deciding("SEARCH")(analyst, shown[tab.viewer], "")
    assert anew[tab.outcome.group] is not None
    assert [one.revised for one in decisions.history(services.db, work["analysis_id"])] == [False, True]


def test_no_route_tells_what_is_hidden(services: Services, analyst: Identity, upload: Any) -> None:
    auth.add_user(services.db, "ana", PASSWORD, Role.ADMIN)
    tab = desk(services, blind_share=1.0)
    hidden = add(tab, analyst, upload("bag.png"), bag="bag 7")[tab.viewer]["analysis_id"]
    correction = {"items": [], "boxes": []}
    with TestClient(create_app(services)) as client:
        client.headers["authorization"] = f"Bearer {auth.sign_in(services.db, 'ana', PASSWORD).token}"
        assert client.get(f"/v1/analyses/{hidden}").status_code == 409
        assert client.get("/v1/analyses").json()["items"] == []
        assert client.get("/v1/bags/bag%207").status_code == 404
        assert client.post(f"/v1/analyses/{hidden}/corrections", json=correction).status_code == 409
        assert client.get(f"/v1/analyses/{hidden}/corrections").status_code == 409
        assert client.post(f"/v1/queue/{hidden}/claim").status_code == 404
        assert client.get("/v1/queue").json()["items"] == []
        decided = client.post(f"/v1/analyses/{hidden}/decision", json={"decision": "REVIEW"})
        assert decided.json()["blind"] is True
        assert client.get(f"/v1/analyses/{hidden}").json()["risk"]["level"] == "HIGH"


def test_a_scan_that_comes_by_the_api_may_be_followed_by_a_test_image(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth.add_user(services.db, "ana", PASSWORD, Role.ANALYST)
    asked = []
    monkeypatch.setattr(TipMaker, "maybe", lambda self, like, username: asked.append((like.filename, username)))
    with TestClient(create_app(services)) as client:
        client.headers["authorization"] = f"Bearer {auth.sign_in(services.db, 'ana', PASSWORD).token}"
        answer = client.post("/v1/analyze", files={"file": ("bag.png", png())})
    assert answer.status_code == 200
    assert asked == [("bag.png", "ana")]


@pytest.mark.usefixtures("threats_alone")
def test_everybody_sees_their_own_figures_and_a_supervisor_everybodys(
    services: Services, analyst: Identity, upload: Any
) -> None:
    tab = desk(services, test_image_share=0.5)
    for who in (analyst, Identity("ben", Role.ANALYST)):
        page = add(tab, who, upload("bag.png", shade=40 + len(who.username)))
        (test,) = trials_in(services.db, page, tab)
        tab.decision.deciding("SEARCH")(who, tab.show(who, test)[tab.viewer], "")
    for name in ("ana", "ben"):
        auth.add_user(services.db, name, PASSWORD, Role.ANALYST if name == "ana" else Role.ANNOTATOR)
    with gr.Blocks(), gr.Tab() as place:
        insights = InsightsTab(Guard(services), place)
    own = insights.show(analyst, 30, "", "", "all classes")[insights.shown]
    assert "ana: hits" in own
    assert "ben" not in own
    assert "insight-traffic" not in own, "of the traffic an analyst sees nothing"
    whole = insights.show(Identity("ben", Role.ANNOTATOR), 30, "", "", "all classes")[insights.shown]
    assert "ana: hits" in whole
    assert "everybody: hits" in whole
    assert "insight-traffic" in whole
    with TestClient(create_app(services)) as client:
        for name, page in (("ana", own), ("ben", whole)):
            token = auth.sign_in(services.db, name, PASSWORD).token
            links = re.findall(r'href="\.\.(/v1/vigilance/[^"]+)"', page)
            assert len(links) == 3
            for link in links:
                answer = client.get(link.replace("&amp;", "&"), headers={"authorization": f"Bearer {token}"})
                assert answer.status_code == 200
                if "/vigilance.csv" in link:
                    assert ("ben" in answer.text) is (name == "ben")
        missing = client.get(
            "/v1/vigilance/none.csv?first=2026-01-01&last=2026-01-02", headers={"authorization": f"Bearer {token}"}
        )
        assert missing.status_code == 404


def test_without_a_scan_that_waits_the_way_on_says_so(services: Services, analyst: Identity) -> None:
    with pytest.raises(NotFound, match="No scan waits"):
        desk(services).answered.next_scan(analyst)


def test_a_label_in_a_truth_is_shown_as_text(services: Services, analyst: Identity) -> None:
    truth = Truth(label="<b>knife</b>", xyxy=(1.0, 1.0, 20.0, 20.0))
    assert "<b>knife" not in result_banner(tip.Tested(truth, "miss"), [])

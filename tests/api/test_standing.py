"""What a person found, through the API: it stands over what the models said, and clearing it asks for a note."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import PASSWORD, FixedDetector, FixedVlm, make_services, png
from tests.api.test_scans import upload
from xray_app import auth
from xray_app.api.app import create_app
from xray_app.errors import BadInput
from xray_app.services import Services
from xray_app.types import Role
from xray_app.vlm.base import Answer

Post = Callable[..., Any]
KNIFE = {"level": "HIGH", "action": "SEARCH", "reason": "knife, marked by nora", "by": "nora"}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A desk whose models see nothing, with three people."""
    with pytest.MonkeyPatch.context() as patch:
        said = "Items detected: none. Security risk: LOW - no threats detected."
        patch.setattr(FixedVlm, "answer", lambda self, images, *_: [Answer(said, finished=True) for _ in images])
        patch.setattr(FixedDetector, "detect", lambda self, image, threshold=0.05: [])
        services = make_services(tmp_path_factory.mktemp("calm"))
        for name, role in (("ana", Role.ANALYST), ("nora", Role.ANNOTATOR), ("ben", Role.ANNOTATOR)):
            auth.add_user(services.db, name, PASSWORD, role)
        yield services


@pytest.fixture(scope="module")
def desk(calm: Services) -> Iterator[TestClient]:
    with TestClient(create_app(calm), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def headers(calm: Services) -> Callable[[str], dict[str, str]]:
    tokens = {name: auth.sign_in(calm.db, name, PASSWORD).token for name in ("ana", "nora", "ben")}
    return lambda name: {"Authorization": f"Bearer {tokens[name]}"}


@pytest.fixture
def bag(desk: TestClient, headers: Callable[[str], dict[str, str]]) -> tuple[str, list[dict[str, Any]]]:
    """A bag of two views, both LOW by the models: its name, its analyses."""
    name = f"bag {uuid.uuid4().hex}"
    views = [
        desk.post("/v1/analyze", **upload(png()), data={"bag_id": name, "view": view}, headers=headers("ana")).json()
        for view in ("top", "side")
    ]
    return name, views


@pytest.fixture
def say(desk: TestClient, headers: Callable[[str], dict[str, str]]) -> Post:
    """Posts a correction that lists these labels on top of what there is."""

    def post(who: str, analysis_id: str, *labels: str, boxes: tuple[str, ...] = ()) -> Any:
        path = f"/v1/analyses/{analysis_id}/corrections"
        newest = desk.get(path, headers=headers(who)).json()["items"]
        sent = {
            "items": [{"label": label, "count": 1} for label in labels],
            "boxes": [{"label": label, "xyxy": [4, 4, 20, 20]} for label in boxes],
            "base_revision": len(newest),
        }
        answer = desk.post(path, json=sent, headers=headers(who))
        assert answer.status_code == 201, answer.text
        return answer.json()

    return post


def test_a_persons_box_stands_over_the_models_everywhere(
    desk: TestClient, headers: Callable[[str], dict[str, str]], bag: Any, say: Post
) -> None:
    name, (top, side) = bag
    calm = {"level": "LOW", "action": "REVIEW", "reason": "model not validated on this scanner", "by": "policy"}
    assert top["standing"] == calm
    say("nora", side["id"], boxes=("knife",))
    found = desk.get(f"/v1/bags/{name}", headers=headers("ana")).json()
    assert (found["risk"]["level"], found["standing"]) == ("LOW", KNIFE)
    assert [one["standing"] for one in found["analyses"]] == [calm, KNIFE]
    one = desk.get(f"/v1/analyses/{side['id']}", headers=headers("ana")).json()
    assert (one["risk"], one["standing"]) == (side["risk"], KNIFE)
    listed = desk.get("/v1/analyses?limit=2", headers=headers("ana")).json()["items"]
    assert [(one["id"], one["standing"]) for one in listed] == [(side["id"], KNIFE), (top["id"], calm)]
    waiting = desk.get("/v1/queue", headers=headers("nora")).json()["items"]
    (entry,) = [one for one in waiting if one["analysis_id"] == top["id"]]
    assert (entry["risk_level"], entry["standing"]) == ("LOW", KNIFE)


def test_clearing_what_a_person_found_needs_a_note_in_every_view(
    desk: TestClient, headers: Callable[[str], dict[str, str]], bag: Any, say: Post
) -> None:
    _, (top, side) = bag
    path = f"/v1/analyses/{top['id']}/decision"
    cleared = desk.post(path, json={"decision": "CLEAR"}, headers=headers("ana"))
    assert cleared.status_code == 201
    say("nora", side["id"], "knife")
    with_key = headers("ana") | {"Idempotency-Key": uuid.uuid4().hex}
    for sent, sender in (({}, headers("ana")), ({"note": "  "}, headers("ana")), ({"note": None}, with_key)):
        refused = desk.post(path, json={"decision": "CLEAR"} | sent, headers=sender)
        assert refused.status_code == 422
        assert refused.json()["error"]["code"] == "needs_note"
        assert refused.json()["error"]["details"]["standing"] == KNIFE
    noted = desk.post(path, json={"decision": "CLEAR", "note": "a butter knife"}, headers=headers("ana"))
    assert (noted.status_code, noted.json()["flagged"]) == (201, True)
    for word in ("REVIEW", "SEARCH"):
        assert desk.post(path, json={"decision": word}, headers=headers("ana")).status_code == 201


def test_lowering_waits_for_a_second_person_though_reviews_are_off(
    desk: TestClient, headers: Callable[[str], dict[str, str]], bag: Any, say: Post
) -> None:
    name, (top, _) = bag
    assert say("nora", top["id"], "knife")["status"] == "accepted"
    lower = say("ben", top["id"], "laptop")
    assert lower["status"] == "pending"

    def level() -> str:
        return str(desk.get(f"/v1/bags/{name}", headers=headers("ana")).json()["standing"]["level"])

    assert level() == "HIGH"
    path = f"/v1/corrections/{lower['id']}/review"
    assert desk.post(path, json={"status": "accepted"}, headers=headers("ben")).status_code == 403
    assert desk.post(path, json={"status": "accepted"}, headers=headers("nora")).status_code == 200
    assert level() == "LOW"


def test_a_search_that_found_a_knife_counts_and_one_that_found_nothing_lowers_nothing(
    desk: TestClient, headers: Callable[[str], dict[str, str]], bag: Any
) -> None:
    name, (top, _) = bag
    path = f"/v1/analyses/{top['id']}/outcome"
    for found in ([{"label": "knives", "count": 2}], []):
        assert desk.post(path, json={"found": found}, headers=headers("ana")).status_code == 201
        stands = desk.get(f"/v1/bags/{name}", headers=headers("ana")).json()["standing"]
        assert (stands["level"], stands["by"]) == ("HIGH", "ana")
        assert stands["reason"] == "knife, found in a hand search by ana"


@pytest.mark.parametrize("name", ["policy", "Policy", "POLICY", "\uff50olicy"])
def test_nobody_is_called_policy(calm: Services, name: str) -> None:
    with pytest.raises(BadInput, match="policy"):
        auth.add_user(calm.db, name, PASSWORD, Role.ANALYST)
    assert auth.add_user(calm.db, f"{name} {uuid.uuid4().hex[:6]}", PASSWORD, Role.ANALYST).username

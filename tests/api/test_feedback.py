"""Decisions, outcomes, corrections and their review, through the API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import PASSWORD, make_services, png
from xray_app import auth
from xray_app.api.app import create_app
from xray_app.services import Services
from xray_app.store import runs
from xray_app.types import Role, SampleCounts

TABLES = ("analyses", "scans", "decisions", "outcomes", "corrections", "correction_reviews")
BOX = {"label": "knife", "xyxy": [4, 5, 20, 30]}
KNIFE = {"label": "knife", "count": 1}


def rows(services: Services) -> dict[str, int]:
    with services.db.read() as session:
        connection = session.connection()
        return {
            table: connection.exec_driver_sql(f"select count(*) from {table}").scalar_one()  # noqa: S608
            for table in TABLES
        }


def test_decisions_are_kept_beside_each_other(
    client: TestClient, services: Services, analyst: dict[str, str], analysed: dict[str, Any]
) -> None:
    before = rows(services)["decisions"]
    for body in ({"decision": "SEARCH", "seconds": 4.5, "note": "handle seen"}, {"decision": "REVIEW"}):
        answer = client.post(f"/v1/analyses/{analysed['id']}/decision", json=body, headers=analyst)
        assert answer.status_code == 201
        assert answer.json()["decision"] == body["decision"]
        assert answer.json()["author"] == "analyst"
    assert rows(services)["decisions"] == before + 2


def test_an_outcome_says_what_the_search_found(
    client: TestClient, analyst: dict[str, str], analysed: dict[str, Any]
) -> None:
    body = {"found": [{"label": "SwissArmyKnife", "count": 2}], "note": "in the shoe"}
    answer = client.post(f"/v1/analyses/{analysed['id']}/outcome", json=body, headers=analyst)
    assert answer.status_code == 201
    assert answer.json()["found"] == [{"label": "Swiss army knife", "count": 2}]
    nothing = client.post(f"/v1/analyses/{analysed['id']}/outcome", json={"found": []}, headers=analyst)
    assert nothing.status_code == 201


def test_corrections_are_revisions(client: TestClient, analyst: dict[str, str], analysed: dict[str, Any]) -> None:
    path = f"/v1/analyses/{analysed['id']}/corrections"
    model_box = analysed["boxes"][0]
    body = {
        "items": [KNIFE, {"label": "PlasticBottle", "count": 2}],
        "boxes": [{"id": model_box["id"], "label": "scissors", "xyxy": model_box["xyxy"]}],
        "labelled_classes": ["knife", "scissors", "PlasticBottle"],
        "comment": "these are scissors",
    }
    first = client.post(path, json=body, headers=analyst)
    assert first.status_code == 201, first.text
    told = first.json()
    assert told["revision"] == 1
    assert told["status"] == "accepted"
    assert told["author"] == "analyst"
    assert told["split"] in ("train", "holdout")
    assert [item["label"] for item in told["items"]] == ["knife", "plastic bottle"], "as sent, drawn scissors or not"
    assert told["boxes"][0]["id"] == model_box["id"]
    assert told["boxes"][0]["source"] == "human"
    assert told["diff"]["boxes_changed"] == [model_box["id"]]

    stale = client.post(path, json=body, headers=analyst)
    assert stale.status_code == 409
    newest = stale.json()["error"]["details"]["newest"]
    assert newest in (1, told) or newest["id"] == told["id"]

    second = client.post(path, json={**body, "base_revision": 1}, headers=analyst)
    assert second.json()["revision"] == 2
    listed = client.get(path, headers=analyst).json()
    assert [correction["revision"] for correction in listed["items"]] == [1, 2]
    assert listed["next"] is None
    page = client.get(path, params={"limit": 1}, headers=analyst).json()
    assert page["next"] == told["id"]
    rest = client.get(path, params={"limit": 1, "after": page["next"]}, headers=analyst).json()
    assert [correction["revision"] for correction in rest["items"]] == [2]
    assert client.get(path, params={"after": "nonsense"}, headers=analyst).status_code == 422


def items(*counts: str, label: str = "knife") -> str:
    """A correction of these counts, as JSON text: numbers that JSON does not have among them."""
    listed = ", ".join(f'{{"label": "{label}", "count": {count}}}' for count in counts)
    return f'{{"items": [{listed}], "boxes": []}}'


def box(xyxy: str, label: str = "knife", more: str = "") -> str:
    """A correction with one box, as JSON text."""
    return f'{{"items": [], "boxes": [{{{more}"label": "{label}", "xyxy": [{xyxy}]}}]}}'


BAD: list[tuple[str, str, str]] = [
    ("corrections", "count of -1", items("-1")),
    ("corrections", "count of 0", items("0")),
    ("corrections", "count of 10^9", items("1000000000")),
    ("corrections", "count that sums past 99", items("60", "60")),
    ("corrections", "count is NaN", items("NaN")),
    ("corrections", "a count as text", items('"1"')),
    ("corrections", "a count that is true", items("true")),
    ("corrections", "a count of 1e400", items("1e400")),
    ("corrections", "text in a box", box('0, 0, "5", 5')),
    ("corrections", "false in a box", box("false, 0, 5, 5")),
    ("corrections", "a revision that is false", '{"items": [], "boxes": [], "base_revision": false}'),
    ("corrections", "a revision as text", '{"items": [], "boxes": [], "base_revision": "0"}'),
    ("decision", "seconds as text", '{"decision": "CLEAR", "seconds": "3"}'),
    ("decision", "seconds that are true", '{"decision": "CLEAR", "seconds": true}'),
    ("outcome", "a count as text", '{"found": [{"label": "knife", "count": "2"}]}'),
    ("corrections", "half a knife", items("0.5")),
    ("corrections", "an endless number", items("9" * 5000)),
    ("corrections", "unknown label", items("1", label="unicorn")),
    ("corrections", "a label of HTML", items("1", label="<img src=x onerror=alert(1)>")),
    ("corrections", "a label of 10,000 characters", items("1", label="x" * 10_000)),
    ("corrections", "NaN in a box", box("NaN, 0, 5, 5")),
    ("corrections", "'NaN' in a box", box('"NaN", 0, 5, 5')),
    ("corrections", "Infinity in a box", box("0, 0, Infinity, 5")),
    ("corrections", "1e999 in a box", box("0, 0, 1e999, 5")),
    ("corrections", "box outside", box("0, 0, 65, 5")),
    ("corrections", "box below zero", box("-1, 0, 5, 5")),
    ("corrections", "box inside out", box("9, 0, 5, 5")),
    ("corrections", "box without area", box("5, 0, 5, 5")),
    ("corrections", "three corners", box("5, 0, 5")),
    ("corrections", "unknown box label", box("1, 1, 5, 5", label="unicorn")),
    ("corrections", "unknown box id", box("1, 1, 5, 5", more='"id": "m99", ')),
    ("corrections", "unknown labelled class", '{"items": [], "boxes": [], "labelled_classes": ["unicorn"]}'),
    ("corrections", "unknown key", '{"items": [], "boxes": [], "colour": "red"}'),
    ("corrections", "half a surrogate as key", '{"items": [], "boxes": [], "\\ud800": 1}'),
    ("corrections", "half a surrogate", '{"items": [], "boxes": [], "comment": "\\ud800"}'),
    ("corrections", "a surrogate label", items("1", label="\\ud800")),
    ("corrections", "no items", '{"boxes": []}'),
    ("corrections", "negative revision", '{"items": [], "boxes": [], "base_revision": -1}'),
    ("corrections", "not JSON", '{"items": ['),
    ("corrections", "not UTF-8", "\udcff"),
    ("corrections", "deep", "[" * 5000),
    ("decision", "unknown word", '{"decision": "DESTROY"}'),
    ("decision", "NaN seconds", '{"decision": "CLEAR", "seconds": NaN}'),
    ("decision", "'NaN' seconds", '{"decision": "CLEAR", "seconds": "NaN"}'),
    ("decision", "negative seconds", '{"decision": "CLEAR", "seconds": -1}'),
    ("decision", "a long note", '{"decision": "CLEAR", "note": "' + "x" * 3000 + '"}'),
    ("decision", "nothing", ""),
    ("outcome", "count of -1", '{"found": [{"label": "knife", "count": -1}]}'),
    ("outcome", "a label of HTML", '{"found": [{"label": "<b>knife</b>", "count": 1}]}'),
    ("outcome", "unknown label", '{"found": [{"label": "unicorn", "count": 1}]}'),
    ("outcome", "no list", "{}"),
]


@pytest.mark.parametrize(("what", "body"), [(case[0], case[2]) for case in BAD], ids=[f"{c[0]} {c[1]}" for c in BAD])
def test_bad_words_are_422_and_leave_nothing(
    client: TestClient,
    services: Services,
    analyst: dict[str, str],
    analysed: dict[str, Any],
    what: str,
    body: str,
) -> None:
    before = rows(services)
    headers = {**analyst, "Content-Type": "application/json"}
    content = body.encode("utf-8", "surrogateescape")
    answer = client.post(f"/v1/analyses/{analysed['id']}/{what}", content=content, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] in ("bad_input", "unknown_label")
    assert 0 < len(answer.json()["error"]["message"]) < 500
    assert rows(services) == before


def test_a_stale_revision_and_unknown_ids_leave_nothing(
    client: TestClient, services: Services, as_user: Callable[[str], dict[str, str]], analysed: dict[str, Any]
) -> None:
    before = rows(services)
    correction = {"items": [KNIFE], "boxes": [BOX], "base_revision": 7}
    path = f"/v1/analyses/{analysed['id']}/corrections"
    assert client.post(path, json=correction, headers=as_user("analyst")).status_code == 409
    for path, body in (
        ("analyses/none/decision", {"decision": "CLEAR"}),
        ("analyses/none/outcome", {"found": []}),
        ("analyses/none/corrections", {"items": [], "boxes": []}),
        ("corrections/none/review", {"status": "accepted"}),
    ):
        answer = client.post(f"/v1/{path}", json=body, headers=as_user("annotator"))
        assert answer.status_code == 404
    for path in ("analyses/none", "analyses/none/corrections", "scans/none/image", "bags/none"):
        assert client.get(f"/v1/{path}", headers=as_user("analyst")).status_code == 404
    assert rows(services) == before


def test_somebody_else_reviews(tmp_path: Path) -> None:
    services = make_services(tmp_path, review="required")
    headers = {}
    for name, role in (("ann", Role.ANNOTATOR), ("ben", Role.ANNOTATOR), ("cal", Role.ANALYST)):
        auth.add_user(services.db, name, PASSWORD, role)
        token = auth.sign_in(services.db, name, PASSWORD).token
        headers[name] = {"Authorization": f"Bearer {token}"}
    client = TestClient(create_app(services))
    scan = {"file": ("bag.png", png())}
    analysis = client.post("/v1/analyze", files=scan, headers=headers["ann"]).json()
    correction = client.post(
        f"/v1/analyses/{analysis['id']}/corrections",
        json={"items": [KNIFE], "boxes": [BOX]},
        headers=headers["ann"],
    ).json()
    assert correction["status"] == "pending"
    path, body = f"/v1/corrections/{correction['id']}/review", {"status": "accepted", "comment": "yes"}
    assert client.post(path, json=body, headers=headers["cal"]).status_code == 403
    own = client.post(path, json=body, headers=headers["ann"])
    assert own.status_code == 403
    assert client.post(path, json={"status": "pending"}, headers=headers["ben"]).status_code == 422
    accepted = client.post(path, json=body, headers=headers["ben"])
    assert accepted.status_code == 200
    assert accepted.json()["status"] == "accepted"
    assert client.post(path, json=body, headers=headers["ben"]).status_code == 409
    services.db.close()


def test_a_review_is_taken_back_by_whoever_gave_it_or_an_admin(tmp_path: Path) -> None:
    services = make_services(tmp_path, review="required")
    headers = {}
    for name, role in (("ann", Role.ANALYST), ("ben", Role.ANNOTATOR), ("cal", Role.ANNOTATOR), ("root", Role.ADMIN)):
        auth.add_user(services.db, name, PASSWORD, role)
        headers[name] = {"Authorization": f"Bearer {auth.sign_in(services.db, name, PASSWORD).token}"}
    client = TestClient(create_app(services))
    analysis = client.post("/v1/analyze", files={"file": ("bag.png", png())}, headers=headers["ann"]).json()
    path = f"/v1/analyses/{analysis['id']}/corrections"
    correction = client.post(path, json={"items": [KNIFE], "boxes": [BOX]}, headers=headers["ann"]).json()
    path = f"/v1/corrections/{correction['id']}/review"
    assert client.delete("/v1/corrections/unknown/review", headers=headers["ben"]).status_code == 404
    assert client.delete(path, headers=headers["ben"]).status_code == 409, "it has not been reviewed"
    for taker in ("ben", "root"):
        client.post(path, json={"status": "rejected", "comment": "no"}, headers=headers["ben"])
        assert client.delete(path, headers=headers["ann"]).status_code == 403
        assert client.delete(path, headers=headers["cal"]).status_code == 403
        taken_back = client.delete(path, headers=headers[taker])
        assert (taken_back.status_code, taken_back.json()["status"]) == (200, "pending")
    assert client.post(path, json={"status": "accepted"}, headers=headers["cal"]).json()["status"] == "accepted"
    run = runs.create(services.db, "vlm-adapter", "bundled", "lora", None, "root")
    runs.claim(services.db, run.id, host="desk", boot_id="boot", pid=42, pid_started=1.5, lease_seconds=60)
    runs.update(services.db, run.id, samples=SampleCounts(train=1))
    frozen = client.delete(path, headers=headers["root"])
    assert frozen.status_code == 409
    assert "has learned" in frozen.json()["error"]["message"]
    services.db.close()

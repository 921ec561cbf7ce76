"""A POST with an Idempotency-Key, sent more than once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import png
from xray_app.errors import Busy
from xray_app.services import Services


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def count(services: Services, table: str) -> int:
    with services.db.read() as session:
        statement = f"select count(*) from {table}"  # noqa: S608
        return int(session.connection().exec_driver_sql(statement).scalar_one())


def test_it_is_done_once_and_answered_the_same(client: TestClient, services: Services, analyst: dict[str, str]) -> None:
    headers = analyst | key()
    content = png()
    before = count(services, "analyses")
    first, second = (
        client.post("/v1/analyze", files={"file": ("bag.png", content)}, headers=headers) for _ in range(2)
    )
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert second.headers["content-type"] == "application/json"
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert count(services, "analyses") == before + 1


def test_the_status_is_the_first_one_too(client: TestClient, analyst: dict[str, str], analysed: dict[str, Any]) -> None:
    path, headers = f"/v1/analyses/{analysed['id']}/decision", analyst | key()
    assert client.post(path, json={"decision": "REVIEW"}, headers=headers).status_code == 201
    again = client.post(path, json={"decision": "REVIEW"}, headers=headers)
    assert again.status_code == 201


def test_a_refusal_that_lies_in_the_request_is_given_again(
    client: TestClient, analyst: dict[str, str], analysed: dict[str, Any]
) -> None:
    decision, correction = (f"/v1/analyses/{analysed['id']}/{what}" for what in ("decision", "corrections"))
    refusals: list[tuple[str, dict[str, Any], int]] = [
        (decision, {"decision": "no"}, 422),
        (correction, {"items": [], "boxes": [], "base_revision": 7}, 409),
        ("/v1/analyses/none/decision", {"decision": "REVIEW"}, 404),
    ]
    for path, sent, status in refusals:
        headers = analyst | key()
        first, again = (client.post(path, json=sent, headers=headers) for _ in range(2))
        assert first.status_code == again.status_code == status
        assert first.json() == again.json()
        assert ("idempotency-replayed" in first.headers, "idempotency-replayed" in again.headers) == (False, True)


def test_keys_are_each_users_own_and_of_one_path(
    client: TestClient, as_user: Callable[[str], dict[str, str]], analysed: dict[str, Any]
) -> None:
    path, one = f"/v1/analyses/{analysed['id']}/decision", key()
    mine = client.post(path, json={"decision": "REVIEW"}, headers=as_user("analyst") | one)
    theirs = client.post(path, json={"decision": "SEARCH"}, headers=as_user("annotator") | one)
    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine.json()["id"]
    other = f"/v1/analyses/{analysed['id']}/outcome"
    assert client.post(other, json={"found": []}, headers=as_user("analyst") | one).status_code == 422
    another = "/v1/analyses/none/decision"  # the same body, about something else
    assert client.post(another, json={"decision": "REVIEW"}, headers=as_user("analyst") | one).status_code == 422


def test_of_several_at_once_one_is_done(
    client: TestClient, services: Services, analyst: dict[str, str], analysed: dict[str, Any]
) -> None:
    path, headers = f"/v1/analyses/{analysed['id']}/decision", analyst | key()
    before = count(services, "decisions")
    answers: list[Any] = []

    def send() -> None:
        answers.append(client.post(path, json={"decision": "REVIEW"}, headers=headers))

    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count(services, "decisions") == before + 1


def test_what_may_succeed_later_is_tried_again(
    client: TestClient, services: Services, analyst: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, content = analyst | key(), png()
    with monkeypatch.context() as patched:

        def busy(*_: Any) -> Any:
            raise Busy("Too many scans are waiting.")

        patched.setattr(services.analyser, "analyse", busy)
        answer = client.post("/v1/analyze", files={"file": ("bag.png", content)}, headers=headers)
        assert answer.status_code == 503

        def bug(*_: Any) -> Any:
            raise RuntimeError("a bug")

        patched.setattr(services.analyser, "analyse", bug)
        answer = client.post("/v1/analyze", files={"file": ("bag.png", content)}, headers=headers)
        assert answer.status_code == 500
    again = client.post("/v1/analyze", files={"file": ("bag.png", content)}, headers=headers)
    assert again.status_code == 200


def test_a_body_cut_off_is_not_remembered_as_bad(client: TestClient, analyst: dict[str, str]) -> None:
    def endless() -> Any:
        for _ in range(40):
            yield b" " * 65536

    headers = analyst | key() | {"Content-Type": "application/json"}
    path = "/v1/analyses/none/decision"
    assert client.post(path, content=endless(), headers=headers).status_code == 413
    assert client.post(path, json={"decision": "REVIEW"}, headers=headers).status_code == 404


@pytest.mark.parametrize("bad", ["", "x" * 201])
def test_a_key_of_an_impossible_length_is_refused(
    client: TestClient, analyst: dict[str, str], analysed: dict[str, Any], bad: str
) -> None:
    path, headers = f"/v1/analyses/{analysed['id']}/decision", analyst | {"Idempotency-Key": bad}
    assert client.post(path, json={"decision": "REVIEW"}, headers=headers).status_code == 422


def test_the_same_fields_are_the_same_request_however_they_are_written(
    client: TestClient, services: Services, analyst: dict[str, str], analysed: dict[str, Any]
) -> None:
    path, headers = f"/v1/analyses/{analysed['id']}/decision", analyst | key() | {"Content-Type": "application/json"}
    first = client.post(path, content='{"decision": "SEARCH", "note": "é"}', headers=headers)
    again = client.post(path, content='{ "note":"\\u00e9",\n"decision":"SEARCH"}', headers=headers)
    assert (first.status_code, again.json()) == (201, first.json())
    other = client.post(path, content='{"decision": "SEARCH", "note": "e"}', headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "bad_input")
    unreadable = client.post(path, content="{", headers=analyst | key() | {"Content-Type": "application/json"})
    assert unreadable.status_code == 422
    deep = client.post(path, content="[" * 100_000, headers=analyst | key() | {"Content-Type": "application/json"})
    assert deep.status_code == 422


def test_a_file_is_known_by_its_content_and_goes_in_whole(client: TestClient, analyst: dict[str, str]) -> None:
    headers, content = analyst | key(), png((700, 500), "RGB")
    form = {"bag_id": "b1"}
    first, again = (
        client.post("/v1/analyze", files={"file": ("bag.png", content)}, data=form, headers=headers) for _ in range(2)
    )
    assert first.status_code == again.status_code == 200
    assert (first.json()["id"], again.headers["idempotency-replayed"]) == (again.json()["id"], "true")
    for files, data in (
        ({"file": ("bag.png", png())}, form),
        ({"file": ("bag.png", content)}, {"bag_id": "b2"}),
        ({"file": ("other.png", content)}, form),
    ):
        assert client.post("/v1/analyze", files=files, data=data, headers=headers).status_code == 422
    image = client.get(f"/v1/scans/{first.json()['scan']['id']}/image", headers=analyst)
    assert image.content == content


@pytest.mark.parametrize("what", ["analyze", "decision", "outcome", "corrections", "runs", "rollback"])
def test_an_answer_lost_with_its_server_is_given_again(
    client: TestClient,
    services: Services,
    admin: dict[str, str],
    analysed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """The server dies between storing the work and answering: its row and the answer were one transaction."""
    if what == "runs":  # there must be something to train on
        client.post(f"/v1/analyses/{analysed['id']}/corrections", json={"items": [], "boxes": []}, headers=admin)
        monkeypatch.setattr("xray_app.learning.trainable", lambda *_: 1)
    paths = {"analyze": "/v1/analyze", "runs": "/v1/training/runs", "rollback": "/v1/adapters/rollback"}
    path = paths.get(what, f"/v1/analyses/{analysed['id']}/{what}")
    bodies: dict[str, Any] = {
        "decision": {"decision": "SEARCH"},
        "outcome": {"found": [{"label": "knife", "count": 1}]},
        "corrections": {"items": [{"label": "knife", "count": 1}], "boxes": []},
        "rollback": {},
        "runs": {},
    }
    sent: dict[str, Any] = {"json": bodies[what]} if what in bodies else {"files": {"file": ("bag.png", png())}}
    headers = admin | key()
    tables = {"analyze": "analyses", "decision": "decisions", "outcome": "outcomes", "rollback": "promotions"}
    before = count(services, tables.get(what, what))

    def dies(*_: Any) -> None:
        raise MemoryError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("xray_app.api.idempotency.idempotency.put", dies)
        assert client.post(path, headers=headers, **sent).status_code == 500
    again = client.post(path, headers=headers, **sent)
    assert again.status_code == {"analyze": 200, "rollback": 200, "runs": 202}.get(what, 201)
    assert again.headers["idempotency-replayed"] == "true"
    assert count(services, tables.get(what, what)) == before + (what != "rollback")
    if what == "analyze":
        assert again.json() == client.get(f"/v1/analyses/{again.json()['id']}", headers=admin).json()
    elif what == "runs":
        run = client.get(f"/v1/training/runs/{again.json()['id']}", headers=admin).json()
        assert (run["status"], again.json()["status"]) == ("queued", "queued")


def test_what_is_still_being_worked_on_says_when_to_ask_again(
    client: TestClient, services: Services, analyst: dict[str, str], analysed: dict[str, Any]
) -> None:
    path, headers = f"/v1/analyses/{analysed['id']}/decision", analyst | key()
    first = client.post(path, json={"decision": "REVIEW"}, headers=headers)
    assert first.status_code == 201
    with services.db.write() as session:  # as another server's, which is at it
        session.connection().exec_driver_sql("UPDATE idempotency_keys SET status = NULL, body = NULL")
    answer = client.post(path, json={"decision": "REVIEW"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "in_progress")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_run_that_cannot_be_launched_yet_waits_for_the_watch(
    client: TestClient, services: Services, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(run: Any) -> None:
        raise OSError("no process to be had")

    monkeypatch.setattr("xray_app.learning.trainable", lambda *_: 1)
    launch = services.launch
    object.__setattr__(services, "launch", fails)
    try:
        answer = client.post("/v1/training/runs", headers=admin)
    finally:
        object.__setattr__(services, "launch", launch)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")

"""What of Gradio is open under /desk and to whom; what fails there is refused in the one form of errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from tests.api.conftest import PASSWORD, make_services
from tests.api.test_door import ask
from xray_app import auth
from xray_app.api import desk_gate
from xray_app.api.desk_gate import DeskGate
from xray_app.services import Services
from xray_app.session import COOKIE
from xray_app.types import Role
from xray_app.wiring import with_desk

GRADIO = "/desk/gradio_api"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    services = make_services(tmp_path_factory.mktemp("desk"))
    for name in ("ann", "ben"):
        auth.add_user(services.db, name, PASSWORD, Role.ANALYST)
    return services


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(with_desk(services), follow_redirects=False) as client:
        yield client


@pytest.fixture
def ann(services: Services) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={auth.sign_in(services.db, 'ann', PASSWORD).token}"}


@pytest.fixture
def ben(services: Services) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={auth.sign_in(services.db, 'ben', PASSWORD).token}"}


def code(answer: Any) -> str:
    """Of an error in its one form, which holds nothing else."""
    told = answer.json()
    assert set(told) == {"error"}
    return str(told["error"]["code"])


def test_what_the_page_uses_is_open_and_kept_by_no_browser(client: TestClient, ann: dict[str, str]) -> None:
    for path in ("/desk/", "/desk/config", f"{GRADIO}/user", f"{GRADIO}/info"):
        answer = client.get(path, headers=ann)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), path
    asset = client.get("/desk/theme.css", headers=ann)
    assert "no-store" not in asset.headers.get("cache-control", "")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/run/predict"), ("POST", "/api/predict"), ("POST", "/call/x"), ("GET", "/call/x/1"),
        ("GET", "/runs"), ("GET", "/token"), ("GET", "/openapi.json"), ("POST", "/process_recording"),
        ("POST", "/stream/1"), ("GET", "/dev/reload"), ("GET", "/nothing"), ("POST", "/queue/join/x"),
    ],
)  # fmt: skip
def test_all_else_of_gradio_is_nowhere(client: TestClient, ann: dict[str, str], method: str, path: str) -> None:
    answer = client.request(method, f"{GRADIO}{path}", headers=ann)
    assert (answer.status_code, code(answer)) == (404, "not_found")


def test_a_wrong_method_is_told_the_right_ones(client: TestClient, ann: dict[str, str]) -> None:
    for path, method, allowed in (
        (f"{GRADIO}/queue/join", "GET", "POST"),
        (f"{GRADIO}/queue/data", "POST", "GET, HEAD"),
        ("/desk/", "DELETE", "GET, HEAD"),
        ("/v1/training/runs", "PUT", "GET, POST"),
        ("/v1/analyses/x/corrections", "DELETE", "GET, POST"),
        ("/v1/analyze", "GET", "POST"),
    ):
        token = {"Authorization": f"Bearer {ann['Cookie'].partition('=')[2]}"}
        answer = client.request(method, path, headers=token)
        assert (answer.status_code, answer.headers["allow"], code(answer)) == (405, allowed, "method_not_allowed")


@pytest.mark.parametrize(
    "body",
    ["", "[", "[]", "null", '"x"', "{}", '{"fn_index": 10000, "data": []}', '{"fn_index": -1, "data": null}',
     '{"fn_index": "x", "data": {}, "session_hash": 3}', "[" * 50_000, '{"data": NaN}', "\udcff"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["queue/join", "cancel", "reset", "component_server", "upload"])
def test_what_the_page_would_not_send_is_no_fault_of_the_desk(
    client: TestClient, ann: dict[str, str], path: str, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = ann | {"Content-Type": "application/json"}
    answer = client.post(f"{GRADIO}/{path}", content=body.encode("utf-8", "surrogateescape"), headers=headers)
    if answer.status_code != 200:
        assert 400 <= answer.status_code < 500, answer.text
        assert code(answer)
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_stream_nobody_waits_for_ends_without_a_traceback(
    client: TestClient, ann: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get(f"{GRADIO}/queue/data?session_hash=nobodys", headers=ann)
    assert answer.status_code in (200, 404)
    assert client.get(f"{GRADIO}/queue/data", headers=ann).status_code == 422
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_stream_is_its_users_alone(client: TestClient, ann: dict[str, str], ben: dict[str, str]) -> None:
    joined = {"fn_index": 0, "data": [], "session_hash": "anns"}
    client.post(f"{GRADIO}/queue/join", json=joined, headers=ann)
    for answer in (
        client.get(f"{GRADIO}/queue/data?session_hash=anns", headers=ben),
        client.get(f"{GRADIO}/heartbeat/anns", headers=ben),
        client.post(f"{GRADIO}/queue/join", json=joined, headers=ben),
        client.post(f"{GRADIO}/cancel", json={"session_hash": "anns", "event_id": "x"}, headers=ben),
    ):
        assert (answer.status_code, code(answer)) == (403, "forbidden")


def test_an_upload_is_its_users_alone(client: TestClient, ann: dict[str, str], ben: dict[str, str]) -> None:
    sent = {"files": ("bag.png", b"a bag of ann's", "image/png")}
    [path] = client.post(f"{GRADIO}/upload", files=sent, headers=ann).json()
    folder, _, name = path.rpartition("/")
    for spelled in (path, f"{folder}/../{folder.rpartition('/')[2]}/{name}"):
        file = {"path": spelled, "meta": {"_type": "gradio.FileData"}}
        event = {"fn_index": 10_000, "data": [[{"deep": [file]}]], "session_hash": "bens"}
        refused = client.post(f"{GRADIO}/queue/join", json=event, headers=ben)
        assert (refused.status_code, code(refused)) == (403, "forbidden")
        mine = client.post(f"{GRADIO}/queue/join", json=event | {"session_hash": "anns too"}, headers=ann)
        assert mine.status_code != 403
    client.post(f"{GRADIO}/upload", files=sent, headers=ben)  # who has the same file has it too
    assert client.post(f"{GRADIO}/queue/join", json=event, headers=ben).status_code != 403


class Takes:
    """Stands where Gradio is mounted, takes uploads and breaks at everything else."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == desk_gate.UPLOAD:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"[]"})
            return
        if scope["path"].endswith("data"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half of Gradio's inside")


def upload(gate: DeskGate, username: str, size: int | None) -> tuple[int, dict[str, str]]:
    class SignedIn:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("state", {})["identity"] = auth.Identity(username, Role.ANALYST)
            await gate(scope, receive, send)

    length = {} if size is None else {"Content-Length": str(size)}
    status, headers, _, _ = ask(SignedIn(), "POST", desk_gate.UPLOAD, length)
    return status, dict(headers)


def test_each_user_uploads_so_much_within_an_hour(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = DeskGate(Takes(), services)
    most = 64 * 2**20
    assert upload(gate, "ann", most)[0] == 200
    status, headers = upload(gate, "ann", 1)
    assert (status, 0 < int(headers["retry-after"]) <= 3600) == (429, True)
    assert upload(gate, "ben", most - 1)[0] == upload(gate, "ben", 1)[0] == 200
    assert upload(gate, "ben", 1)[0] == 429
    assert upload(gate, "cleo", None)[0] == 422
    now = desk_gate.time.monotonic()
    monkeypatch.setattr(desk_gate.time, "monotonic", lambda: now + 3601)
    assert upload(gate, "ann", 1)[0] == 200


def test_what_breaks_in_gradio_is_refused_and_logged_in_a_line(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    class SignedIn:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("state", {})["identity"] = auth.Identity("ann", Role.ANALYST)
            await DeskGate(Takes(), services)(scope, receive, send)

    status, _, body, _ = ask(SignedIn(), "GET", f"{GRADIO}/info", {})
    assert status == 422
    assert "inside" not in json.loads(body)["error"]["message"]
    assert ask(SignedIn(), "GET", f"{GRADIO}/queue/data", {})[0] == 200
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert not any(record.exc_info for record in caplog.records)


def test_the_desks_own_logout_ends_the_session(client: TestClient, ann: dict[str, str]) -> None:
    assert client.get("/desk/config", headers=ann).status_code == 200
    answer = client.get("/desk/logout", headers=ann)
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin")
    assert client.get("/desk/config", headers=ann).status_code == 401

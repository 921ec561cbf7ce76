"""What is decided before a body is read: token, size, origin. And that a bug tells nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from tests.api.conftest import in_a_loop_of_its_own
from tests.conftest import png
from xray_app import errors
from xray_app.api.app import create_app
from xray_app.api.desk_gate import DeskGate
from xray_app.api.door import DESK_LIMIT, FILES_PER_UPLOAD, JSON_LIMIT, Door, body_limit
from xray_app.errors import DeskError
from xray_app.services import Services
from xray_app.session import COOKIE
from xray_app.store import analyses

MB = 1024 * 1024


def ask(
    app: Any,
    method: str,
    path: str,
    headers: dict[str, str],
    chunks: list[bytes] | None = None,
    breaks_off: bool = False,
) -> tuple[int, dict[str, str], bytes, int]:
    """One request straight into the app, with a body that comes in chunks.

    Args:
        chunks: None: reading the body at all is an error.
        breaks_off: the client goes away after them, with more to come.

    Returns:
        Status, headers, body, and how many chunks were read.
    """
    sent: list[Message] = []
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        assert chunks is not None, "the body was read"
        if taken == len(chunks):
            await asyncio.sleep(0)
            return {"type": "http.disconnect"}
        taken += 1
        return {"type": "http.request", "body": chunks[taken - 1], "more_body": breaks_off or taken < len(chunks)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }
    in_a_loop_of_its_own(app(scope, receive, send))
    start = sent[0]
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]), taken


MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}


def test_without_a_token_the_body_is_never_read(services: Services) -> None:
    for token in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}):
        status, headers, body, _ = ask(create_app(services), "POST", "/v1/analyze", MULTIPART | token)
        assert status == 401
        assert headers["www-authenticate"] == "Bearer"
        assert json.loads(body)["error"]["code"] == "not_signed_in"


def test_an_announced_size_is_refused_unread(services: Services, analyst: dict[str, str]) -> None:
    announced = {"Content-Length": str(200 * MB)}
    status, _, body, _ = ask(create_app(services), "POST", "/v1/analyze", MULTIPART | announced | analyst)
    assert status == 413
    assert json.loads(body)["error"]["message"] == "The request is too large: at most 1 MB are taken here."


def test_a_size_not_announced_is_refused_while_it_streams(services: Services, analyst: dict[str, str]) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    chunks = [head, *[b"\0" * 65536] * 3000]  # 200 MB, of which about one is read
    status, _, body, taken = ask(create_app(services), "POST", "/v1/analyze", MULTIPART | analyst, chunks)
    assert status == 413
    assert json.loads(body)["error"]["code"] == "too_large"
    assert taken < 25


@pytest.mark.parametrize(("path", "limit"), [("/v1/login", 16 * 1024), ("/v1/adapters/rollback", MB)])
def test_json_bodies_have_a_limit_too(services: Services, admin: dict[str, str], path: str, limit: int) -> None:
    headers = {"Content-Type": "application/json"} | admin
    chunks = [b" " * 4096] * (limit // 4096 + 1)
    status, _, body, taken = ask(create_app(services), "POST", path, headers, chunks)
    assert status == 413
    assert json.loads(body)["error"]["code"] == "too_large"
    assert taken == len(chunks)


def test_an_upload_that_breaks_off_is_no_fault_of_the_desk(
    services: Services, admin: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    before = len(analyses.page(services.db, 500)[0])
    scan = b'--x\r\nContent-Disposition: form-data; name="file"; filename="bag.png"\r\n\r\n' + png()[:100]
    with pytest.raises(IndexError):  # nobody is there any more to be answered
        ask(create_app(services), "POST", "/v1/analyze", MULTIPART | admin, [scan], breaks_off=True)
    assert "failed" not in caplog.text
    assert len(analyses.page(services.db, 500)[0]) == before


def test_the_limits_by_path() -> None:
    assert body_limit("/desk/gradio_api/upload", 50 * MB) == FILES_PER_UPLOAD * 50 * MB
    assert body_limit("/desk/gradio_api/queue/join", 50 * MB) == DESK_LIMIT
    assert body_limit("/v1/analyses/1/corrections", 50 * MB) == JSON_LIMIT


@pytest.fixture
def cookie(as_user: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={as_user('admin')['Authorization'].removeprefix('Bearer ')}"}


def test_the_cookie_reads_the_api_and_writes_nothing(client: TestClient, cookie: dict[str, str]) -> None:
    assert client.get("/v1/analyses", headers=cookie).status_code == 200
    assert client.post("/v1/adapters/rollback", headers=cookie).status_code == 401
    assert client.delete("/v1/analyses", headers=cookie).status_code == 401


class Beyond:
    """Stands where Gradio is mounted and says who came through."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/v1/bug":
            raise RuntimeError("secret of the inside")
        name = scope["state"]["identity"].username.encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name})


@pytest.fixture
def desk(services: Services) -> Door:
    return Door(Beyond(), services)


def test_the_desk_sends_people_to_the_sign_in_page_and_tells_scripts(desk: Door, cookie: dict[str, str]) -> None:
    for path in ("/desk", "/desk/"):
        status, headers, _, _ = ask(desk, "GET", path, {})
        assert (status, headers["location"]) == (303, "/signin")
    for path in ("/desk/gradio_api/queue/data", "/desk/gradio_api/info", "/desk/config"):
        assert ask(desk, "GET", path, {"Accept": "*/*"})[0] == 401
    for path in ("/desk/gradio_api/upload", "/desk/gradio_api/queue/join"):
        assert ask(desk, "POST", path, {})[0] == 401
    assert ask(desk, "GET", "/desk/", cookie)[2] == b"admin"
    assert ask(desk, "POST", "/desk/gradio_api/queue/join", cookie)[2] == b"admin"


def test_what_gradio_has_that_the_desk_does_not_use_is_closed(services: Services, cookie: dict[str, str]) -> None:
    desk = Door(DeskGate(Beyond(), services), services)
    for path in (
        "/desk/gradio_api/proxy=http://example.org",
        "/desk/gradio_api/vibe-edit/",
        "/desk/monitoring",
    ):
        assert ask(desk, "GET", path, cookie)[0] == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "desk.local", "Origin": "http://desk.local"}, 200),
        ({"Host": "10.0.0.1", "X-Forwarded-Host": "desk.local", "Origin": "https://desk.local"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "desk.local", "Origin": "http://evil.example"}, 403),
        ({"Host": "desk.local", "Origin": "null"}, 403),
        ({"Host": "desk.local", "Origin": "http://desk.local", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_no_other_site_acts_through_the_cookie(
    desk: Door, cookie: dict[str, str], headers: dict[str, str], status: int
) -> None:
    assert ask(desk, "POST", "/desk/gradio_api/queue/join", cookie | headers)[0] == status


def test_a_bug_is_a_500_that_tells_nothing(
    desk: Door, analyst: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    status, headers, body, _ = ask(desk, "GET", "/v1/bug", analyst)
    assert status == 500
    assert json.loads(body)["error"]["code"] == "internal"
    assert b"secret" not in body
    assert headers["x-content-type-options"] == "nosniff"
    assert "secret of the inside" in caplog.text


def test_what_is_told_to_a_person_leaves_no_traceback_in_the_log(
    client: TestClient, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = [error for error in vars(errors).values() if isinstance(error, type) and issubclass(error, DeskError)]
    assert len(told) > 20
    for error in told:
        monkeypatch.setattr("xray_app.store.runs.page", Mock(side_effect=error("said to a person")))
        answer = client.get("/v1/training/runs", headers=admin)
        assert (answer.status_code, answer.json()["error"]["code"]) == (error.http_status, error.code)
        assert answer.json()["error"]["message"] == "said to a person"
    assert [record for record in caplog.records if record.exc_info or "Traceback" in record.getMessage()] == []


def test_every_answer_has_the_security_headers(client: TestClient, analyst: dict[str, str]) -> None:
    for answer in (
        client.get("/health"),
        client.get("/signin"),
        client.get("/v1/analyses"),
        client.get("/v1/analyses", headers=analyst),
        client.get("/desk"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_body_of_two_lengths_is_refused(services: Services, admin: dict[str, str]) -> None:
    headers = {"Content-Length": "3", "Transfer-Encoding": "chunked"} | admin
    status, _, body, taken = ask(create_app(services), "POST", "/v1/adapters/rollback", headers, [b"{}"])
    assert (status, json.loads(body)["error"]["code"], taken) == (422, "bad_input", 0)


def test_a_body_that_does_not_come_is_not_waited_for(
    services: Services, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xray_app.api.door.BODY_SECONDS", 0.2)
    sent: list[Message] = []

    async def slow() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in admin.items()]
    path = "/v1/adapters/rollback"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": headers,
        "query_string": b"",
        "http_version": "1.1",
    }
    in_a_loop_of_its_own(create_app(services)(scope, slow, send))
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "request_timeout"

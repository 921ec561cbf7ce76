"""Every answer has the id of its request, and so has what is logged meanwhile; nobody else's text gets into the log."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import httpx
import pytest
import uvicorn
from starlette.requests import Request

import app as desk_app
from tests.api.conftest import PASSWORD, make_services
from xray_app import auth
from xray_app.api import starting
from xray_app.api.app import create_app
from xray_app.api.request_ids import id_of
from xray_app.api.starting import StartingDesk
from xray_app.logs import REQUEST_ID, WELL_FORMED_ID
from xray_app.services import Services
from xray_app.session import COOKIE
from xray_app.types import Role
from xray_app.ui.guard import Guard

logger = logging.getLogger("xray_app.tests")
HOSTILE = [b"a\tb", b"a b", b"a" * 65, b"\xe4", b'"}', b"", b"x\x7f", b"../../etc", b"%0aERROR"]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    services = make_services(tmp_path_factory.mktemp("desk"))
    auth.add_user(services.db, "ann", PASSWORD, Role.ANALYST)
    return services


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file that a desk with XRAY_LOG_FORMAT=json keeps."""
    folder = tmp_path_factory.mktemp("log")
    kept = desk_app.keep_log(folder, 7860, "json")
    yield folder / "logs" / "desk-7860.log"
    logging.getLogger().removeHandler(kept)
    kept.close()


@pytest.fixture(scope="module")
def address(services: Services, log: Path) -> Iterator[tuple[str, int]]:
    app = create_app(services)

    @app.get("/v1/fault")
    def fault(word: str) -> None:
        logger.warning("asked for %s", word)
        time.sleep(0.05)
        raise RuntimeError("a fault\nof many lines")

    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = uvicorn.Server(desk_app.server_config(app, services.settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield bound.getsockname()
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def client(address: tuple[str, int], services: Services) -> Iterator[httpx.Client]:
    token = auth.sign_in(services.db, "ann", PASSWORD).token
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url="http://{}:{}".format(*address), timeout=20, headers=headers) as client:
        yield client


def lines_about(log: Path, word: str) -> list[dict[str, str]]:
    return [one for one in map(json.loads, log.read_text().splitlines()) if word in json.dumps(one)]


def test_a_clients_own_id_comes_back_and_is_in_every_line_of_the_request(client: httpx.Client, log: Path) -> None:
    failed = client.get("/v1/fault?word=its-own", headers={"X-Request-ID": "trace-7.A_1"})
    assert (failed.status_code, failed.headers["x-request-id"]) == (500, "trace-7.A_1")
    said = lines_about(log, "trace-7.A_1")
    assert [one["message"] for one in said] == ["asked for its-own", "GET /v1/fault failed"]
    assert {one["request_id"] for one in said} == {"trace-7.A_1"}
    assert said[1]["exception"].endswith("RuntimeError: a fault\nof many lines")


def test_without_one_each_request_gets_another(client: httpx.Client) -> None:
    answers = [
        client.get("/health"),
        client.get("/v1/nothing"),
        client.get("/v1/queue", headers={"Authorization": ""}),
        client.post("/v1/login", content=b"{"),
        client.get("/v1/openapi.json"),
    ]
    given = [answer.headers.get_list("x-request-id") for answer in answers]
    assert all(len(one) == 1 and WELL_FORMED_ID.fullmatch(one[0]) for one in given)
    assert len({one[0] for one in given}) == len(answers)


def test_requests_at_the_same_time_do_not_mix(client: httpx.Client, log: Path) -> None:
    def ask(number: int) -> None:
        client.get(f"/v1/fault?word=mixed{number}.", headers={"X-Request-ID": f"id{number}."})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(16)))
    for number in range(16):
        (asked,) = lines_about(log, f"asked for mixed{number}.")
        assert asked["request_id"] == f"id{number}."


@pytest.mark.parametrize("sent", HOSTILE)
def test_an_id_that_is_not_well_formed_gets_nowhere(
    client: httpx.Client, address: tuple[str, int], log: Path, sent: bytes
) -> None:
    token = client.headers["Authorization"].encode()
    word = f"hostile{HOSTILE.index(sent)}."
    with socket.create_connection(address, timeout=20) as raw:
        raw.sendall(
            b"GET /v1/fault?word=" + word.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: " + token + b"\r\nX-Request-ID: " + sent + b"\r\n\r\n"
        )
        head = b"".join(iter(lambda: raw.recv(65536), b"")).partition(b"\r\n\r\n")[0]
    given = [one.partition(b": ")[2] for one in head.split(b"\r\n") if one.lower().startswith(b"x-request-id")]
    if head.startswith(b"HTTP/1.1 400"):  # what no header may hold, the server itself refuses
        assert given == []
        return
    assert len(given) == 1
    assert given[0] != sent
    (asked,) = lines_about(log, f"asked for {word}")
    assert asked["request_id"] == given[0].decode()
    assert len(asked["request_id"]) == 32


def test_two_ids_are_none() -> None:
    assert id_of([(b"x-request-id", b"a")]) == "a"
    assert id_of([(b"X-Request-Id", b"a")]) == "a"
    made = id_of([(b"x-request-id", b"a"), (b"x-request-id", b"b")])
    assert made not in ("a", "b")
    assert WELL_FORMED_ID.fullmatch(made)
    assert id_of([(b"x-request-id", b"a\r\nSet-Cookie: x")]).isalnum()


def test_what_is_answered_before_the_desk_is_there_has_one_too(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "PATIENCE", 0.1)
    monkeypatch.setattr(desk_app, "MOST_CONNECTIONS", 2)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = uvicorn.Server(desk_app.server_config(StartingDesk(services.settings), services.settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            base = f"http://127.0.0.1:{bound.getsockname()[1]}"
            own = {"X-Request-ID": "early"}
            with httpx.Client(base_url=base, headers=own) as one, httpx.Client(base_url=base, headers=own) as another:
                for path, status in (("/health", 200), ("/ready", 503), ("/v1/queue", 503)):
                    answer = one.get(path)
                    assert (answer.status_code, answer.headers["x-request-id"]) == (status, "early")
                refused = another.get("/health")
                assert refused.json()["error"]["code"] == "busy"
                assert refused.headers["x-request-id"] == "early"
        finally:
            server.should_exit = True
            thread.join(20)


def test_what_the_desks_handlers_log_says_it_too(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    """Gradio's queue runs them later, outside of the request that asked for it."""
    token = auth.sign_in(services.db, "ann", PASSWORD).token
    cookie = [(b"cookie", f"{COOKIE}={token}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": cookie, "state": {"request_id": "click-1"}}
    seen: list[str | None] = []

    def handler(_: auth.Identity) -> None:
        seen.append(REQUEST_ID.get())

    def in_steps(_: auth.Identity) -> Iterator[int]:
        yield 1
        REQUEST_ID.set(None)  # as another step, run in another context
        raise RuntimeError

    def note(record: logging.LogRecord) -> bool:
        seen.append(REQUEST_ID.get())
        return True

    request = gr.Request(request=Request(scope), session_hash="test")
    guarded = Guard(services)
    guarded.wrap(Role.ANALYST, handler)(request)
    guard_log = logging.getLogger("xray_app.ui.guard")
    guard_log.addFilter(note)
    try:
        with pytest.raises(gr.Error):
            list(guarded.wrap(Role.ANALYST, in_steps)(request))
    finally:
        guard_log.removeFilter(note)
        REQUEST_ID.set(None)
    assert seen == ["click-1", "click-1"]

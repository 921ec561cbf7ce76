"""Signing in by the header REMOTE-USER: when it is believed, of whom, and what stays closed all the same."""

from __future__ import annotations

import http.client
import logging
import shlex
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import gradio as gr
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.requests import Request
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import app as desk_app
from tests.api.conftest import PASSWORD, make_services
from tests.api.test_door import Beyond, ask
from xray_app import auth
from xray_app.api import starting
from xray_app.api.app import create_app
from xray_app.api.door import Door
from xray_app.api.starting import StartingDesk
from xray_app.remote_user import PEER, KeepPeer
from xray_app.services import Services
from xray_app.session import COOKIE
from xray_app.settings import Settings
from xray_app.types import Role
from xray_app.ui.guard import Guard
from xray_app.wiring import with_desk

BOTH_DOORS = ("/v1/analyses", "/desk/config")
ANN = {"REMOTE-USER": "ann"}
WHO = "/desk/gradio_api/user"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    services = make_services(tmp_path_factory.mktemp("desk"), trust_remote_user=True)
    for name, role in (("ann", Role.ANALYST), ("ben", Role.ANNOTATOR), ("Zoë", Role.ANALYST), ("left", Role.ADMIN)):
        auth.add_user(services.db, name, PASSWORD, role)
    auth.add_user(services.db, "root", PASSWORD, Role.ADMIN)
    auth.disable_user(services.db, "left")
    return services


@pytest.fixture(scope="module")
def desk(services: Services) -> FastAPI:
    return with_desk(services)


def from_peer(served: Any, peer: str = "127.0.0.1") -> TestClient:
    """A client whose connection comes from this address."""
    return TestClient(KeepPeer(served), client=(peer, 50_000), follow_redirects=False)


@pytest.fixture
def client(desk: FastAPI) -> TestClient:
    return from_peer(desk)


def cookie_of(services: Services, name: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={auth.sign_in(services.db, name, PASSWORD).token}"}


def is_out(client: TestClient, headers: Any, says: str = "Sign in first") -> None:
    """At both doors: 401 and why, and of a page the way to sign in."""
    for path in BOTH_DOORS:
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_signed_in"), path
        assert says in answer.json()["error"]["message"]
    page = client.get("/desk/", headers=headers)
    assert (page.status_code, page.headers["location"]) == (303, "/signin")


def test_who_is_named_is_in_at_both_doors_without_a_cookie(client: TestClient) -> None:
    for path in (*BOTH_DOORS, "/desk/"):
        answer = client.get(path, headers=ANN)
        assert answer.status_code == 200, path
        assert COOKIE not in answer.headers.get("set-cookie", "")
    assert client.get(WHO, headers=ANN).json() == "ann"
    assert client.get("/signin", headers=ANN).headers["location"] == "/desk"
    assert client.get("/v1/adapters", headers=ANN).status_code == 403, "the role is the one that the desk knows"
    assert client.get("/v1/adapters", headers={"remote-user": "root"}).status_code == 200


def test_without_the_setting_the_header_is_nothing(services: Services) -> None:
    assert Settings(_env_file=None).trust_remote_user is False
    settings = services.settings.model_copy(update={"trust_remote_user": False})
    client = from_peer(create_app(replace(services, settings=settings)))
    for headers in (ANN, {"REMOTE-USER": "nobody"}, [("REMOTE-USER", "ann"), ("REMOTE-USER", "ben")]):
        is_out(client, headers)
        page = client.get("/signin", headers=headers)
        assert (page.status_code, "role=" in page.text) == (200, False)


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ("127.0.0.1", 200), ("127.8.9.10", 200), ("::1", 200), ("::ffff:127.0.0.1", 200),
        ("10.0.0.9", 401), ("128.0.0.1", 401), ("::ffff:10.0.0.9", 401), ("fe80::1%eth0", 401), ("224.0.0.1", 401),
        ("127.0.0.1.evil.example", 401), ("", 401),
    ],
)  # fmt: skip
def test_only_a_connection_from_this_machine_is_believed(desk: FastAPI, peer: str, status: int) -> None:
    for path in BOTH_DOORS:
        assert from_peer(desk, peer).get(path, headers=ANN).status_code == status


def test_what_is_forwarded_is_no_connection(services: Services) -> None:
    app: Any = create_app(services)
    served = ProxyHeadersMiddleware(app, "*")
    is_out(from_peer(served, "10.0.0.9"), ANN | {"X-Forwarded-For": "127.0.0.1"})
    told = from_peer(served).get("/v1/analyses", headers=ANN | {"X-Forwarded-For": "10.0.0.9"})
    assert told.status_code == 200
    unknown = TestClient(create_app(services), client=("127.0.0.1", 1), follow_redirects=False)
    is_out(unknown, ANN)  # a server that does not keep the connection's address believes nobody


def test_a_server_that_others_reach_believes_nobody_and_is_not_started(services: Services) -> None:
    settings = services.settings.model_copy(update={"host": "0.0.0.0"})  # noqa: S104
    is_out(from_peer(create_app(replace(services, settings=settings))), ANN)
    for host in ("0.0.0.0", "::", "10.0.0.9", "desk.example", "localhost.example", ""):  # noqa: S104
        with pytest.raises(ValidationError, match="XRAY_HOST has to be a loopback address"):
            Settings(_env_file=None, trust_remote_user=True, host=host)
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert Settings(_env_file=None, trust_remote_user=True, host=host).trust_remote_user


@pytest.mark.parametrize("name", ["cleo", "ANN", "Ann", "an", "x; rm -rf ~", "'; DROP TABLE users; --", "a'b"])
def test_a_stranger_is_told_what_an_admin_has_to_do(
    client: TestClient, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    command = f"python -m xray_app users add {shlex.quote(name)} --role analyst"
    is_out(client, {"REMOTE-USER": name}, says=command)
    assert command in caplog.text
    page = client.get("/signin", headers={"REMOTE-USER": name})
    assert page.status_code == 401
    assert "python -m xray_app users add" in page.text
    assert 'name="password"' in page.text, "a password is still taken"
    assert client.post("/v1/queue/next", headers={"REMOTE-USER": name}).status_code == 401


def test_a_name_is_no_markup_on_the_page(client: TestClient) -> None:
    page = client.get("/signin", headers={"REMOTE-USER": '"><script>alert(1)</script>'})
    assert page.status_code == 401
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text


def test_who_is_called_as_the_desks_first_admin_is_not_them(client: TestClient) -> None:
    is_out(client, {"REMOTE-USER": "admin"}, says="first admin")
    assert "another name" in client.get("/signin", headers={"REMOTE-USER": "admin"}).text


def test_a_disabled_user_is_out_at_once(client: TestClient, services: Services) -> None:
    is_out(client, {"REMOTE-USER": "left"}, says="disabled")
    assert "disabled" in client.get("/signin", headers={"REMOTE-USER": "left"}).text
    auth.add_user(services.db, "leaving", PASSWORD, Role.ANALYST)
    assert client.get("/v1/analyses", headers={"REMOTE-USER": "leaving"}).status_code == 200
    auth.disable_user(services.db, "leaving")
    is_out(client, {"REMOTE-USER": "leaving"}, says="disabled")


@pytest.mark.parametrize(
    "values", [("ann", "ben"), ("ann", "ann"), ("", "ann"), ("ann", ""), ("ann, ben",), ("ann,ann",), ("ann,",)]
)
def test_more_than_one_name_is_none(client: TestClient, values: tuple[str, ...]) -> None:
    is_out(client, [("REMOTE-USER", value) for value in values], says="more than one user")


@pytest.mark.parametrize(
    "name",
    [" ann", "ann ", "ann\u00a0", "ａｎｎ", "ann\u200b", "\u202eann", "ann\x00", "ann\t", "a\u0308", "Zoe\u0308",
     "n" * 65, "n" * 10_000],
)  # fmt: skip
def test_a_name_that_is_not_a_users_very_name_is_none(client: TestClient, name: str) -> None:
    is_out(client, {"REMOTE-USER": name.encode()}, says="no user of this desk can be called")


def test_the_very_name_may_be_in_any_script(client: TestClient, services: Services) -> None:
    assert client.get(WHO, headers={"REMOTE-USER": "Zoë".encode()}).json() == "Zoë"
    auth.add_user(services.db, "n" * 64, PASSWORD, Role.ANALYST)
    assert client.get("/v1/analyses", headers={"REMOTE-USER": "n" * 64}).status_code == 200


def test_no_name_is_nobody(client: TestClient) -> None:
    for headers in ({"REMOTE-USER": ""}, {"REMOTE_USER": "ann"}, {"X-REMOTE-USER": "ann"}):
        is_out(client, headers)
    is_out(client, ANN | {"REMOTE-USER-PERM": "Unauthorized"})
    assert client.get("/v1/analyses", headers=ANN | {"REMOTE-USER-PERM": "RO"}).status_code == 200


SAME = {"Sec-Fetch-Site": "same-origin"}
ELSEWHERE = {"Sec-Fetch-Site": "cross-site"}
OPENED = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
JOIN = "/desk/gradio_api/queue/join"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", JOIN, SAME, 200),
        ("POST", JOIN, {"Host": "desk.local", "Origin": "http://desk.local"}, 200),
        ("POST", JOIN, {}, 403),
        ("POST", JOIN, ELSEWHERE, 403),
        ("POST", JOIN, ELSEWHERE | OPENED, 403),
        ("POST", JOIN, {"Sec-Fetch-Site": "same-site"}, 403),
        ("POST", JOIN, {"Host": "desk.local", "Origin": "http://evil.example"}, 403),
        ("GET", "/v1/scans/1/image", {}, 200),
        ("GET", "/v1/scans/1/image", SAME, 200),
        ("GET", "/v1/scans/1/image", ELSEWHERE, 403),
        ("GET", "/v1/scans/1/image", {"Sec-Fetch-Site": "same-site"}, 403),
        ("GET", "/desk/", ELSEWHERE | OPENED, 200),
        ("GET", "/desk/", {"Sec-Fetch-Site": "same-site"} | OPENED, 200),
        ("GET", "/desk/", ELSEWHERE | OPENED | {"Sec-Fetch-Dest": "iframe"}, 403),
        ("GET", "/desk/", ELSEWHERE | {"Sec-Fetch-Dest": "document"}, 403),
        ("POST", "/v1/queue/next", SAME, 401),
        ("DELETE", "/v1/corrections/1/review", SAME, 401),
        ("HEAD", "/v1/analyses", {}, 401),
    ],
)  # fmt: skip
def test_no_other_site_acts_through_the_header(
    services: Services, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert ask(KeepPeer(Door(Beyond(), services)), method, path, ANN | headers)[0] == status


def test_a_password_goes_before_the_name(client: TestClient, services: Services) -> None:
    token = auth.sign_in(services.db, "ben", PASSWORD).token
    assert client.get(WHO, headers=ANN | {"Authorization": f"Bearer {token}"}).json() == "ben"
    assert client.get("/v1/analyses", headers=ANN | {"Authorization": "Bearer wrong"}).status_code == 401
    for named in (ANN, {"REMOTE-USER": "cleo"}):
        login = client.post("/v1/login", json={"username": "ben", "password": PASSWORD}, headers=named)
        assert (login.status_code, login.json()["role"]) == (200, "annotator")
        page = client.post("/signin", data={"username": "ben", "password": PASSWORD}, headers=named)
        cookie = page.headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        assert client.get(WHO, headers=named | {"Cookie": cookie}).json() == "ben"
    client.post("/signout", headers={"Cookie": cookie} | ANN)
    client.cookies.clear()
    assert client.get(WHO, headers=ANN | {"Cookie": cookie}).json() == "ann", "the session has ended, the name has not"
    is_out(client, {"Cookie": cookie}, says="has ended")
    is_out(client, {})


def test_the_log_says_how_somebody_signed_in(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "xray_app")
    client = from_peer(create_app(services))
    for path in (*BOTH_DOORS, *BOTH_DOORS):
        client.get(path, headers=ANN)
    client.post("/v1/login", json={"username": "ben", "password": PASSWORD})
    said = [record.getMessage() for record in caplog.records if "signed in" in record.getMessage()]
    assert said == ["ann signed in by REMOTE-USER", "ben signed in by password, from 127.0.0.1"]


def test_it_is_said_anew_where_a_session_would_have_ended(
    services: Services, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "xray_app")
    monkeypatch.setattr(auth, "SESSION", timedelta())
    client = from_peer(create_app(services))
    for times in (1, 2):
        client.get("/v1/analyses", headers=ANN)
        assert caplog.text.count("ann signed in by REMOTE-USER") == times


def test_every_handler_of_the_desk_asks_by_the_same_rule(services: Services) -> None:
    def asked(**scope: Any) -> auth.Identity:
        scope = {"type": "http", "method": "POST", "path": JOIN, "headers": [(b"remote-user", b"ann")]} | scope
        handler = Guard(services).wrap(Role.ANALYST, lambda who: who)
        found: auth.Identity = handler(gr.Request(request=Request(scope), session_hash="test"))
        return found

    assert asked(**{PEER: "127.0.0.1"}) == auth.Identity("ann", Role.ANALYST, remote=True)
    for wrong in ({PEER: "10.0.0.9"}, {}, {PEER: "::1", "headers": [(b"remote-user", b"left")]}):
        with pytest.raises(gr.Error):
            asked(**wrong)


def test_while_the_desk_starts_who_is_named_is_not_asked_for_a_password(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "PATIENCE", 0.05)
    for headers, status in ((ANN, 503), ({"REMOTE-USER": "a,b"}, 503), ({}, 200), ({"REMOTE-USER": ""}, 200)):
        assert ask(KeepPeer(StartingDesk(services.settings)), "GET", "/desk", headers)[0] == status
    off = services.settings.model_copy(update={"trust_remote_user": False})
    assert ask(KeepPeer(StartingDesk(off)), "GET", "/desk", ANN)[0] == 200


@pytest.fixture
def port(services: Services) -> Iterator[int]:
    """Served as `app.py` does."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = uvicorn.Server(desk_app.server_config(create_app(services), services.settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield bound.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            thread.join(20)


def test_over_a_socket(port: int) -> None:
    def get(*headers: tuple[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.putrequest("GET", "/v1/analyses")
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        told = answer.status, answer.read()
        connection.close()
        return told

    assert get(("REMOTE-USER", "ann"))[0] == 200
    assert get(("Remote-User", "ann"), ("X-Forwarded-For", "203.0.113.5"))[0] == 200
    assert get(("REMOTE-USER", "Zo\xc3\xab"))[0] == 200, "UTF-8, as its bytes"
    assert get(("REMOTE-USER", "ann"), ("remote-user", "ann"))[0] == 401
    status, told = get(("REMOTE-USER", "Zo\xeb"))
    assert (status, b"not UTF-8" in told) == (401, True)
    assert get()[0] == 401

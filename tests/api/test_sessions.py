"""Signing in and out, by token and by page."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import PASSWORD, make_services
from xray_app import auth
from xray_app.api.app import create_app
from xray_app.errors import NotSignedIn
from xray_app.services import Services
from xray_app.session import COOKIE, bearer_token, cookie_token, identity_of
from xray_app.types import Role


def test_a_token_is_good_until_signed_out(client: TestClient) -> None:
    answer = client.post("/v1/login", json={"username": "analyst", "password": PASSWORD})
    assert answer.status_code == 200
    told = answer.json()
    assert set(told) == {"token", "expires_at", "role"}
    assert told["role"] == "analyst"
    assert datetime.fromisoformat(told["expires_at"]) > datetime.now(UTC)
    headers = {"Authorization": f"Bearer {told['token']}"}
    assert client.get("/v1/analyses", headers=headers).status_code == 200
    answer = client.post("/v1/logout", headers=headers)
    assert (answer.status_code, answer.json()) == (200, None)
    assert client.get("/v1/analyses", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "body", [{}, {"username": "analyst"}, {"username": "a", "password": 3}, [], "x", {"username": "a" * 300}]
)
def test_a_malformed_login_is_422(client: TestClient, body: object) -> None:
    answer = client.post("/v1/login", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "bad_input"


def test_five_failures_throttle_the_name(client: TestClient, services: Services) -> None:
    auth.add_user(services.db, "clumsy", PASSWORD, Role.ANALYST)
    for _ in range(5):
        wrong = client.post("/v1/login", json={"username": "clumsy", "password": "wrong"})
        assert wrong.status_code == 401
        assert PASSWORD not in wrong.text
    answer = client.post("/v1/login", json={"username": "clumsy", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    page = client.post("/signin", data={"username": "clumsy", "password": PASSWORD})
    assert page.status_code == 429
    assert "Too many failed sign-ins" in page.text


def test_disabling_and_a_new_password_end_sessions_at_once(client: TestClient, services: Services) -> None:
    auth.add_user(services.db, "leaving", PASSWORD, Role.ANALYST)
    first = {"Authorization": f"Bearer {auth.sign_in(services.db, 'leaving', PASSWORD).token}"}
    assert client.get("/v1/analyses", headers=first).status_code == 200
    auth.set_password(services.db, "leaving", "another password")
    assert client.get("/v1/analyses", headers=first).status_code == 401
    second = {"Authorization": f"Bearer {auth.sign_in(services.db, 'leaving', 'another password').token}"}
    auth.disable_user(services.db, "leaving")
    assert client.get("/v1/analyses", headers=second).status_code == 401


def test_the_page_sets_a_cookie_that_no_script_reads(client: TestClient) -> None:
    page = client.get("/signin")
    assert page.status_code == 200
    assert not re.search(r"(src|href)=\"(?!/)|@import|url\(|<script", page.text)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy

    answer = client.post("/signin", data={"username": "analyst", "password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "/desk")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert client.get("/signin").headers["location"] == "/desk"

    answer = client.post("/signout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin")
    assert client.get("/signin").status_code == 200
    client.cookies.clear()


def test_over_tls_the_cookie_stays_there(client: TestClient) -> None:
    headers = {"X-Forwarded-Proto": "https"}
    answer = client.post("/signin", data={"username": "analyst", "password": PASSWORD}, headers=headers)
    assert "Secure" in answer.headers["set-cookie"].split("; ")
    client.cookies.clear()


def test_a_wrong_password_shows_the_page_again_without_echoing_markup(client: TestClient) -> None:
    answer = client.post("/signin", data={"username": '"><script>alert(1)</script>', "password": "wrong"})
    assert answer.status_code == 401
    assert "Wrong user name or password." in answer.text
    assert "<script>" not in answer.text
    assert "set-cookie" not in answer.headers


def test_another_site_cannot_sign_anybody_in_or_out(client: TestClient) -> None:
    elsewhere = {"Origin": "https://evil.example"}
    form = {"username": "analyst", "password": PASSWORD}
    assert client.post("/signin", data=form, headers=elsewhere).status_code == 403
    assert client.post("/signout", headers=elsewhere).status_code == 403


def test_the_page_says_that_the_bundled_models_are_a_demonstration(client: TestClient) -> None:
    assert "Demonstration model" in client.get("/signin").text


class _Asking:
    """What a handler of the desk is given: headers, and perhaps a request inside."""

    def __init__(self, headers: dict[str, str], request: object = None) -> None:
        self.headers = headers
        self.request = request


def test_a_handler_learns_who_asks_anew_each_time(services: Services) -> None:
    token = auth.sign_in(services.db, "annotator", PASSWORD).token
    wrapped = _Asking({}, request=_Asking({"cookie": f"a=b; {COOKIE}={token}; c=d"}))
    assert identity_of(wrapped, services) == auth.Identity("annotator", Role.ANNOTATOR)
    auth.sign_out(services.db, token)
    with pytest.raises(NotSignedIn):
        identity_of(wrapped, services)
    with pytest.raises(NotSignedIn):
        identity_of(_Asking({}), services)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("Bearer ", None),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
    ],
)
def test_bearer_token(header: str, token: str | None) -> None:
    assert bearer_token({"authorization": header}) == token


@pytest.mark.parametrize("header", ["", "a=b", f"{COOKIE}=", "=;;;", f"{COOKIE}"])
def test_no_cookie_token(header: str) -> None:
    assert cookie_token({"cookie": header}) is None


def test_sixty_anonymous_attempts_are_not_felt_by_others(tmp_path: Path) -> None:
    services = make_services(tmp_path)
    auth.add_user(services.db, "ann", PASSWORD, Role.ANALYST)
    mine = {"username": "ann", "password": PASSWORD}
    with TestClient(create_app(services)) as client:
        assert client.post("/v1/login", json=mine).status_code == 200
        told = [
            client.post("/v1/login", json={"username": f"guess {number % 30}", "password": "x"}).status_code
            for number in range(60)
        ]
        assert told == [401] * 20 + [429] * 40
        assert client.post("/v1/login", json=mine).status_code == 200
        assert client.post("/signin", data=mine, follow_redirects=False).status_code == 303
    services.db.close()

"""Served under a path of a proxy, which may leave that path in the address or take it off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from tests.api.conftest import PASSWORD, make_services, png
from xray_app import auth
from xray_app.services import Services
from xray_app.settings import Settings
from xray_app.types import Role
from xray_app.wiring import with_desk


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    services = make_services(tmp_path_factory.mktemp("desk"), root_path="/site/xray/")
    auth.add_user(services.db, "ann", PASSWORD, Role.ANALYST)
    return services


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(with_desk(services), follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize("left", ["/site/xray", ""])
def test_every_redirect_stays_below_it(client: TestClient, left: str) -> None:
    client.cookies.clear()
    for path, leads in (("/", "/desk"), ("/desk", "/signin"), ("/desk/", "/signin")):
        assert client.get(f"{left}{path}").headers["location"] == f"/site/xray{leads}"
    page = client.get(f"{left}/signin").text
    assert 'action="/site/xray/signin"' in page
    assert 'href="/site/xray/favicon.ico"' in page
    signed_in = client.post(f"{left}/signin", data={"username": "ann", "password": PASSWORD})
    assert signed_in.headers["location"] == "/site/xray/desk"
    assert "Path=/site/xray;" in signed_in.headers["set-cookie"]
    cookie = {"Cookie": signed_in.headers["set-cookie"].split(";")[0]}
    assert client.get(f"{left}/desk", headers=cookie).headers["location"] == "/site/xray/desk/"
    config = client.get(f"{left}/desk/config", headers=cookie | {"Host": "example.org"}).json()
    assert config["root"] == "http://example.org/site/xray/desk"
    assert client.get(f"{left}/openapi.json", headers=cookie).json()["servers"] == [{"url": "/site/xray"}]
    signed_out = client.post(f"{left}/signout", headers=cookie)
    assert signed_out.headers["location"] == "/site/xray/signin"
    assert "Path=/site/xray;" in signed_out.headers["set-cookie"]
    assert client.get(f"{left}/openapi.json", headers=cookie).status_code == 401


@pytest.mark.parametrize("left", ["/site/xray", ""])
def test_the_door_is_as_narrow_as_without_it(client: TestClient, left: str) -> None:
    client.cookies.clear()
    answer = client.post(f"{left}/v1/login", json={"username": "ann", "password": PASSWORD})
    bearer = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert client.get(f"{left}/health").status_code == 200
    assert client.get(f"{left}/v1/analyses").status_code == 401
    assert client.get(f"{left}/v1/analyses", headers=bearer).status_code == 200
    assert client.get(f"{left}/desk/monitoring", headers=bearer).status_code == 404
    files = {"file": ("bag.png", png(), "image/png")}
    assert client.post(f"{left}/v1/analyze", files=files, headers=bearer).status_code == 200
    large = {"file": ("bag.png", bytes(2 * 2**20), "image/png")}
    assert client.post(f"{left}/v1/analyze", files=large, headers=bearer).status_code == 413


def test_only_the_whole_path_is_taken_off(client: TestClient) -> None:
    client.cookies.clear()
    assert client.get("/site/xray").headers["location"] == "/site/xray/desk"
    for path in ("/site/xrays/health", "/site/health", "/xray/health", "/site/xray/site/xray/health"):
        assert client.get(path).status_code == 401


@pytest.mark.parametrize("path", ["xray", "//evil.example", "/a b", '/"><script>', "/x?y", "https://evil.example"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="root_path"):
        Settings(_env_file=None, root_path=path)

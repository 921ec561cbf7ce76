"""Image, report, thumbnail and upload share the memory for decoded pictures, and say when to come again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import PASSWORD, make_services, png
from xray_app import auth
from xray_app.api.app import create_app
from xray_app.services import Services
from xray_app.session import COOKIE
from xray_app.store import thumbnails
from xray_app.types import Role


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Services:
    services = make_services(tmp_path_factory.mktemp("desk"))
    services.decoding.seconds = 0.05
    auth.add_user(services.db, "analyst", PASSWORD, Role.ANALYST)
    return services


@pytest.fixture(scope="module")
def client(desk: Services) -> Iterator[TestClient]:
    with TestClient(create_app(desk), raise_server_exceptions=False) as client:
        token = client.post("/v1/login", json={"username": "analyst", "password": PASSWORD}).json()["token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


@pytest.fixture(scope="module")
def analysed(client: TestClient, desk: Services) -> dict[str, Any]:
    answer = client.post("/v1/analyze", files={"file": ("a.png", png((300, 200)))})
    assert answer.status_code == 200
    thumbnail = thumbnails.find(desk.db, answer.json()["scan"]["id"])
    assert thumbnail is not None
    Path(thumbnail).unlink()
    body: dict[str, Any] = answer.json()
    return body


WAYS = {
    "report": "/v1/analyses/{id}/report",
    "thumbnail": "/v1/scans/{scan}/thumbnail",
    "image": "/v1/scans/{scan}/image",
    "analyze": "/v1/analyze",
    "detect": "/v1/detect",
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_waits_for_room_and_is_told_to_come_again(
    way: str, client: TestClient, desk: Services, analysed: dict[str, Any]
) -> None:
    address = WAYS[way].format(id=analysed["id"], scan=analysed["scan"]["id"])

    def ask() -> Any:
        if way in ("analyze", "detect"):
            return client.post(address, files={"file": ("b.png", png((300, 201)))})
        if way == "image":  # as the desk asks, by its cookie: a program gets the file as it is stored
            token = client.headers["Authorization"].removeprefix("Bearer ")
            return TestClient(client.app, cookies={COOKIE: token}).get(address)
        return client.get(address)

    with desk.decoding.decoding(desk.settings.max_pixels * 2):
        answer = ask()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")
        assert int(answer.headers["Retry-After"]) >= 1
    assert ask().status_code == 200

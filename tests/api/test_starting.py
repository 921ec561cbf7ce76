"""While the models load: the sign-in page is there, what is sent waits for the desk, and nothing else is open."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from tests.api.conftest import PASSWORD, make_services
from xray_app import auth
from xray_app.api import starting
from xray_app.api.app import create_app
from xray_app.api.starting import StartingDesk
from xray_app.services import Services
from xray_app.session import COOKIE
from xray_app.types import Role


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    services = make_services(tmp_path_factory.mktemp("starting"))
    auth.add_user(services.db, "ann", PASSWORD, Role.ANALYST)
    return services


class Served:
    def __init__(self, services: Services, bound: socket.socket) -> None:
        self.services = services
        self.starting = StartingDesk(services.settings)
        self.server = uvicorn.Server(uvicorn.Config(self.starting, log_level="warning", lifespan="on"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [bound]})
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{bound.getsockname()[1]}", timeout=20)

    def open(self) -> None:
        self.starting.open(create_app(self.services))


@pytest.fixture
def served(services: Services) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        served = Served(services, bound)
        served.thread.start()
        while not served.server.started:
            time.sleep(0.01)
        with served.client:
            yield served
        served.server.should_exit = True
        served.thread.join(20)
        assert not served.thread.is_alive()


def test_the_door_says_that_it_is_starting_and_shows_the_way_in(served: Served) -> None:
    client = served.client
    assert client.get("/health").json() == {"status": "starting"}
    ready = client.get("/ready")
    assert (ready.status_code, ready.headers["retry-after"]) == (503, "5")
    assert ready.json()["error"]["code"] == "starting"
    for path in ("/", "/signin", "/desk", "/desk/"):
        page = client.get(path, headers={"Cookie": "xray_theme=light"})
        assert page.status_code == 200
        assert "The desk is starting" in page.text
        assert 'action="/signin"' in page.text
        assert 'data-theme="light"' in page.text
        assert page.headers["cache-control"] == "no-store"
        assert "form-action 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"
    served.open()
    assert client.get("/health").json() == client.get("/ready").json() == {"status": "ok"}
    assert "The desk is starting" not in client.get("/signin").text


def test_what_is_sent_meanwhile_is_answered_by_the_desk(served: Served) -> None:
    credentials = {"username": "ann", "password": PASSWORD}
    with ThreadPoolExecutor(4) as pool:
        token = pool.submit(served.client.post, "/v1/login", json=credentials)
        form = pool.submit(served.client.post, "/signin", data=credentials)
        nobody = pool.submit(served.client.get, "/v1/queue")
        page = pool.submit(served.client.get, "/desk", headers={"Cookie": f"{COOKIE}=x"})
        time.sleep(0.3)
        assert not any(one.done() for one in (token, form, nobody, page))
        served.open()
        assert token.result().json()["role"] == "analyst"
        assert form.result().status_code == 303
        assert nobody.result().status_code == 401
        assert page.result().headers["location"] == "/signin", "the session is none, says the desk itself"


def test_whoever_has_waited_long_is_told_to_come_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "PATIENCE", 0.2)
    answer = served.client.post("/v1/analyze", content=b"x" * 100)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"]["code"] == "starting"


def test_under_a_path_of_a_proxy(services: Services) -> None:
    below = services.settings.model_copy(update={"root_path": "/site/xray/"})
    with socket.create_server(("127.0.0.1", 0)) as bound:
        desk = StartingDesk(below)
        server = uvicorn.Server(uvicorn.Config(desk, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{bound.getsockname()[1]}", timeout=20) as client:
                for path in ("/site/xray/signin", "/signin", "/site/xray"):
                    assert 'action="/site/xray/signin"' in client.get(path).text
                assert client.get("/site/xray/health").json() == {"status": "starting"}
        finally:
            server.should_exit = True
            thread.join(20)


def test_a_lifespan_that_fails_is_told_to_who_opens_the_desk(served: Served) -> None:
    async def broken(_: FastAPI):  # type: ignore[no-untyped-def]
        raise ZeroDivisionError
        yield

    app = FastAPI(lifespan=broken)
    with pytest.raises(ZeroDivisionError):
        served.starting.open(app)
    assert served.client.get("/health").json() == {"status": "starting"}


def test_a_database_that_does_not_answer_is_not_ready(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from xray_app.errors import StorageFailed

    served.open()

    def gone() -> None:
        raise StorageFailed("The database is away.")

    monkeypatch.setattr(type(served.services.db), "check_answers", lambda _: gone())
    assert served.client.get("/ready").status_code == 503
    assert served.client.get("/health").status_code == 200


def test_a_page_that_is_open_is_cut_at_the_end(served: Served) -> None:
    address = served.client.base_url
    connection = http.client.HTTPConnection(str(address.host), address.port, timeout=20)
    connection.request("GET", "/health")
    assert json.loads(connection.getresponse().read()) == {"status": "starting"}


def test_the_door_needs_none_of_the_heavy_libraries() -> None:
    import subprocess
    import sys

    heavy = "[one for one in ('torch', 'gradio', 'transformers', 'pandas', 'onnxruntime', 'PIL') if one in sys.modules]"
    said = subprocess.run(
        [sys.executable, "-c", f"import app, sys; print({heavy})"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "[]\n"

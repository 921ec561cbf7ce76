"""The wiring: what is served where, and what is said when it cannot start."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient

import app as desk_app
from tests.api.conftest import PASSWORD, make_services
from xray_app import auth, wiring
from xray_app.api.app import create_app
from xray_app.errors import BadModel
from xray_app.services import Services
from xray_app.types import Role
from xray_app.wiring import with_desk


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    services = make_services(tmp_path_factory.mktemp("desk"))
    auth.add_user(services.db, "ann", PASSWORD, Role.ANALYST)
    return services


@pytest.fixture(scope="module")
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(with_desk(services), follow_redirects=False) as client:
        yield client


def test_nothing_of_the_desk_is_open(client: TestClient) -> None:
    client.cookies.clear()
    assert client.get("/").headers["location"] == "/desk"
    for path in ("/desk", "/desk/"):
        assert client.get(path).headers["location"] == "/signin"
    for path in ("config", "theme.css", "assets/index.js", "gradio_api/info", "gradio_api/queue/data"):
        assert client.get(f"/desk/{path}").status_code == 401
    for path in ("queue/join", "upload", "run/predict", "api/predict", "cancel", "reset", "component_server"):
        assert client.post(f"/desk/gradio_api/{path}").status_code == 401


def test_signed_in_the_desk_is_there_and_the_api_beside_it(client: TestClient) -> None:
    client.post("/signin", data={"username": "ann", "password": PASSWORD})
    page = client.get("/desk", follow_redirects=True)
    assert page.status_code == 200
    assert "X-ray desk" in page.text
    assert "fonts.googleapis.com" not in page.text
    assert client.get("/desk/gradio_api/user").json() == "ann"
    assert client.get("/v1/nothing").json()["error"]["code"] == "not_found"
    config = client.get("/desk/config").json()
    assert not config.get("run_history")
    client.cookies.clear()


def test_files_of_the_machine_stay_where_they_are(client: TestClient, services: Services) -> None:
    client.post("/signin", data={"username": "ann", "password": PASSWORD})
    for path in (services.db.data_dir / "xray.db", Path("/etc/passwd"), Path(desk_app.__file__)):
        assert client.get(f"/desk/gradio_api/file={path}").status_code == 404
        assert client.get(f"/desk/gradio_api/file/{path}").status_code == 404
        assert client.get(f"/desk/file={path}").status_code == 404
    client.cookies.clear()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XRAY_PORT", str(number))
    monkeypatch.setenv("XRAY_DATA_DIR", str(tmp_path / "data"))
    return number


def cannot_start(capsys: pytest.CaptureFixture[str]) -> str:
    """Tries to start; returns the one line it says."""
    assert desk_app.main() == 1
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1
    return said.err


def test_a_port_in_use(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", port)):
        assert f"127.0.0.1:{port}" in cannot_start(capsys)


@pytest.mark.parametrize(
    ("name", "value"),
    [("XRAY_WEBHOOK_URL", "http://example.com/t0ken"), ("XRAY_LOG_FORMAT", "xml"), ("XRAY_REPORT_TO", "wandb")],
)
def test_a_setting_that_is_wrong(
    port: int, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    said = cannot_start(capsys)
    assert said.startswith(f"A setting is wrong: {name}: ")
    assert "Value error" not in said
    assert "t0ken" not in said


@pytest.mark.parametrize("bad", ["x", "0", "-1", "70000"])
def test_a_port_that_is_none(
    port: int, bad: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XRAY_PORT", bad)
    assert "XRAY_PORT" in cannot_start(capsys)


def test_a_remote_user_is_not_believed_where_others_reach_the_port(
    port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XRAY_TRUST_REMOTE_USER", "on")
    monkeypatch.setenv("XRAY_HOST", "0.0.0.0")  # noqa: S104
    said = cannot_start(capsys)
    assert said.startswith("A setting is wrong: XRAY_TRUST_REMOTE_USER: who reaches the port may send any name")
    assert "XRAY_HOST" in said


def test_a_data_folder_that_cannot_be_written(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XRAY_DATA_DIR", str(tmp_path / "file"))
    assert str(tmp_path / "file") in cannot_start(capsys)


def test_a_taxonomy_that_is_wrong(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("classes: [\n")
    monkeypatch.setenv("XRAY_TAXONOMY", str(tmp_path / "mine.yaml"))
    assert "mine.yaml" in cannot_start(capsys)


def test_a_model_that_does_not_load(
    port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise BadModel("The model is damaged.")

    monkeypatch.setattr(wiring, "load_vlm", fails)
    assert cannot_start(capsys) == "The model is damaged.\n"


def test_the_first_paint_is_in_the_chosen_theme(client: TestClient) -> None:
    client.post("/signin", data={"username": "ann", "password": PASSWORD})
    for cookie, theme in (("light", "light"), ("dark", "dark"), ('"><script>', "dark"), (None, "dark")):
        if cookie is not None:
            client.cookies.set("xray_theme", cookie)
        page = client.get("/desk/", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert f'<html data-theme="{theme}"' in page.text
        assert page.text.index("--ground:") < page.text.index("<script"), "colours come before anything runs"
        assert int(page.headers["content-length"]) == len(page.content)
        client.cookies.delete("xray_theme")
    # Everything else passes as Gradio made it.
    assert client.get("/desk/config", headers={"Accept": "text/html"}).json()["title"] == "X-ray desk"
    client.cookies.clear()
    client.cookies.set("xray_theme", "light")
    assert 'data-theme="light"' in client.get("/signin").text
    client.cookies.clear()


def test_one_connection_too_many_is_told_to_come_again_and_those_that_are_open_stay(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_app, "MOST_CONNECTIONS", 4)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = uvicorn.Server(desk_app.server_config(create_app(services), services.settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            address = bound.getsockname()
            kept = [http.client.HTTPConnection(*address, timeout=20) for _ in range(3)]
            for connection in kept:
                connection.request("GET", "/health")
                assert connection.getresponse().read() == b'{"status":"ok"}'
            with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}") as another:
                refused = another.get("/health")
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
                assert refused.json()["error"]["code"] == "busy"
                kept[0].close()
                end = time.monotonic() + 10
                while another.get("/health").status_code == 503:
                    assert time.monotonic() < end, "a place that is free again is not given"
                    time.sleep(0.1)
            for connection in kept[1:]:
                connection.close()
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)


@pytest.mark.parametrize("how", ["its end", "a signal"])
def test_a_server_that_ends_stops_imports_and_exports(
    services: Services, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    begun = threading.Event()

    def ended(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        assert begun.wait(20)
        if how == "a signal":
            raise KeyboardInterrupt

    monkeypatch.setattr(desk_app.Server, "run", ended)
    monkeypatch.setattr(desk_app, "JOBS_END_SECONDS", 0.1)
    monkeypatch.setattr(desk_app.signal, "signal", lambda *_: None)
    job = services.jobs.start("import", "ann")

    def make() -> Services:
        threading.Timer(0.2, begun.set).start()
        return services

    with socket.create_server(("127.0.0.1", 0)) as bound:
        assert desk_app.serve(services.settings, bound, make) is services
    assert job.progress.stop.is_set()
    job.progress.ended = True


def test_the_log_rotates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_app, "LOG_BYTES", 2000)
    kept = desk_app.keep_log(tmp_path, 7860, "text")
    try:
        for number in range(500):
            logging.getLogger("xray_app").warning("scan %s was refused", number)
    finally:
        logging.getLogger().removeHandler(kept)
        kept.close()
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["desk-7860.log", *(f"desk-7860.log.{number}" for number in range(1, 5))]
    assert all(file.stat().st_size <= 2000 for file in files)
    assert "scan 499 was refused" in files[0].read_text()

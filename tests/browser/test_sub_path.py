"""The desk behind nginx, under a path: the page comes whole and works, whether nginx takes the path off or not."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import ADMIN_PASSWORD, ROOT, Open, _wait_for, absent

CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    location /xray/ {{
      proxy_pass http://127.0.0.1:{desk}{takes_off};
      proxy_set_header Host $http_host;
      proxy_http_version 1.1;
      proxy_buffering off;
    }}
  }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[Callable[[], bool]]:
    """A process with the desk under /xray; gives whether it lives, and ends it."""
    environment = os.environ | {"XRAY_ROOT_PATH": "/xray", "HF_HUB_OFFLINE": "1"}
    with (folder / "process.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            yield lambda: process.poll() is None
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a desk that is served under /xray."""
    folder, port = tmp_path_factory.mktemp("desk"), free_port()
    command = [sys.executable, "-m", "tests.browser.scripted_desk", str(folder / "data"), str(port)]
    with running(command, folder) as alive:
        _wait_for(f"http://127.0.0.1:{port}", alive)
        yield port


@pytest.fixture(params=["/", ""], ids=["taken off", "left"])
def behind_nginx(request: Any, tmp_path: Path) -> Iterator[str]:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        absent("no nginx here: apt-get install nginx-light")
    desk, port = request.getfixturevalue("desk"), free_port()
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=tmp_path, port=port, desk=desk, takes_off=request.param))
    with running([nginx, "-c", str(configuration), "-e", str(tmp_path / "error.log")], tmp_path) as alive:
        url = f"http://127.0.0.1:{port}/xray"
        _wait_for(url, alive)
        yield url


def test_the_page_is_whole_under_a_path(behind_nginx: str, open_desk: Open) -> None:
    page = open_desk(behind_nginx)
    refused: list[str] = []
    asked: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_selector(".desk-user")
    page.click(".desk-head .theme")  # the desk's own modules have been run
    theme = page.evaluate("document.documentElement.dataset.theme")
    page.reload()
    page.wait_for_selector(".desk-user")
    assert page.evaluate("document.documentElement.dataset.theme") == theme, "kept in a cookie of this path"
    assert {cookie["path"].rstrip("/") for cookie in page.context.cookies()} == {"/xray"}
    assert refused == []
    assert [url for url in asked if not url.startswith((f"{behind_nginx}/", "data:", "blob:"))] == []
    page.click("header form[action='../signout'] button")
    page.wait_for_url(f"{behind_nginx}/signin")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", ADMIN_PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(f"{behind_nginx}/desk/")

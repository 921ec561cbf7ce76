"""A real Chromium, and two desks to point it at: one with scripted models, and `app.py` as it ships."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.ui.scripted import ScriptedDetector, ScriptedVlm
from xray_app.settings import BUNDLED_DETECTOR, BUNDLED_VLM, ROOT

ADMIN_PASSWORD = "an admin's password"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--process-per-site"]
WIDTH, HEIGHT = 1366, 768
COVERED = (Path(__file__).parent / "covered.js").read_text(encoding="utf-8")
"""What lies over what, where the desk tells something; the hint not over the refusal it speaks of either."""
SCREENSHOTS = os.environ.get("XRAY_TEST_SCREENSHOTS")
"""A folder to leave pictures of the whole ring in, for somebody to look at."""


def absent(what: str) -> Any:
    """Skips, saying why; on the machine that must have it, fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright is not installed (requirements-dev.txt)")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        absent("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


Open = Callable[..., Any]


@pytest.fixture(scope="session")
def contexts() -> list[Any]:
    """Browser contexts that one test after the other uses, each emptied after it as if it were new. The first page of
    each stays open, and with it the process that has fetched and compiled the desk's code: half of a page's cost."""
    return []


@pytest.fixture
def open_desk(chromium: Any, contexts: list[Any]) -> Iterator[Open]:
    """Signs somebody in, in a browser of their own; any error the page throws fails the test."""
    errors: list[str] = []
    origins: list[str] = []

    def sign_in(url: str, username: str = "admin", password: str = ADMIN_PASSWORD) -> Any:
        if len(origins) == len(contexts):
            contexts.append(chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT}))
            contexts[-1].new_page().goto(f"{url}/health")
        context = contexts[len(origins)]
        origins.append("{0.scheme}://{0.netloc}".format(urlsplit(url)))
        page = context.new_page()
        page.set_default_timeout(240_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if _is_ours(said) else None)
        page.goto(f"{url}/desk/")
        page.fill("input[name=username]", username)
        page.fill("input[name=password]", password)
        page.click("button[type=submit]")
        page.wait_for_selector("#viewer svg.scan", state="attached")
        page.wait_for_selector(".desk-user")
        return page

    yield sign_in
    for context, origin in zip(contexts, origins, strict=False):
        first, *others = context.pages
        for page in others:
            page.close()
        context.clear_cookies()
        stored = {"origin": origin, "storageTypes": "all"}
        context.new_cdp_session(first).send("Storage.clearDataForOrigin", stored)
    assert errors == []


def _is_ours(said: Any) -> bool:
    # The browser reports refused requests itself; what matters is what the page does about them.
    return said.type == "error" and "Failed to load resource" not in said.text


@dataclass
class Desk:
    """A desk that is being served."""

    url: str
    services: Any = None


@pytest.fixture(scope="session")
def address() -> Iterator[socket.socket]:
    """Where every scripted desk listens: at another address, a browser would not know the page's code again."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        yield bound


@pytest.fixture
def scripted(tmp_path: Path, address: socket.socket) -> Iterator[Desk]:
    """The desk in this process, with models that say the same of every scan."""
    import uvicorn

    from xray_app import auth
    from xray_app.analysis import Analyser
    from xray_app.services import Services
    from xray_app.settings import Settings
    from xray_app.store.database import Database
    from xray_app.store.site_taxonomy import rules_in_force
    from xray_app.taxonomy import load_taxonomy
    from xray_app.types import Role
    from xray_app.wiring import with_desk

    settings = Settings(data_dir=tmp_path / "data", vlm="bundled", detector="bundled")
    taxonomy = load_taxonomy()
    rules = taxonomy.rules()
    db = Database.open(settings.sqlalchemy_url, settings.data_dir)
    auth.ensure_admin(db, ADMIN_PASSWORD)
    auth.add_user(db, "ana", ADMIN_PASSWORD, Role.ANALYST)
    analyser = Analyser(ScriptedVlm(), ScriptedDetector(), rules, current_rules=lambda: rules_in_force(db, rules))
    services = Services(settings, db, rules, analyser, lambda run: None)
    server = uvicorn.Server(uvicorn.Config(with_desk(services), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [address.dup()]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{address.getsockname()[1]}"
    _wait_for(url, thread.is_alive)
    yield Desk(url, services)
    server.should_exit = True
    thread.join(timeout=20)
    db.close()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Desk]:
    """`python app.py` with the bundled models and a data folder of its own."""
    if not (BUNDLED_VLM / "config.json").is_file() or not BUNDLED_DETECTOR.is_file():
        absent("the bundled models are not in assets/models")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {
        "XRAY_DATA_DIR": str(tmp_path / "data"),
        "XRAY_PORT": str(port),
        "XRAY_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "XRAY_SIMULATED_BAGS": "300",  # a third of what is usual: measured twice in every run
        "HF_HUB_OFFLINE": "1",
    }
    log = (tmp_path / "desk.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, lambda: process.poll() is None)
        yield Desk(url)
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def _wait_for(url: str, alive: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert alive(), "the desk ended before it served"
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"no desk on {url} after {seconds} s")


def press(page: Any, button: str) -> None:
    """Presses a button that asks once, and answers."""
    page.click(button)
    page.wait_for_selector(f"{button}[data-asked]")
    page.wait_for_timeout(500)  # sooner, it would be taken for a double click
    page.click(button)

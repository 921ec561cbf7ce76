"""A desk over a real store, with models that say what they are told, and requests from signed-in users."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from PIL import Image
from starlette.requests import Request

from tests.ui.scripted import ScriptedDetector, ScriptedVlm
from xray_app import auth
from xray_app.analysis import Analyser
from xray_app.auth import Identity
from xray_app.errors import Conflict
from xray_app.services import Services
from xray_app.session import COOKIE
from xray_app.settings import Settings
from xray_app.store.database import Database
from xray_app.store.site_taxonomy import rules_in_force
from xray_app.taxonomy import Taxonomy
from xray_app.types import Role, Run

PASSWORD = "a good password"
Ask = Callable[[Role | None], gr.Request]


@pytest.fixture
def launched() -> list[Run]:
    """Runs the desk has launched."""
    return []


@pytest.fixture
def services(db: Database, taxonomy: Taxonomy, tmp_path: Path, launched: list[Run]) -> Services:
    settings = Settings(data_dir=tmp_path / "data", vlm="bundled", detector="bundled")
    rules = taxonomy.rules()
    current = partial(rules_in_force, db, rules)
    analyser = Analyser(ScriptedVlm(), ScriptedDetector(), rules, current_rules=current)
    return Services(settings, db, rules, analyser, launched.append)


@pytest.fixture
def ask(db: Database) -> Ask:
    """A Gradio request of a signed-in user of some role, or of nobody."""

    def request(role: Role | None) -> gr.Request:
        headers = []
        if role is not None:
            with suppress(Conflict):
                auth.add_user(db, role.value, PASSWORD, role)
            token = auth.sign_in(db, role.value, PASSWORD).token
            headers.append((b"cookie", f"{COOKIE}={token}".encode()))
        scope = {"type": "http", "method": "POST", "path": "/desk/gradio_api/queue/join", "headers": headers}
        return gr.Request(request=Request(scope), session_hash="test")

    return request


@pytest.fixture
def analyst() -> Identity:
    return Identity("ana", Role.ANALYST)


@pytest.fixture
def admin() -> Identity:
    return Identity("root", Role.ADMIN)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the desk told the person outside the page: Gradio's messages, which need a live event."""
    messages: list[str] = []
    for name in ("Info", "Warning"):
        monkeypatch.setattr(gr, name, lambda message, **_: messages.append(message))
    return messages


@pytest.fixture
def upload() -> Iterator[Any]:
    """Puts a file where Gradio puts an uploaded one; returns its path."""
    made: list[Path] = []

    def put(name: str, content: bytes | None = None, shade: int = 200) -> str:
        if content is None:
            file = io.BytesIO()
            Image.new("RGB", (200, 100), (shade, 180, 90)).save(file, "PNG")
            content = file.getvalue()
        folder = Path(get_upload_folder()) / f"desk-test-{uuid4().hex}"
        folder.mkdir(parents=True)
        path = folder / name
        path.write_bytes(content)
        made.append(folder)
        return str(path)

    yield put
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)

"""A desk with real store, taxonomy and Analyser over two models that always say the same."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from xray_app import auth
from xray_app.analysis import Analyser
from xray_app.api.app import create_app
from xray_app.detector.base import Detection
from xray_app.services import Services
from xray_app.settings import Settings
from xray_app.store.database import Database
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.types import Role, Run
from xray_app.vlm.base import Answer

PASSWORD = "correct horse battery"
ANSWER = "Items detected: 1 knife (threat), 2 plastic bottles. Security risk: HIGH - knife detected."
_numbers = itertools.count(1)


class FixedVlm:
    """Says the same of every scan."""

    name = "fixed"
    weights_sha256 = "0" * 64

    def answer(self, images: Sequence[Image.Image], instructions: Sequence[str], drafts: object = None) -> list[Answer]:
        return [Answer(ANSWER, finished=True) for _ in images]

    def use_adapter(self, folder: Path | None) -> None:
        pass

    def use_taxonomy(self, taxonomy: Taxonomy) -> None:
        pass


class FixedDetector:
    """Sees one knife in every scan."""

    name = "fixed"
    sha256 = "1" * 64
    trainable = True

    def detect(self, image: Image.Image, threshold: float = 0.05) -> list[Detection]:
        return [Detection("knife", 0.9, (4.0, 5.0, 20.0, 30.0))]


def make_services(data_dir: Path, launched: list[Run] | None = None, **settings: Any) -> Services:
    """A desk in this folder; runs are noted instead of launched."""
    chosen = Settings(_env_file=None, data_dir=data_dir, max_upload_mb=1, **settings)
    taxonomy = load_taxonomy(chosen.taxonomy)
    rules = taxonomy.rules()
    noted = launched if launched is not None else []
    return Services(
        settings=chosen,
        db=Database.open(chosen.sqlalchemy_url, data_dir),
        file_rules=rules,
        analyser=Analyser(FixedVlm(), FixedDetector(), rules, max_queue=chosen.max_queue),
        launch=noted.append,
    )


@pytest.fixture(scope="session")
def launched() -> list[Run]:
    """The runs the desk asked to launch."""
    return []


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory, launched: list[Run]) -> Services:
    services = make_services(tmp_path_factory.mktemp("desk"), launched)
    for role in Role:
        auth.add_user(services.db, role.value, PASSWORD, role)
    auth.add_user(services.db, "second", PASSWORD, Role.ANNOTATOR)
    return services


@pytest.fixture(scope="session")
def client(services: Services) -> Iterator[TestClient]:
    with TestClient(create_app(services), raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.fixture(scope="session")
def as_user(services: Services) -> Callable[[str], dict[str, str]]:
    """Headers that sign a user in; a user is named like the role, and `second` is an annotator too."""
    tokens: dict[str, str] = {}

    def headers(username: str) -> dict[str, str]:
        if username == "anonymous":
            return {}
        if username not in tokens:
            tokens[username] = auth.sign_in(services.db, username, PASSWORD).token
        return {"Authorization": f"Bearer {tokens[username]}"}

    return headers


@pytest.fixture
def analyst(as_user: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return as_user("analyst")


@pytest.fixture
def admin(as_user: Callable[[str], dict[str, str]]) -> dict[str, str]:
    return as_user("admin")


def in_a_loop_of_its_own(work: Coroutine[Any, Any, None]) -> None:
    """Runs it in another thread: Playwright leaves a running loop in this one, once a test has opened a browser."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def png(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> bytes:
    """A picture that no test has sent before."""
    number = next(_numbers)
    image = Image.new(mode, size, "white" if mode != "CMYK" else (0, 0, 0, 0))
    image.putpixel((0, 0), tuple([number % 256, number // 256, 0, 255][: len(image.getbands())]))
    out = io.BytesIO()
    image.save(out, "JPEG" if mode == "CMYK" else "PNG")
    return out.getvalue()


@pytest.fixture
def analysed(client: TestClient, analyst: dict[str, str]) -> dict[str, Any]:
    """A fresh analysis."""
    answer = client.post("/v1/analyze", files={"file": ("bag.png", png())}, headers=analyst)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())

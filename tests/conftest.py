"""What many tests start from: an empty store, the site's taxonomy, an analysis to correct."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import shutil
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from threading import Lock
from uuid import uuid4

import pytest
from PIL import Image
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import create_engine, make_url
from sqlalchemy.schema import CreateSchema, DropSchema

# Before any library looks: a test that would download something fails instead.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
if "PYTEST_XDIST_WORKER" in os.environ:  # threads of several workers would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from xray_app import auth
from xray_app.correction.revision import split_of
from xray_app.scan.appearance import Appearance
from xray_app.store import analyses, bags
from xray_app.store.database import Database
from xray_app.store.tip import Truth
from xray_app.taxonomy import Taxonomy, load_taxonomy
from xray_app.types import (
    Agreement,
    Analysis,
    DetectorFacts,
    ModelFacts,
    Report,
    Risk,
    ScanFacts,
    Timings,
    VlmFacts,
)

MakeAnalysis = Callable[..., Analysis]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Looks for no garbage among what the imports make, neither now nor later: a look through all of it takes half a
    second, and each training asks for several."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first: a worker that begins one when all else is done keeps the others waiting for minutes."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True, scope="session")
def _cheap_passwords() -> None:
    """Hashes for the tests' sign-ins: the same algorithm, at a thousandth of the cost."""
    auth._hasher = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))


@pytest.fixture(autouse=True, scope="session")
def _own_uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Workers in one upload folder would discard what another is about to read: Gradio names it by its content."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _migrated_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new SQLite database begins as a copy of the first one that was migrated: the same, in a tenth of the time."""
    first, lock, migrate = tmp_path_factory.mktemp("migrated") / "first.db", Lock(), Database._migrate

    def migrated(self: Database) -> None:
        file = Path(self.engine.url.database or "")
        new = self.engine.dialect.name == "sqlite" and not (file.is_file() and file.stat().st_size)
        with lock:
            if new and first.is_file():
                shutil.copyfile(first, file)
                return  # it is at the newest revision; alembic would compile all its scripts to see that
            migrate(self)
            if new:
                with closing(sqlite3.connect(file)) as connection:
                    connection.execute("VACUUM INTO ?", (str(first),))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "_migrate", migrated)
        yield


@pytest.fixture
def db(tmp_path: Path, database_url: Callable[[Path], str]) -> Iterator[Database]:
    """An empty store in a folder of its own."""
    data_dir = tmp_path / "data"
    opened = Database.open(database_url(data_dir), data_dir)
    yield opened
    opened.close()


@pytest.fixture
def sides_by_hash_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Corrections are stored as before bags inherited sides, so that one picture may be on both."""
    monkeypatch.setattr(bags, "settle", lambda session, scan: split_of(scan.bag_id))


@pytest.fixture
def database_url() -> Iterator[Callable[[Path], str]]:
    """Gives the URL of an empty database: SQLite in the folder, or a schema of XRAY_TEST_DATABASE_URL's PostgreSQL.

    Another folder is another database. The schemas are dropped afterwards, so databases are closed before.
    """
    server = os.environ.get("XRAY_TEST_DATABASE_URL")
    made: list[str] = []

    def url_for(data_dir: Path) -> str:
        if not server:
            return f"sqlite:///{data_dir / 'xray.db'}"
        made.append(f"test_{uuid4().hex}")
        _on_server(server, CreateSchema(made[-1]))
        url = make_url(server).update_query_dict({"options": f"-csearch_path={made[-1]}"})
        return url.render_as_string(hide_password=False)

    yield url_for
    for schema in made:
        _on_server(str(server), DropSchema(schema, cascade=True))


def _on_server(server: str, statement: CreateSchema | DropSchema) -> None:
    engine = create_engine(server)
    with engine.begin() as connection:
        connection.execute(statement)
    engine.dispose()


@pytest.fixture(scope="session")
def taxonomy() -> Taxonomy:
    """The taxonomy that ships."""
    return load_taxonomy()


@cache
def png(shade: int = 200, width: int = 320, height: int = 240) -> bytes:
    """A small picture; another shade is another scan."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (shade % 256, shade // 256 % 256, 90)).save(file, "PNG")
    return file.getvalue()


def scan_facts(content: bytes, **changes: str | int | None) -> ScanFacts:
    """The facts of a scan of 320 x 240; its bag is its own unless another is named."""
    sha256 = hashlib.sha256(content).hexdigest()
    facts = ScanFacts(id=sha256, sha256=sha256, width=320, height=240, filename="scan.png", bag_id=sha256)
    return facts.model_copy(update=changes)


@pytest.fixture(scope="session")
def make_analysis(taxonomy: Taxonomy) -> MakeAnalysis:
    """Builds an Analysis: one knife with one box `b1` at 10, 20, 110, 90, and two plastic bottles.

    Any field may be given instead; `scan` to say which scan it is of.
    """

    def make(**changes: object) -> Analysis:
        analysis = Analysis(
            id=uuid4().hex,
            created_at=datetime.now(UTC),
            scan=scan_facts(png()),
            report=Report(
                items=(taxonomy.item("knife", 1, 0.9), taxonomy.item("plastic bottle", 2, 0.8)),
                text="Items detected: 1 knife (threat), 2 plastic bottles. Security risk: HIGH - knife detected.",
                complete=True,
            ),
            risk=Risk(level="HIGH", reason="knife", action="SEARCH", policy="airport"),
            boxes=(taxonomy.box("b1", "model", "knife", (10.0, 20.0, 110.0, 90.0), 0.87),),
            agreement=Agreement(both=("knife",), vlm_only=("plastic bottle",), detector_only=()),
            opaque_fraction=0.1,
            models=ModelFacts(vlm=VlmFacts(name="bundled"), detector=DetectorFacts(name="bundled", sha256="d" * 64)),
            taxonomy_sha256=taxonomy.sha256,
            timings_ms=Timings(vlm=50.0, detector=10.0, total=61.0),
        )
        return analysis.model_copy(update=changes)

    return make


def save_analysis(
    db: Database,
    analysis: Analysis,
    content: bytes,
    by: str = "anna",
    media_type: str = "image/png",
    look: Appearance | None = None,
    *,
    blind: bool = False,
    truth: Truth | None = None,
) -> Analysis:
    """Stores one analysis with its scan, as a file of one view is taken in."""
    view = analyses.NewView(analysis, content, media_type, look)
    return analyses.save_views(db, [view], by, blind=blind, truth=truth)[0]


@pytest.fixture
def stored(db: Database, make_analysis: MakeAnalysis) -> MakeAnalysis:
    """As `make_analysis`, and stores it with its scan: `stored(shade=7, bag_id="bag 7")`."""

    def make(shade: int = 200, bag_id: str | None = None, by: str = "anna", **changes: object) -> Analysis:
        content = png(shade)
        facts = scan_facts(content) if bag_id is None else scan_facts(content, bag_id=bag_id)
        analysis = make_analysis(scan=facts, **changes)
        return save_analysis(db, analysis, content, by)

    return make

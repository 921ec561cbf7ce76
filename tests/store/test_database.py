"""Opening: migrations from empty, tables as the models say, clear words where it cannot be done."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from tests.conftest import MakeAnalysis, png, save_analysis, scan_facts
from xray_app.errors import Busy, StorageFailed
from xray_app.store import audit, corrections, database, decisions, outcomes, scans
from xray_app.store.database import ABANDONED_SECONDS, INCOMING, Database
from xray_app.store.tables import Base
from xray_app.taxonomy import Taxonomy
from xray_app.types import CorrectionIn


def _open(data_dir: Path) -> Database:
    return Database.open(f"sqlite:///{data_dir / 'xray.db'}", data_dir)


def test_the_migrated_tables_are_the_models(db: Database) -> None:
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_opening_again_keeps_everything(tmp_path: Path, database_url: Callable[[Path], str]) -> None:
    url = database_url(tmp_path)
    first = Database.open(url, tmp_path / "data")
    audit.add(first, "anna", "tested")
    first.close()
    second = Database.open(url, tmp_path / "data")
    assert [entry.what for entry in audit.newest(second)] == ["tested"]
    second.close()


def test_several_processes_may_open_a_new_folder_at_once(tmp_path: Path, database_url: Callable[[Path], str]) -> None:
    code = (
        "import sys, pathlib\n"
        "from xray_app.store.database import Database\n"
        "Database.open(sys.argv[2], pathlib.Path(sys.argv[1])).close()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data"), database_url(tmp_path / "data")]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0] * 4, errors


def test_the_store_does_without_torch() -> None:
    code = "import sys, xray_app.auth, xray_app.store.corrections as c; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_data_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageFailed, match="XRAY_DATA_DIR"):
        _open(tmp_path / "file" / "data")


def test_a_full_or_read_only_data_folder_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailed, match="No space left"):
        _open(tmp_path / "data")


def test_a_file_that_is_no_database_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "xray.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StorageFailed, match="not a database"):
        _open(tmp_path)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    db = _open(tmp_path)
    with db.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    db.close()
    with pytest.raises(StorageFailed, match="another version"):
        _open(tmp_path)


@pytest.mark.parametrize("url", ["nonsense", "oracle9://somewhere", "mysql+nodriver://u:secret@h/db"])
def test_a_url_that_cannot_be_used_is_said_at_once(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageFailed) as told:
        Database.open(url, tmp_path)
    assert "secret" not in told.value.message


def test_a_full_disk_stores_nothing_and_says_so(tmp_path: Path, make_analysis: MakeAnalysis) -> None:
    db = _open(tmp_path)
    with db.engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    event.listen(db.engine, "begin", lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages}").fetchall())
    stored = 0

    def store_many() -> None:
        nonlocal stored
        for shade in range(500):
            facts = scan_facts(png(shade))
            save_analysis(db, make_analysis(scan=facts), png(shade), "anna")
            stored += 1

    with pytest.raises(StorageFailed, match="full"):
        store_many()
    files = [path for path in (db.data_dir / "scans").rglob("*") if path.is_file()]
    with db.read() as session:
        assert session.execute(text("SELECT count(*) FROM scans")).scalar_one() == stored
    assert len(files) == stored
    db.close()


def test_half_written_files_of_killed_processes_are_cleared_away(tmp_path: Path) -> None:
    incoming = tmp_path / INCOMING
    incoming.mkdir(parents=True)
    for name, age in (("old", ABANDONED_SECONDS + 60), ("young", 5)):
        (incoming / name).write_bytes(b"half")
        then = (incoming / name).stat().st_mtime - age
        os.utime(incoming / name, (then, then))
    _open(tmp_path).close()
    assert [part.name for part in incoming.iterdir()] == ["young"]


def test_a_write_that_fails_leaves_nothing(db: Database) -> None:
    def fail_halfway() -> None:
        with db.write() as session:
            audit.write(session, "anna", "half an act")
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert audit.newest(db) == []


@pytest.mark.parametrize(
    "table",
    [
        "scans",
        "analyses",
        "corrections",
        "correction_reviews",
        "decisions",
        "outcomes",
        "audit_entries",
    ],
)
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET created_at = created_at"])
def test_history_cannot_be_changed(
    db: Database, stored: MakeAnalysis, taxonomy: Taxonomy, table: str, change: str
) -> None:
    analysis = stored()
    correction = corrections.add(db, analysis.id, CorrectionIn(items=(), boxes=()), "anna", taxonomy, True)
    corrections.review(db, correction.id, "accepted", None, "ben")
    decisions.add(db, analysis.id, "SEARCH", 3.5, None, "anna")
    outcomes.add(db, analysis.id, (), None, "anna", taxonomy)
    audit.add(db, "anna", "tested")
    with pytest.raises(DBAPIError, match="append-only"), db.write() as session:
        session.execute(text(change.format(table)))


def test_a_scan_is_not_lost_when_the_same_bytes_fail_elsewhere(db: Database, make_analysis: MakeAnalysis) -> None:
    content = png(5)
    facts = scan_facts(content)
    with pytest.raises(RuntimeError), scans.saving(db, scans.NewScan(facts, content, "image/png")):
        raise RuntimeError("the row that goes with it fails")
    assert not list((db.data_dir / "scans").rglob("*.png"))
    save_analysis(db, make_analysis(scan=facts), content)
    with pytest.raises(RuntimeError), scans.saving(db, scans.NewScan(facts, content, "image/png")):
        raise RuntimeError("again, but the scan was there before")
    assert scans.scan_path(db, facts.id)[0].read_bytes() == content


def test_a_reader_sees_one_state_while_others_write(db: Database) -> None:
    with db.read() as session:
        before = session.execute(text("SELECT count(*) FROM audit_entries")).scalar_one()
        audit.add(db, "anna", "tested")
        assert session.execute(text("SELECT count(*) FROM audit_entries")).scalar_one() == before
    assert len(audit.newest(db)) == before + 1


def test_a_writer_that_waits_too_long_is_told_so(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 1)
    impatient = Database.open(db.engine.url.render_as_string(hide_password=False), db.data_dir)
    with db.write(), pytest.raises(Busy), impatient.write():
        pass
    impatient.close()


def test_what_was_saved_survives_a_kill(db: Database, stored: MakeAnalysis, taxonomy: Taxonomy) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL keeps its own promises")
    analysis = stored()
    code = (
        "import sys, pathlib\n"
        "from xray_app.store import corrections\n"
        "from xray_app.store.database import Database\n"
        "from xray_app.taxonomy import load_taxonomy\n"
        "from xray_app.types import CorrectionIn\n"
        "d = pathlib.Path(sys.argv[1])\n"
        "db = Database.open(f'sqlite:///{d}/xray.db', d)\n"
        "for base in range(10_000):\n"
        "    sent = CorrectionIn(items=(), boxes=(), base_revision=base)\n"
        "    saved = corrections.add(db, sys.argv[2], sent, 'anna', load_taxonomy(), False)\n"
        "    print(saved.id, flush=True)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(db.data_dir), analysis.id], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    told = [writer.stdout.readline().strip() for _ in range(5)]
    writer.kill()
    told += writer.stdout.read().split("\n")[:-1]
    writer.wait()
    kept = [correction.id for correction in corrections.history(db, analysis.id)]
    assert len(told) >= 5
    assert kept[: len(told)] == told
    assert len(kept) - len(told) <= 1  # one may have been stored before it could be told
    correction = CorrectionIn(items=(), boxes=(), base_revision=len(kept))
    corrections.add(db, analysis.id, correction, "ben", taxonomy, False)
    with db.read() as session:
        assert session.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"

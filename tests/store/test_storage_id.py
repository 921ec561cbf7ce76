"""A data folder and its database know each other; a database lost beside its scans is not begun anew."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.conftest import MakeAnalysis, png, save_analysis
from xray_app.errors import BadInput, Conflict, StorageFailed
from xray_app.store import backup, backup_form, storage_id
from xray_app.store import restore as restoring
from xray_app.store.database import Database, only_server


def kept(data_dir: Path, url: str, analysis: MakeAnalysis | None = None) -> str:
    """Opens it, stores a scan if one is given, and tells its name."""
    db = Database.open(url, data_dir)
    if analysis is not None:
        save_analysis(db, analysis(), png())
    with db.read() as session:
        name = str(session.execute(text("SELECT id FROM storage_id")).scalar_one())
    db.close()
    assert name == (data_dir / storage_id.FILE).read_text().strip()
    return name


def forget(db_url: str, data_dir: Path, *places: str) -> None:
    """As if it had been made before there were names, on one side or both."""
    if "database" in places:
        db = Database.open(db_url, data_dir)
        with db.write() as session:
            session.execute(text("DELETE FROM storage_id"))
        db.close()
    if "folder" in places:
        (data_dir / storage_id.FILE).unlink()


@pytest.mark.parametrize("places", [("database", "folder"), ("database",), ("folder",)])
@pytest.mark.parametrize("scans", [True, False])
def test_a_missing_name_is_given_without_a_word(
    tmp_path: Path,
    database_url: Callable[[Path], str],
    make_analysis: MakeAnalysis,
    places: tuple[str, ...],
    scans: bool,
) -> None:
    data_dir = tmp_path / "data"
    url = database_url(data_dir)
    first = kept(data_dir, url, make_analysis if scans else None)
    forget(url, data_dir, *places)
    again = kept(data_dir, url)
    assert (again == first) is (len(places) == 1)
    assert kept(data_dir, url) == again


def test_another_folders_database_is_refused(
    tmp_path: Path, database_url: Callable[[Path], str], make_analysis: MakeAnalysis
) -> None:
    urls = {name: database_url(tmp_path / name) for name in ("a", "b")}
    names = {kept(tmp_path / name, urls[name], make_analysis) for name in urls}
    assert len(names) == 2
    with pytest.raises(StorageFailed, match=r"not that of the database.*XRAY_DATA_DIR"):
        Database.open(urls["a"], tmp_path / "b")
    # An empty folder, as where a volume is not mounted.
    with pytest.raises(StorageFailed, match="not that of the database"):
        Database.open(urls["a"], tmp_path / "empty")
    # A database of before beside the scans of another.
    forget(urls["a"], tmp_path / "a", "database")
    shutil.rmtree(tmp_path / "b" / "scans")
    with pytest.raises(StorageFailed, match="not that of the database"):
        Database.open(urls["a"], tmp_path / "b")


def test_a_new_database_beside_stored_scans_is_refused_and_not_made(
    tmp_path: Path, make_analysis: MakeAnalysis
) -> None:
    data_dir = tmp_path / "data"
    url = f"sqlite:///{data_dir / 'xray.db'}"
    first = kept(data_dir, url, make_analysis)
    backup.take(url, data_dir, tmp_path / "backup")
    (data_dir / "xray.db").rename(tmp_path / "lost.db")
    for _ in range(2):
        with pytest.raises(StorageFailed, match=r"is empty.*xray_app restore"):
            Database.open(url, data_dir)
        assert not (data_dir / "xray.db").exists()
    sqlite3.connect(data_dir / "xray.db").close()
    with pytest.raises(StorageFailed, match="is empty"):
        Database.open(url, data_dir)
    (tmp_path / "lost.db").replace(data_dir / "xray.db")
    assert kept(data_dir, url) == first
    restored = tmp_path / "restored"
    restoring.restore(tmp_path / "backup", f"sqlite:///{restored / 'xray.db'}", restored)
    assert kept(restored, f"sqlite:///{restored / 'xray.db'}") == first


def test_an_empty_database_that_has_tables_is_refused_beside_stored_scans(
    tmp_path: Path, database_url: Callable[[Path], str], make_analysis: MakeAnalysis
) -> None:
    kept(tmp_path / "data", database_url(tmp_path / "data"), make_analysis)
    kept(tmp_path / "other", url := database_url(tmp_path / "other"))
    forget(url, tmp_path / "other", "database")
    with pytest.raises(StorageFailed, match="is empty"):
        Database.open(url, tmp_path / "data")


@pytest.mark.parametrize("written", [b"", b"mine\n", b"\xff\xfe"])
def test_a_name_that_is_none_is_told(tmp_path: Path, database_url: Callable[[Path], str], written: bytes) -> None:
    url = database_url(tmp_path)
    kept(tmp_path, url)
    (tmp_path / storage_id.FILE).write_bytes(written)
    with pytest.raises(StorageFailed, match="storage_id"):
        Database.open(url, tmp_path)


def test_the_backup_of_another_desk_is_not_replaced(tmp_path: Path, make_analysis: MakeAnalysis) -> None:
    urls = {name: f"sqlite:///{tmp_path / name / 'xray.db'}" for name in ("a", "b")}
    names = {name: kept(tmp_path / name, url, make_analysis) for name, url in urls.items()}
    for _ in range(2):
        assert backup.take(urls["a"], tmp_path / "a", tmp_path / "backup").manifest.storage_id == names["a"]
    with pytest.raises(BadInput, match="another desk"):
        backup.take(urls["b"], tmp_path / "b", tmp_path / "backup")
    assert backup_form.read_manifest(tmp_path / "backup").storage_id == names["a"]


def test_one_server_a_folder_which_its_death_frees(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'xray.db'}"
    code = (
        "import sys, pathlib, time\n"
        "from xray_app.store.database import only_server\n"
        "with only_server(sys.argv[1], pathlib.Path(sys.argv[2])):\n"
        "    print('serving', flush=True); time.sleep(600)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        with pytest.raises(Conflict, match=r"Another server.*XRAY_DATA_DIR"), only_server(url, tmp_path):
            pass
        Database.open(url, tmp_path).close()  # other commands go on
        with only_server("postgresql+psycopg://desk@db/desk", tmp_path):
            pass
    finally:
        server.kill()
        server.communicate()
    with only_server(url, tmp_path):
        pass


def test_a_damaged_database_is_told_at_the_start(tmp_path: Path, make_analysis: MakeAnalysis) -> None:
    url = f"sqlite:///{tmp_path / 'xray.db'}"
    kept(tmp_path, url, make_analysis)
    whole = Database.open(url, tmp_path)
    whole.check_whole()
    with whole.read() as session:
        page = session.execute(text("SELECT rootpage FROM sqlite_master WHERE name = 'ix_queue_entries_rare_label'"))
        at = (int(page.scalar_one()) - 1) * 4096
    whole.close()
    with (tmp_path / "xray.db").open("r+b") as file:
        file.seek(at)
        file.write(b"\xaa" * 4096)
    damaged = Database.open(url, tmp_path)
    with pytest.raises(StorageFailed, match=r"damaged.*xray_app restore"):
        damaged.check_whole()
    damaged.close()

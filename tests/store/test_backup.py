"""Backups: whole or none, only what is new is copied, and what is damaged on either side is told by name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MakeAnalysis, png
from xray_app.adapter import Adapter, Gate
from xray_app.errors import BadBackup, BadInput, Conflict, StorageFailed
from xray_app.folder_lock import folder_lock
from xray_app.store import adapters, analyses, audit, backup, backup_form, scans
from xray_app.store import restore as restoring
from xray_app.store.backup_form import sha256_of
from xray_app.store.database import Database
from xray_app.types import RunMetrics

pytestmark = pytest.mark.skipif("os.environ.get('XRAY_TEST_DATABASE_URL')", reason="PostgreSQL takes its own backups")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    return tmp_path / "restored"


def url(data_dir: Path) -> str:
    return f"sqlite:///{data_dir / 'xray.db'}"


def take(db: Database, target: Path) -> backup.Taken:
    return backup.take(url(db.data_dir), db.data_dir, target)


def restore(target: Path, data_dir: Path) -> backup_form.Manifest:
    return restoring.restore(target, url(data_dir), data_dir)


def add_adapter(db: Database, stored: MakeAnalysis) -> Path:
    """An adapter with one file of weights, and its manifest; gives its folder."""
    folder = db.data_dir / "adapters" / "a1"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    sha256 = sha256_of(folder / "adapter_model.safetensors")[0]
    (folder / "manifest.json").write_text(json.dumps({"files": {"adapter_model.safetensors": sha256}}))
    facts = stored(shade=90)
    adapter = Adapter(
        id="a1", kind="vlm-adapter", base="bundled", base_sha256="b" * 64, run_id=None, active=False,
        created_at=facts.created_at, metrics=RunMetrics(), gate=Gate.of([]),
    )  # fmt: skip
    adapters.add(db, adapter, folder)
    return folder


@pytest.fixture
def opened() -> Iterator[list[Database]]:
    """Databases to be closed at the end."""
    found: list[Database] = []
    yield found
    for one in found:
        one.close()


def test_everything_comes_back_as_it_was(
    db: Database, stored: MakeAnalysis, target: Path, restored: Path, opened: list[Database]
) -> None:
    kept = [stored(shade=shade) for shade in range(3)]
    folder = add_adapter(db, stored)
    run = db.data_dir / "runs" / "r1"
    for name in ("log.txt", "snapshot/train.jsonl", "checkpoints/big.bin", "adapter/weights.bin"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(name)
    (db.data_dir / "site.yaml").write_text("classes: ours")
    (db.data_dir / "thumbnails").mkdir()
    (db.data_dir / "thumbnails" / "one.webp").write_bytes(b"drawn again")
    (db.data_dir / "scans" / "incoming").mkdir(exist_ok=True)
    (db.data_dir / "scans" / "incoming" / "x.part").write_bytes(b"half")
    assert take(db, target).manifest.lacking == ()

    restore(target, restored)
    found = Database.open(url(restored), restored)
    opened.append(found)
    for analysis in kept:
        assert analyses.get(found, analysis.id) == analysis
        before, after = (scans.scan_path(one, analysis.scan.id)[0] for one in (db, found))
        assert after.read_bytes() == before.read_bytes()
        assert after.stat().st_mode & 0o777 == 0o600, "what is in somebody's bag is for the desk alone"
    assert adapters.folder(found, "a1").joinpath("adapter_model.safetensors").read_bytes() == b"weights"
    assert (restored / "adapters/a1/manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    files = {path.relative_to(restored).as_posix() for path in restored.rglob("*") if path.is_file()}
    others = {path for path in files if not path.startswith(("scans/", "adapters/", "xray.db"))}
    assert others == {"storage_id", "site.yaml", "runs/r1/log.txt", "runs/r1/snapshot/train.jsonl"}


def test_a_second_backup_copies_what_is_new_and_forgets_what_is_gone(
    db: Database, stored: MakeAnalysis, target: Path, restored: Path, opened: list[Database]
) -> None:
    stored(shade=1)
    assert take(db, target).copied == 2, "the scan, and the folder's name"
    first = {path.name for path in target.glob("content/*/*")}
    new = stored(shade=2)
    second = take(db, target)
    assert (second.copied, len(second.manifest.files)) == (1, 3)
    now = {path.name for path in target.glob("content/*/*")}
    assert len(first - now) == 1, "the first database"
    assert now == {second.manifest.database.sha256, *(file.sha256 for file in second.manifest.files)}
    restore(target, restored)
    opened.append(Database.open(url(restored), restored))
    assert analyses.get(opened[0], new.id) == new


def test_a_backup_that_breaks_off_leaves_the_one_before_whole(
    db: Database, stored: MakeAnalysis, target: Path, restored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(shade=1)
    (db.data_dir / "runs").mkdir()
    (db.data_dir / "runs" / "log.txt").write_text("first")
    take(db, target)
    stored(shade=2)
    (db.data_dir / "runs" / "log.txt").write_text("another")

    def power_cut() -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(backup.os, "sync", power_cut)
        with pytest.raises(StorageFailed, match="No space left"):
            take(db, target)
    manifest = restore(target, restored)
    assert [file.path for file in manifest.files] == [
        f"scans/{before.scan.id[:2]}/{before.scan.id}.png",
        "runs/log.txt",
        "storage_id",
    ]
    assert (restored / "runs" / "log.txt").read_text() == "first"
    assert len(take(db, target).manifest.files) == 4, "and it is simply taken again"


def test_a_first_one_that_breaks_off_is_no_backup(
    db: Database, stored: MakeAnalysis, target: Path, restored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored()

    def killed() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(backup.os, "sync", killed)
        with pytest.raises(KeyboardInterrupt):
            take(db, target)
    with pytest.raises(BadBackup, match=r"no whole backup.*broken off"):
        restore(target, restored)
    assert not restored.exists()
    (target / "content" / "left.part").write_bytes(b"half")
    take(db, target)
    assert not list(target.rglob("*.part"))


@pytest.mark.parametrize("harm", ["missing", "changed", "shorter"])
def test_a_damaged_backup_restores_nothing_and_names_the_file(
    db: Database, stored: MakeAnalysis, target: Path, restored: Path, harm: str
) -> None:
    scan_id = stored().scan.id
    take(db, target)
    held = target / "content" / scan_id[:2] / scan_id
    content = held.read_bytes()
    held.unlink()
    if harm != "missing":
        held.write_bytes(content[:-1] if harm == "shorter" else b"\xff" + content[1:])
    restored.mkdir()
    with pytest.raises(BadBackup, match=f"1 files .*{scan_id}"):
        restore(target, restored)
    assert list(restored.iterdir()) == []
    assert take(db, target).copied == 1, "the next backup puts it right"
    assert restore(target, restored).lacking == ()


def test_a_damaged_database_in_the_backup_is_refused(
    db: Database, stored: MakeAnalysis, target: Path, restored: Path
) -> None:
    stored()
    sha256 = take(db, target).manifest.database.sha256
    held = target / "content" / sha256[:2] / sha256
    held.write_bytes(held.read_bytes()[:-4096])
    with pytest.raises(BadBackup, match=r"xray\.db"):
        restore(target, restored)
    assert list(restored.iterdir()) == []


def test_what_is_lost_in_the_data_folder_is_named_and_the_backups_own_copy_kept(
    db: Database, stored: MakeAnalysis, target: Path, restored: Path
) -> None:
    first, second, third = (stored(shade=shade).scan.id for shade in range(3))
    folder = add_adapter(db, stored)
    scans.scan_path(db, first)[0].unlink()
    damaged = scans.scan_path(db, second)[0]
    damaged.write_bytes(b"\xff" + damaged.read_bytes()[1:])
    (folder / "adapter_model.safetensors").write_bytes(b"others!")
    lacking = take(db, target).manifest.lacking
    assert [line.split(":")[0] for line in lacking] == [*sorted([f"scan {first}", f"scan {second}"]), "adapter a1"]
    assert {word for line in lacking for word in ("missing", "damaged") if word in line} == {"missing", "damaged"}

    scans.scan_path(db, third)[0].unlink()
    lost = next(line for line in take(db, target).manifest.lacking if third in line)
    assert "own copy" in lost
    manifest = restore(target, restored)
    assert (restored / scans.file_name(third, "image/png")).read_bytes() == png(2)
    assert not (restored / scans.file_name(second, "image/png")).exists()
    assert len(manifest.lacking) == 4


def test_only_an_empty_folder_is_restored_into(
    db: Database, stored: MakeAnalysis, target: Path, restored: Path, tmp_path: Path
) -> None:
    stored()
    take(db, target)
    restored.mkdir()
    (restored / "mine.txt").write_text("keep me")
    with pytest.raises(BadInput, match=r"not empty.*XRAY_DATA_DIR"):
        restore(target, restored)
    assert (restored / "mine.txt").read_text() == "keep me"
    elsewhere = tmp_path / "elsewhere.db"
    elsewhere.write_text("somebody's")
    with pytest.raises(BadInput, match="XRAY_DATABASE_URL"):
        restoring.restore(target, f"sqlite:///{elsewhere}", tmp_path / "new")
    assert elsewhere.read_text() == "somebody's"


def test_where_no_backup_can_go(db: Database, tmp_path: Path, target: Path) -> None:
    for place in (db.data_dir / "backup", db.data_dir, db.data_dir.parent):
        with pytest.raises(BadInput, match="beside the data folder"):
            take(db, place)
    strange = tmp_path / "photos"
    strange.mkdir()
    (strange / "holiday.jpg").touch()
    with pytest.raises(BadInput, match=r"holiday\.jpg"):
        take(db, strange)
    with pytest.raises(BadInput, match="not a folder"):
        take(db, strange / "holiday.jpg")
    with folder_lock(target, backup.LOCK), pytest.raises(Conflict, match="at work"):
        take(db, target)
    with pytest.raises(BadInput, match="no database"):
        backup.take(url(tmp_path / "none"), tmp_path / "none", target)
    with pytest.raises(BadInput, match=r"pg_dump.*pg_restore"):
        backup.take("postgresql+psycopg://desk@db/desk", db.data_dir, target)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"form": 2}, "newer version"),
        ({"form": "one"}, "cannot be read"),
        ({"files": [{"path": "../outside", "sha256": "a" * 64, "size": 1}]}, "cannot be read"),
        ({"files": [{"path": "/etc/passwd", "sha256": "a" * 64, "size": 1}]}, "cannot be read"),
        ({"files": [{"path": "scans/x", "sha256": "../../x", "size": 1}]}, "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_manifest_that_is_none_of_ours(
    db: Database, target: Path, restored: Path, change: dict[str, object] | None, words: str
) -> None:
    take(db, target)
    manifest = target / "manifest.json"
    written = json.loads(manifest.read_text())
    manifest.write_text("[" if change is None else json.dumps(written | change))
    with pytest.raises(BadBackup, match=words):
        restore(target, restored)
    assert not restored.exists()


def test_a_backup_is_one_state_while_somebody_writes(
    db: Database, stored: MakeAnalysis, target: Path, restored: Path, opened: list[Database]
) -> None:
    stored()
    with db.write() as session:
        audit.write(session, "anna", "not committed yet")
        session.flush()
        take(db, target)  # does not wait for the writer
    restore(target, restored)
    opened.append(Database.open(url(restored), restored))
    assert "not committed yet" not in [entry.what for entry in audit.newest(opened[0])]


def test_a_damaged_database_is_not_backed_up(db: Database, stored: MakeAnalysis, target: Path) -> None:
    for shade in range(40):
        stored(shade=shade)
    db.close()
    path = db.data_dir / "xray.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    content[8192 : len(content) // 2] = b"\xaa" * (len(content) // 2 - 8192)
    path.write_bytes(content)
    with pytest.raises(StorageFailed, match=r"damaged|cannot be copied"):
        take(db, target)
    assert not (target / "manifest.json").exists()

"""Backups of a data folder, taken while the desk works.

A backup is a folder. `content` holds each file once, named by its SHA-256; `manifest.json` says which file of the data
folder has which content. The manifest is written last and replaced whole, so that a backup that was broken off is never
taken for a whole one, and one before it stays whole. A later backup into the same folder copies only what is new.

The database is copied first. What its rows speak of was on the disk before the rows were, so the files copied after it
are all there.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from xray_app.atomic_write import atomic_write
from xray_app.errors import BadInput, Conflict, StorageFailed
from xray_app.folder_lock import folder_lock
from xray_app.store import storage_id
from xray_app.store.backup_form import (
    CONTENT,
    FORM,
    LOCK,
    MANIFEST,
    KeptFile,
    Manifest,
    content_path,
    mode_of,
    read_manifest,
    sha256_of,
    sqlite_file,
)
from xray_app.store.database import QUICK_CHECK, refuse_damaged
from xray_app.store.scans import file_name

BLOCK = 1024 * 1024
MADE_AGAIN = ("thumbnails", "holdout")
"""Folders of what is drawn or simulated anew where it is missing."""
SCRATCH = ("replay", "checkpoints", "adapter", "detector", "candidate")
"""Folders of a run that nothing goes on from once it has ended."""


@dataclass(frozen=True)
class Taken:
    """A backup that is whole.

    Attributes:
        manifest: what it holds.
        copied: how many files were copied this time; the others were there already.
    """

    manifest: Manifest
    copied: int


def take(url: str, data_dir: Path, target: Path) -> Taken:
    """Takes a backup; the desk may be at work meanwhile, and is not kept waiting.

    Args:
        url: of the database.
        data_dir: the data folder.
        target: the backup's folder: a new or empty one, or that of an earlier backup, which this one replaces.

    Raises:
        BadInput: the database is not SQLite's, there is none, or the target cannot be one.
        Conflict: another backup into this folder is at work.
        StorageFailed: the disk is full, or something cannot be read or written.
    """
    database = sqlite_file(url, data_dir)
    if not database.is_file():
        raise BadInput(f"There is no database {database}, so there is nothing to back up. Set XRAY_DATA_DIR.")
    _check_target(target.resolve(), data_dir.resolve())
    try:
        with folder_lock(target, LOCK) as free:
            if not free:
                raise Conflict(f"Another backup into {target} is at work. Wait for its end.")
            _refuse_anothers(target, data_dir)
            return _Backup(database, data_dir.resolve(), target).take()
    except OSError as error:
        raise StorageFailed(f"The backup was not taken: {error}. An earlier one in {target} is as it was.") from error
    except sqlite3.Error as error:
        raise StorageFailed(f"The database {database} cannot be copied: {error}.") from error


def _check_target(target: Path, data_dir: Path) -> None:
    if target.is_relative_to(data_dir) or data_dir.is_relative_to(target):
        raise BadInput(f"A backup lies beside the data folder {data_dir}, not in it or around it. Name another folder.")
    if target.exists() and not target.is_dir():
        raise BadInput(f"{target} is not a folder.")
    strange = [one.name for one in target.iterdir() if not _is_ours(one.name)] if target.is_dir() else []
    if strange:
        raise BadInput(f"{target} holds other things ({strange[0]}), so no backup is put there. Name another folder.")


def _refuse_anothers(target: Path, data_dir: Path) -> None:
    """Refuses (BadInput) to replace the backup of another desk."""
    ours = storage_id.read(data_dir)
    theirs = read_manifest(target).storage_id if (target / MANIFEST).exists() else None
    if ours and theirs and ours != theirs:
        raise BadInput(f"{target} holds the backup of another desk, which is not replaced. Name another folder.")


def _is_ours(name: str) -> bool:
    return name in (MANIFEST, CONTENT, LOCK) or name.endswith(".part")


@dataclass
class _Backup:
    """One backup being taken."""

    database: Path
    data_dir: Path
    target: Path
    files: list[KeptFile] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    copied: int = 0

    def take(self) -> Taken:
        for part in (*self.target.glob("*.part"), *(self.target / CONTENT).glob("*.part")):
            part.unlink()  # of one that was broken off
        taken_at = datetime.now(UTC)
        database = self._copy_database()
        with closing(sqlite3.connect(self.target / CONTENT / database.sha256[:2] / database.sha256)) as copy:
            scans = copy.execute("SELECT id, media_type FROM scans ORDER BY id").fetchall()
            adapters = copy.execute("SELECT id, folder FROM adapters ORDER BY id").fetchall()
        for scan_id, media_type in scans:
            self._keep(file_name(scan_id, media_type), scan_id, f"scan {scan_id}")
        for adapter_id, folder in adapters:
            self._keep_adapter(adapter_id, folder)
        for path in _others(self.data_dir, self.database):
            self._keep_as_it_is(path)
        manifest = Manifest(
            form=FORM,
            taken_at=taken_at,
            storage_id=storage_id.read(self.data_dir),
            database=database,
            files=tuple(self.files),
            lacking=tuple(self.lacking),
        )
        os.sync()  # all content reaches the disk before the manifest that speaks of it
        with atomic_write(self.target / MANIFEST) as part:
            part.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
        self._remove_unnamed(manifest)
        return Taken(manifest, self.copied)

    def _copy_database(self) -> KeptFile:
        """SQLite's online backup: one state of the database, while others write."""
        part = self._part()
        with (
            closing(sqlite3.connect(f"{self.database.resolve().as_uri()}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(part)) as copy,
        ):
            live.execute("PRAGMA busy_timeout = 30000")
            live.backup(copy)  # all pages in one step: with a write-ahead log nobody waits for it
            copy.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
            refuse_damaged(copy.execute(QUICK_CHECK).fetchone()[0], str(self.database))
        part.chmod(0o600)
        return self._into_content(part, self.database.name, *sha256_of(part))

    def _keep(self, path: str, sha256: str, name: str) -> None:
        """A file whose content is known: copied unless the backup has it already, and has it undamaged."""
        source, held = self.data_dir / path, self._content(sha256)
        if held.is_file() and sha256_of(held)[0] == sha256:
            if not source.is_file() or source.stat().st_size != held.stat().st_size:
                self.lacking.append(f"{name}: {path} is missing or damaged; the backup's own copy of it is kept")
            self.files.append(KeptFile(path=path, sha256=sha256, size=held.stat().st_size, mode=mode_of(held)))
            return
        try:
            copied = self._copy(source)
        except FileNotFoundError:
            self.lacking.append(f"{name}: {path} is missing")
            return
        if copied[1] != sha256:
            copied[0].unlink()
            self.lacking.append(f"{name}: {path} is damaged, it is not the file it was")
            return
        self.files.append(self._into_content(copied[0], path, *copied[1:]))
        self.copied += 1

    def _keep_adapter(self, adapter_id: str, folder: str) -> None:
        """The files that its manifest names, by their hashes, and the manifest itself."""
        name = f"adapter {adapter_id}"
        if Path(folder).is_absolute():
            self.lacking.append(f"{name}: it lies outside the data folder, in {folder}; copy it yourself")
            return
        try:
            written = json.loads((self.data_dir / folder / "manifest.json").read_bytes())
            hashes: dict[str, Any] = written["files"]
            for file, sha256 in sorted(hashes.items()):
                self._keep(KeptFile(path=f"{folder}/{file}", sha256=sha256, size=0).path, sha256, name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.lacking.append(f"{name}: its manifest.json cannot be read ({str(error).splitlines()[0]})")
            return
        self._keep_as_it_is(self.data_dir / folder / "manifest.json")

    def _keep_as_it_is(self, path: Path) -> None:
        """A file that nobody has said the hash of; one that goes meanwhile is none."""
        try:
            part, sha256, size = self._copy(path)
        except FileNotFoundError:
            return
        self.copied += not self._content(sha256).is_file()
        self.files.append(self._into_content(part, path.relative_to(self.data_dir).as_posix(), sha256, size))

    def _copy(self, source: Path) -> tuple[Path, str, int]:
        """A copy of the file in the backup's folder, with the hash and the size of what was copied."""
        with source.open("rb") as reading:
            part = self._part()
            digest, size = hashlib.sha256(), 0
            with part.open("wb") as writing:
                while block := reading.read(BLOCK):
                    digest.update(block)
                    size += writing.write(block)
            part.chmod(os.fstat(reading.fileno()).st_mode & 0o777)
        return part, digest.hexdigest(), size

    def _into_content(self, part: Path, path: str, sha256: str, size: int) -> KeptFile:
        held = self._content(sha256)
        held.parent.mkdir(parents=True, exist_ok=True)
        part.replace(held)
        return KeptFile(path=path, sha256=sha256, size=size, mode=mode_of(held))

    def _content(self, sha256: str) -> Path:
        return content_path(self.target, sha256)

    def _part(self) -> Path:
        (self.target / CONTENT).mkdir(exist_ok=True)
        return self.target / CONTENT / f"{uuid4().hex}.part"

    def _remove_unnamed(self, manifest: Manifest) -> None:
        named = {file.sha256 for file in (manifest.database, *manifest.files)}
        for path in (self.target / CONTENT).glob("*/*"):
            if path.name not in named:
                path.unlink()


def _others(data_dir: Path, database: Path) -> Iterator[Path]:
    """What else there is to keep: no scans and adapters, which the database names, and nothing made again."""
    own = {database.resolve().with_name(database.name + end) for end in ("", "-wal", "-shm", "-journal")}
    for top in sorted(data_dir.iterdir()):
        if top.name in ("scans", "adapters", *MADE_AGAIN):
            continue
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            parts = path.relative_to(data_dir).parts
            scratch = parts[0] == "runs" and len(parts) > 3 and parts[2] in SCRATCH
            hidden = any(part.startswith(".") for part in parts)  # locks and probes
            if path.is_file() and path not in own and not scratch and not hidden and path.suffix != ".part":
                yield path

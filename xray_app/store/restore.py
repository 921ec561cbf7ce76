"""Restoring a backup: into an empty data folder alone, all of it or nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from uuid import uuid4

from xray_app.errors import BadBackup, BadInput, StorageFailed
from xray_app.store.backup_form import KeptFile, Manifest, content_path, read_manifest, sha256_of, sqlite_file

MOST_NAMED = 10


def restore(source: Path, url: str, data_dir: Path) -> Manifest:
    """Brings a backup back, into an empty data folder; where anything is wrong the folder is empty afterwards.

    Args:
        source: the backup's folder.
        url: of the database to be made.
        data_dir: made if it is not there.

    Raises:
        BadInput: the data folder is not empty, or the database is there or not SQLite's.
        BadBackup: the source is no whole backup, or a file of it is missing or damaged.
        StorageFailed: the disk is full, or something cannot be read or written.
    """
    manifest = read_manifest(source)
    database = sqlite_file(url, data_dir)
    try:
        if data_dir.is_dir() and any(data_dir.iterdir()):
            raise BadInput(
                f"The data folder {data_dir} is not empty. A backup is restored into an empty one alone: "
                "empty it or move it away, or set XRAY_DATA_DIR to another folder."
            )
        if database.exists():
            raise BadInput(f"There is a database {database} already. Move it away, or set XRAY_DATABASE_URL.")
        try:
            _bring_back(manifest, source, data_dir, database)
        except BaseException:
            _empty(data_dir)
            raise
    except OSError as error:
        raise StorageFailed(f"The backup was not restored: {error}. Nothing of it was left in {data_dir}.") from error
    return manifest


def _bring_back(manifest: Manifest, source: Path, data_dir: Path, database: Path) -> None:
    """Copies all files, and the database last: a data folder without one is not taken for a whole one.

    Raises:
        BadBackup: files are missing or damaged; it names them.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    database.parent.mkdir(parents=True, exist_ok=True)
    wrong = [
        file.path
        for file in manifest.files
        if not _copy_back(content_path(source, file.sha256), data_dir / file.path, file)
    ]
    part = database.with_name(f"{database.name}.{uuid4().hex[:8]}.part")
    try:
        if not _copy_back(content_path(source, manifest.database.sha256), part, manifest.database):
            wrong.append(manifest.database.path)
        if wrong:
            more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
            raise BadBackup(
                f"{len(wrong)} files of the backup {source} are missing or damaged: "
                f"{', '.join(wrong[:MOST_NAMED])}{more}. Nothing was restored. Take another backup."
            )
        os.sync()
        part.replace(database)
    finally:
        part.unlink(missing_ok=True)


def _copy_back(held: Path, path: Path, file: KeptFile) -> bool:
    """Copies a file out of the backup; False where it is missing or not what it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(held, path)
    except FileNotFoundError:
        return False
    path.chmod(file.mode)
    return sha256_of(path) == (file.sha256, file.size)


def _empty(folder: Path) -> None:
    for one in folder.iterdir() if folder.is_dir() else ():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one, ignore_errors=True)
        else:
            one.unlink(missing_ok=True)

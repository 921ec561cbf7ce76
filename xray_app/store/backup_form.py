"""The form of a backup on disk: what its manifest says, and where each content lies."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path, PurePosixPath

from pydantic import Field, ValidationError, field_validator
from sqlalchemy import make_url

from xray_app.errors import BadBackup, BadInput
from xray_app.types import Value

FORM = 1
MANIFEST, CONTENT, LOCK = "manifest.json", "content", ".lock"
WITH_POSTGRESQL = (
    "The database is PostgreSQL's, which takes its own backups. First `pg_dump --format=custom --file=desk.dump URL`, "
    "then copy the data folder {data_dir}: in this order every scan that the dump speaks of is in the copy. "
    "`pg_restore` and the copied folder bring both back."
)


class KeptFile(Value):
    """A file of the data folder, as it was when the backup was taken.

    Attributes:
        path: below the data folder, with slashes.
        sha256: of its content.
        size: in bytes.
        mode: its permissions, as in `chmod`.
    """

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    mode: int = Field(default=0o600, ge=0, le=0o777)

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\0" in path:
            raise ValueError("is no path below a data folder")
        return path


class Manifest(Value):
    """What a backup holds.

    Attributes:
        form: of this manifest and its folder.
        taken_at: when the database was copied; what was acknowledged before is in it.
        storage_id: of the data folder; None for one that no desk of today has opened.
        database: the copied database.
        files: everything else.
        lacking: what was missing or damaged in the data folder, in words.
    """

    form: int
    taken_at: datetime
    storage_id: str | None = None
    database: KeptFile
    files: tuple[KeptFile, ...]
    lacking: tuple[str, ...] = ()


def read_manifest(folder: Path) -> Manifest:
    """What a backup holds.

    Raises:
        BadBackup: there is no whole backup, or it was written by a newer version.
    """
    try:
        written = json.loads((folder / MANIFEST).read_bytes())
        form = written.get("form") if isinstance(written, dict) else None
        if isinstance(form, int) and form > FORM:
            raise BadBackup(f"The backup {folder} was taken by a newer version of this program. Restore it with that.")
        return Manifest.model_validate(written)
    except FileNotFoundError as error:
        raise BadBackup(
            f"{folder} holds no whole backup: there is no {MANIFEST}. One that was broken off has none; take it again."
        ) from error
    except (OSError, ValueError, ValidationError) as error:
        raise BadBackup(f"{folder / MANIFEST} cannot be read: {str(error).splitlines()[0]}.") from error


def sqlite_file(url: str, data_dir: Path) -> Path:
    """The file of an SQLite database.

    Raises:
        BadInput: it is PostgreSQL's, with what to do, or has no file.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise BadInput(WITH_POSTGRESQL.format(data_dir=data_dir))
    if not parsed.database or parsed.database == ":memory:":
        raise BadInput("The database lives in memory alone; it has no backup.")
    return Path(parsed.database)


def content_path(folder: Path, sha256: str) -> Path:
    """Where a backup holds a content."""
    return folder / CONTENT / sha256[:2] / sha256


def mode_of(path: Path) -> int:
    """A file's permissions."""
    return path.stat().st_mode & 0o777


def sha256_of(path: Path) -> tuple[str, int]:
    """Hash and size of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size

"""The bytes of scans: one file each, named by its SHA-256, and a row that says it is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from xray_app.atomic_write import atomic_write
from xray_app.errors import BadInput, NotFound, StorageFailed
from xray_app.store.database import INCOMING, Database
from xray_app.store.tables import ScanRow
from xray_app.types import ScanFacts

MEND = "Upload the same picture again, or put the file back from a backup."
SHA256 = re.compile(r"[0-9a-f]{64}")
EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tif",
    "application/dicom": "dcm",
}


@dataclass(frozen=True)
class NewScan:
    """The bytes of a scan, to be kept."""

    facts: ScanFacts
    content: bytes
    media_type: str


@contextmanager
def saving(db: Database, *new: NewScan) -> Iterator[Session]:
    """A write transaction in which scans are stored, for the rows that go with them; all or none.

    Raises:
        StorageFailed: disk full or read-only; no file and no row is left behind.
    """
    paths = {}
    for scan in new:
        if not SHA256.fullmatch(scan.facts.sha256) or scan.facts.id != scan.facts.sha256:
            raise BadInput("A scan's id is the SHA-256 of its bytes.")
        paths[scan.facts.id] = _path(db, scan.facts.sha256, scan.media_type)
    written = []
    try:
        for scan in new:  # before the transaction: nobody waits for our disk
            if _write_file(db, paths[scan.facts.id], scan.content):
                written.append(scan.facts.id)
        with db.write() as session:
            for scan in new:
                _add_row(session, scan)
                # Another upload of the same bytes may have failed meanwhile and taken its file with it.
                _write_file(db, paths[scan.facts.id], scan.content)
            yield session
    except BaseException:
        for scan_id in written:
            _remove_unless_stored(db, scan_id, paths[scan_id])
        raise


def _add_row(session: Session, scan: NewScan) -> None:
    if session.get(ScanRow, scan.facts.id) is not None:
        return
    session.add(
        ScanRow(
            id=scan.facts.id,
            media_type=scan.media_type,
            width=scan.facts.width,
            height=scan.facts.height,
            size=len(scan.content),
            created_at=datetime.now(UTC),
        )
    )
    session.flush()


def scan_path(db: Database, scan_id: str) -> tuple[Path, str]:
    """The file of a scan and its media type.

    Raises:
        NotFound: no scan has this id, or its file is gone from the data folder or not as long as it was.
    """
    with db.read() as session:
        row = session.get(ScanRow, scan_id)
    if row is None:
        raise NotFound("There is no scan with this id.")
    path = _path(db, row.id, row.media_type)
    if not path.is_file():
        raise NotFound(f"The file of this scan is missing from the data folder. {MEND}")
    if path.stat().st_size != row.size:
        raise NotFound(f"The file of this scan is damaged: {path.stat().st_size} of {row.size} bytes are left. {MEND}")
    return path, row.media_type


def file_name(sha256: str, media_type: str) -> str:
    """Where a scan's file lies below the data folder, with slashes."""
    return f"scans/{sha256[:2]}/{sha256}.{EXTENSIONS.get(media_type, 'bin')}"


def _path(db: Database, sha256: str, media_type: str) -> Path:
    return db.data_dir / file_name(sha256, media_type)


def _write_file(db: Database, path: Path, content: bytes) -> bool:
    """Whether the file is new. It appears whole or not at all."""
    try:
        if path.is_file() and path.stat().st_size == len(content):
            return False
        incoming = db.data_dir / INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path, incoming) as part:
            part.touch(mode=0o600)  # what is in somebody's bag is for the desk alone
            part.write_bytes(content)
    except OSError as error:
        raise StorageFailed(
            f"The scan could not be stored in {db.data_dir}: {error.strerror or error}. "
            "Make room or give this user write access, and try again."
        ) from error
    return True


def _remove_unless_stored(db: Database, scan_id: str, path: Path) -> None:
    # Under the write lock, so that no other upload of the same bytes is between its look and its commit.
    try:
        with db.write() as session:
            if session.get(ScanRow, scan_id) is None:
                path.unlink(missing_ok=True)
    except Exception:  # noqa: BLE001  # the first error is the one to tell; a file without a row harms nobody
        path.unlink(missing_ok=True)

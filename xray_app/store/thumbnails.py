"""Thumbnails: one small file a scan, beside the scans. They can be made again, so nothing is lost with them."""

from __future__ import annotations

from pathlib import Path

from xray_app.atomic_write import atomic_write
from xray_app.errors import NotFound, StorageFailed
from xray_app.scan.appearance import Appearance
from xray_app.store import facts
from xray_app.store.database import INCOMING, Database
from xray_app.store.fact_tables import AppearanceRow
from xray_app.store.scans import SHA256
from xray_app.store.tables import ScanRow


def find(db: Database, scan_id: str) -> Path | None:
    """The thumbnail's file, None where none was made yet.

    Raises:
        NotFound: no scan has this id.
    """
    with db.read() as session:
        if not SHA256.fullmatch(scan_id) or session.get(ScanRow, scan_id) is None:
            raise NotFound("There is no scan with this id.")
    path = _path(db, scan_id)
    return path if path.is_file() else None


def keep(db: Database, scan_id: str, appearance: Appearance) -> Path:
    """Keeps a stored scan's appearance: the thumbnail as a file, the figures for the insights.

    Raises:
        StorageFailed: disk full or read-only.
    """
    path = write(db, scan_id, appearance)
    with db.read() as session:
        row = session.get(AppearanceRow, scan_id)
        known = row is not None and row.perceptual_hash is not None
    if not known:
        with db.write() as session:
            facts.add_appearance(session, scan_id, appearance)
    return path


def write(db: Database, scan_id: str, appearance: Appearance) -> Path:
    """The file alone. It appears whole or not at all.

    Raises:
        StorageFailed: disk full or read-only.
    """
    path = _path(db, scan_id)
    try:
        incoming = db.data_dir / INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, incoming) as part:
            part.touch(mode=0o600)  # as the scan itself
            part.write_bytes(appearance.thumbnail)
    except OSError as error:
        raise StorageFailed(
            f"A thumbnail could not be stored in {db.data_dir}: {error.strerror or error}. "
            "Make room or give this user write access, and try again."
        ) from error
    return path


def _path(db: Database, scan_id: str) -> Path:
    return db.data_dir / "thumbnails" / scan_id[:2] / f"{scan_id}.webp"

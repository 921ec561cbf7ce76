"""One name for a data folder and its database, kept in both, so that neither is used with another's.

A folder and database of before this name was kept get one without a word.
"""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from xray_app.atomic_write import atomic_write
from xray_app.errors import StorageFailed
from xray_app.store.tables import Base, Id, ScanRow

FILE = "storage_id"
LOOKED_AT = 20
"""Scans of which one file at least must be there, before a folder is taken for the database's own."""


class StorageIdRow(Base):
    """One row: the name that the data folder has too."""

    __tablename__ = "storage_id"

    id: Mapped[str] = mapped_column(Id, primary_key=True)


def read(data_dir: Path) -> str | None:
    """The name a data folder has, None where it has none yet.

    Raises:
        StorageFailed: the file is there and holds something else.
    """
    try:
        written = (data_dir / FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeError) as error:
        raise StorageFailed(f"{data_dir / FILE} cannot be read: {error}.") from error
    if not re.fullmatch(r"[0-9a-f]{32}", written):
        raise StorageFailed(f"{data_dir / FILE} holds no name of a data folder. Put it back from a backup.")
    return written


def refuse_lost(data_dir: Path, database: str) -> None:
    """Refuses to begin a new database beside the scans of one that is gone.

    Raises:
        StorageFailed: there are stored scans in the folder; the message says what to do.
    """
    if any((data_dir / "scans").glob("[0-9a-f][0-9a-f]/*")):
        raise StorageFailed(
            f"The database {database} is empty, but the data folder {data_dir} holds stored scans. Put the database "
            "back, or restore a backup: XRAY_DATA_DIR=NEW python -m xray_app restore SOURCE. If XRAY_DATA_DIR or "
            "XRAY_DATABASE_URL names the wrong place, correct it; to begin anew, move the folder away."
        )


def agreed(session: Session, data_dir: Path) -> bool:
    """Whether folder and database have the same name.

    Raises:
        StorageFailed: the folder's cannot be read.
    """
    in_database = session.scalar(select(StorageIdRow.id))
    return in_database is not None and in_database == read(data_dir)


def agree(session: Session, data_dir: Path, database: str) -> None:
    """Makes sure that folder and database have the same name; gives them one where they have none.

    Args:
        session: that may write.
        data_dir: the data folder.
        database: as it is shown to people.

    Raises:
        StorageFailed: they belong to others, or the database is empty beside stored scans.
    """
    if agreed(session, data_dir):
        return
    in_database, in_folder = session.scalar(select(StorageIdRow.id)), read(data_dir)
    newest = session.execute(
        select(ScanRow.id).order_by(ScanRow.created_at.desc(), ScanRow.id).limit(LOOKED_AT)
    ).scalars()
    known = [any((data_dir / "scans" / scan_id[:2]).glob(f"{scan_id}.*")) for scan_id in newest]
    if in_database is None and not known:
        refuse_lost(data_dir, database)
    others = in_database is not None and in_folder is not None
    # With a name on one side alone it is the scans that tell whether the two belong together.
    if others or ((in_database or in_folder) and known and not any(known)):
        raise StorageFailed(
            f"The data folder {data_dir} is not that of the database {database} (storage_id {in_folder or 'none'} and "
            f"{in_database or 'none'}). Correct XRAY_DATA_DIR or XRAY_DATABASE_URL, so that each finds its own."
        )
    name = in_database or in_folder or uuid4().hex
    if in_folder is None:
        with atomic_write(data_dir / FILE) as part:
            part.write_text(f"{name}\n", encoding="utf-8")
    if in_database is None:
        session.add(StorageIdRow(id=name))

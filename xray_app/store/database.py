"""The open database and the data folder beside it."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from xray_app.errors import BadInput, Busy, Conflict, DeskError, StorageFailed
from xray_app.folder_lock import folder_lock
from xray_app.store import storage_id

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 30
# Any constant does; it names the lock that makes PostgreSQL's writers queue as SQLite's do.
WRITER_LOCK = 0x58524159
LOCK_NOT_AVAILABLE, DISK_FULL = "55P03", "53100"  # PostgreSQL's names for them
# Where a scan's file lies until it is whole, below the data folder.
INCOMING = Path("scans") / "incoming"
ABANDONED_SECONDS = 3600
SERVER_LOCK = ".server.lock"
QUICK_CHECK = "PRAGMA quick_check(1)"
"""Looks for damage in every page, and names the first; "ok" where there is none."""


class Database:
    """One desk's database and data folder; open it with `Database.open`, use it from any thread.

    Writers go one at a time, on SQLite (`BEGIN IMMEDIATE`) as on PostgreSQL (an advisory lock), so
    what a write transaction has read stays true until it commits.

    Attributes:
        engine: for reads; `write()` uses the same connections with another kind of BEGIN.
        data_dir: where scans, runs and adapters lie.
    """

    def __init__(self, engine: Engine, data_dir: Path) -> None:
        self.engine = engine
        self.data_dir = data_dir
        self._writer = engine.execution_options(xray_write=True)

    @classmethod
    def open(cls, url: str, data_dir: Path) -> Self:
        """Create what is missing and bring the tables up to date.

        Args:
            url: an SQLAlchemy URL.
            data_dir: created if it is not there.

        Raises:
            StorageFailed: the folder or the database cannot be written or reached, was written by a newer
                version, or they are not each other's; the message says what to do.
        """
        _prepare_folder(data_dir)
        try:
            engine = _make_engine(url)
        except OSError as error:
            raise StorageFailed(
                f"The folder of the database cannot be made: {error}. Set XRAY_DATABASE_URL to another place."
            ) from error
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise StorageFailed(
                f"XRAY_DATABASE_URL cannot be used: {error}. "
                "It is an SQLAlchemy URL, and its driver must be installed (psycopg for PostgreSQL)."
            ) from error
        db = cls(engine, data_dir.resolve())
        try:
            if engine.dialect.name == "sqlite" and not _exists(engine):
                storage_id.refuse_lost(db.data_dir, _shown(engine))
            db._migrate()
            with db.read() as session:
                agreed = storage_id.agreed(session, db.data_dir)
            if not agreed:
                with db.write() as session:
                    storage_id.agree(session, db.data_dir, _shown(engine))
        except BaseException:
            engine.dispose()
            raise
        return db

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()

    def check_whole(self) -> None:
        """Looks through the pages of an SQLite database; PostgreSQL looks after its own.

        Raises:
            StorageFailed: it is damaged; the message says what to do.
        """
        if self.engine.dialect.name == "sqlite":
            with self._reporting_failures(), self.engine.connect() as connection:
                said = connection.exec_driver_sql(QUICK_CHECK).scalar_one()
            refuse_damaged(said, _shown(self.engine))

    def check_answers(self) -> None:
        """Asks it for next to nothing.

        Raises:
            StorageFailed: it does not answer.
        """
        with self._reporting_failures(), self.engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one consistent state and writes nothing."""
        with self._reporting_failures(), Session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that holds the write lock; commits at the end, rolls back on any error.

        Raises:
            StorageFailed: disk full, or the database is read-only or unreachable.
            Busy: the lock was not to be had within 30 seconds.
        """
        with self._reporting_failures(), Session(self._writer, expire_on_commit=False) as session:
            session.connection()  # takes the lock now, before anything is read
            yield session
            session.commit()

    @contextmanager
    def _reporting_failures(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            shown = _error_for_people(error, self.engine, self.data_dir)
            if shown is None:
                raise
            raise shown from error
        except (UnicodeEncodeError, OverflowError) as error:  # half a character, or a number past 64 bits
            raise BadInput("A value is too long or holds a character that cannot be stored.") from error

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        head = ScriptDirectory.from_config(config).get_current_head()
        with self._reporting_failures():
            with self.engine.connect() as connection:
                if MigrationContext.configure(connection).get_current_revision() == head:
                    return
            # One transaction under the write lock: a second process that starts at the same moment waits,
            # and then finds nothing to do; a migration that fails leaves nothing half done.
            with self._writer.begin() as connection:
                config.attributes["connection"] = connection
                try:
                    command.upgrade(config, "head")
                except CommandError as error:
                    raise StorageFailed(
                        f"The database {_shown(self.engine)} was written by another version of this program "
                        f"({error}). Start that version, or point XRAY_DATA_DIR at another folder."
                    ) from error


@contextmanager
def only_server(url: str, data_dir: Path) -> Iterator[None]:
    """Keeps another server from this data folder while the block runs; other commands may still read and write.

    With PostgreSQL several servers may share one folder, and nothing is kept from anybody.

    Raises:
        Conflict: another server has it.
        StorageFailed: the folder cannot be written.
    """
    if make_url(url).get_backend_name() != "sqlite":
        yield
        return
    _prepare_folder(data_dir)
    with folder_lock(data_dir, SERVER_LOCK) as free:
        if not free:
            raise Conflict(
                f"Another server works with the data folder {data_dir}; with SQLite it is one a folder. Stop that one, "
                "or set XRAY_DATA_DIR to another folder, or XRAY_DATABASE_URL to a PostgreSQL database."
            )
        yield


def refuse_damaged(said: str, database: str) -> None:
    """Judges the answer to `QUICK_CHECK`.

    Raises:
        StorageFailed: it names a damage.
    """
    if said != "ok":
        raise StorageFailed(
            f"The database {database} is damaged ({' '.join(said.split())[:200]}). Restore the newest backup into "
            "another folder: XRAY_DATA_DIR=NEW python -m xray_app restore SOURCE."
        )


def _exists(engine: Engine) -> bool:
    path = Path(engine.url.database or "")
    return path.is_file() and path.stat().st_size > 0


def _prepare_folder(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        for part in (data_dir / INCOMING).glob("*"):  # a killed process left these half written
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink(missing_ok=True)
        with tempfile.NamedTemporaryFile(dir=data_dir, prefix=".probe-") as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise StorageFailed(
            f"The data folder {data_dir} cannot be written: {error.strerror or error}. "
            "Make room or give this user write access, or set XRAY_DATA_DIR to another folder."
        ) from error


def _make_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(parsed, pool_pre_ping=True, pool_size=10, max_overflow=30)
    else:
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS}, pool_size=10, max_overflow=30)
        event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # or sqlite3 sends its own, deferred BEGIN
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA foreign_keys = ON")
    # Changing to WAL needs the file alone and does not wait for it; it is asked for once in a file's life.
    for attempt in range(50):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or attempt == 49:
                raise
            time.sleep(0.1)


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("xray_write", False)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
    elif connection.dialect.name == "postgresql" and writing:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'")
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": WRITER_LOCK})
    elif connection.dialect.name == "postgresql":
        # Else each statement of a reader would see another state, where SQLite's see one.
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _shown(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _error_for_people(error: DBAPIError, engine: Engine, data_dir: Path) -> DeskError | None:
    """What a person is told of a database error; None where it is a bug of ours."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None  # the rest of the code only refines it
    state = getattr(error.orig, "sqlstate", None)  # PostgreSQL's
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or state == LOCK_NOT_AVAILABLE:
        return Busy("The database is busy. Try again in a moment.")
    if primary == sqlite3.SQLITE_FULL:
        return StorageFailed(f"The disk that holds {data_dir} is full. Make room; nothing was stored.")
    if state == DISK_FULL:
        return StorageFailed(f"The disk of the database {_shown(engine)} is full. Make room; nothing was stored.")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StorageFailed(
            f"The database {_shown(engine)} cannot be written: {error.orig}. "
            "Give this user write access, or set XRAY_DATA_DIR to another folder."
        )
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageFailed(
            f"The database {_shown(engine)} cannot be read or written: {error.orig}. "
            "Check the disk; if the file is damaged, restore a backup: python -m xray_app restore SOURCE."
        )
    if isinstance(error, DataError):  # PostgreSQL: a text too long, or with a NUL in it
        return BadInput("A value is too long or holds a character that cannot be stored.")
    if engine.dialect.name != "sqlite" and isinstance(error, OperationalError):
        return StorageFailed(f"The database {_shown(engine)} cannot be reached: {error.orig}")
    return None

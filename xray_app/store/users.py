"""Users as rows; `xray_app.auth` knows about passwords and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from xray_app.errors import Conflict, NotFound
from xray_app.store import audit
from xray_app.store.database import Database
from xray_app.store.user_tables import SessionRow, UserRow
from xray_app.types import Role


@dataclass(frozen=True)
class User:
    """A user, without the password's hash."""

    username: str
    role: Role
    disabled: bool
    created_at: datetime


def add(db: Database, username: str, role: Role, password_hash: str, by: str) -> User:
    """Add a user.

    Raises:
        Conflict: the name is taken, by a disabled user too: history names people by it.
    """
    with db.write() as session:
        if session.get(UserRow, username) is not None:
            raise Conflict(f"There is a user {username} already.")
        row = UserRow(username=username, role=role.value, password_hash=password_hash, created_at=datetime.now(UTC))
        session.add(row)
        audit.write(session, by, "added user", {"username": username, "role": role.value})
        session.flush()
        return _value(row)


def add_first_admin(db: Database, username: str, password_hash: str) -> bool:
    """Add the admin of a new database; False where there is an admin already."""
    with db.write() as session:
        if session.scalar(select(UserRow.username).where(UserRow.role == Role.ADMIN.value).limit(1)):
            return False
        session.add(
            UserRow(
                username=username,
                role=Role.ADMIN.value,
                password_hash=password_hash,
                created_at=datetime.now(UTC),
            )
        )
        audit.write(session, username, "added user", {"username": username, "role": Role.ADMIN.value})
        return True


def has_admin(db: Database) -> bool:
    """Whether there is an admin, disabled or not."""
    with db.read() as session:
        return session.scalar(select(UserRow.username).where(UserRow.role == Role.ADMIN.value).limit(1)) is not None


def all_users(db: Database) -> list[User]:
    """All users by name, the disabled ones too."""
    with db.read() as session:
        return [_value(row) for row in session.scalars(select(UserRow).order_by(UserRow.username))]


def get(db: Database, username: str) -> User:
    """One user.

    Raises:
        NotFound: no user has this name.
    """
    with db.read() as session:
        return _value(_row(session, username))


def password_hash(db: Database, username: str) -> str | None:
    """The hash of an enabled user's password; None for a disabled or unknown one."""
    with db.read() as session:
        row = session.get(UserRow, username)
        return None if row is None or row.disabled_at is not None else row.password_hash


def set_password(db: Database, username: str, password_hash: str, by: str) -> User:
    """Change a user's password and end all of their sessions.

    Raises:
        NotFound: no user has this name.
    """
    with db.write() as session:
        row = _row(session, username)
        row.password_hash = password_hash
        _end_sessions(session, username)
        audit.write(session, by, "changed password", {"username": username})
        return _value(row)


def disable(db: Database, username: str, by: str) -> User:
    """Keep a user out from now on and end all of their sessions.

    Raises:
        NotFound: no user has this name.
        Conflict: it is the last admin who can sign in.
    """
    with db.write() as session:
        row = _row(session, username)
        if row.disabled_at is None:
            others = select(func.count()).where(
                UserRow.role == Role.ADMIN.value,
                UserRow.disabled_at.is_(None),
                UserRow.username != username,
            )
            if row.role == Role.ADMIN.value and not session.scalar(others):
                raise Conflict("This is the last admin; add another one first.")
            row.disabled_at = datetime.now(UTC)
            audit.write(session, by, "disabled user", {"username": username})
        _end_sessions(session, username)
        return _value(row)


def _row(session: Session, username: str) -> UserRow:
    row = session.get(UserRow, username)
    if row is None:
        raise NotFound("There is no user with this name.")
    return row


def _end_sessions(session: Session, username: str) -> None:
    session.execute(delete(SessionRow).where(SessionRow.username == username))


def _value(row: UserRow) -> User:
    return User(row.username, Role(row.role), row.disabled_at is not None, row.created_at)

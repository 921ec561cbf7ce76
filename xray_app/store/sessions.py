"""Sessions and failed sign-ins. A session is known by the SHA-256 of its token alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, exists, func, select

from xray_app.errors import NotSignedIn
from xray_app.store.database import Database
from xray_app.store.user_tables import SessionRow, SignInAddressRow, SignInFailureRow, UserRow
from xray_app.store.users import User
from xray_app.types import Role

ADDRESS_KEPT = timedelta(days=180)


def add(
    db: Database, token_sha256: str, username: str, password_hash: str, expires_at: datetime, address: str | None = None
) -> Role:
    """Open a session, forget the user's failed sign-ins, and clear away expired sessions.

    Args:
        db: the store.
        token_sha256: of the new token.
        username: whose session it is.
        password_hash: the hash that the password was checked against.
        expires_at: the session's end.
        address: where it was opened from, which is remembered as the user's.

    Raises:
        NotSignedIn: the user was disabled, or the password changed, since that check.
    """
    now = datetime.now(UTC)
    with db.write() as session:
        user = session.get(UserRow, username)
        if user is None or user.disabled_at is not None or user.password_hash != password_hash:
            raise NotSignedIn("Wrong user name or password.")
        session.execute(delete(SessionRow).where(SessionRow.expires_at <= now))
        session.execute(delete(SignInFailureRow).where(SignInFailureRow.username == username))
        session.execute(delete(SignInAddressRow).where(SignInAddressRow.last_at < now - ADDRESS_KEPT))
        if address is not None:
            session.merge(SignInAddressRow(username=username, address=address, last_at=now))
        session.add(SessionRow(token_sha256=token_sha256, username=username, created_at=now, expires_at=expires_at))
        return Role(user.role)


def user_of(db: Database, token_sha256: str) -> User | None:
    """The user of a session; None where it is unknown, expired or ended, or the user disabled."""
    query = (
        select(UserRow)
        .join(SessionRow, SessionRow.username == UserRow.username)
        .where(
            SessionRow.token_sha256 == token_sha256,
            SessionRow.expires_at > datetime.now(UTC),
            UserRow.disabled_at.is_(None),
        )
    )
    with db.read() as session:
        row = session.scalar(query)
        return None if row is None else User(row.username, Role(row.role), False, row.created_at)


def end(db: Database, token_sha256: str) -> None:
    """End a session; one that is unknown has ended already."""
    with db.write() as session:
        session.execute(delete(SessionRow).where(SessionRow.token_sha256 == token_sha256))


def add_failure(db: Database, username: str, address: str | None, keep: timedelta) -> None:
    """Count a failed sign-in, and forget all that are older than `keep`."""
    now = datetime.now(UTC)
    with db.write() as session:
        session.execute(delete(SignInFailureRow).where(SignInFailureRow.created_at < now - keep))
        session.add(SignInFailureRow(username=username, address=address, created_at=now))


def knows(db: Database, username: str, address: str) -> bool:
    """Whether this user has signed in from this address before."""
    with db.read() as session:
        return session.get(SignInAddressRow, (username, address)) is not None


def failures(
    db: Database, within: timedelta, username: str | None = None, address: str | None = None
) -> tuple[int, datetime | None]:
    """How many sign-ins failed within this time until now, and when the first of them did.

    Args:
        db: the store.
        within: how far back.
        username: of this name alone; with no address, only those from where its user has never signed in.
        address: from this address alone.
    """
    query = select(func.count(), func.min(SignInFailureRow.created_at)).where(
        SignInFailureRow.created_at > datetime.now(UTC) - within
    )
    if address is not None:
        query = query.where(SignInFailureRow.address == address)
    if username is not None:
        query = query.where(SignInFailureRow.username == username)
    if username is not None and address is None:
        known = exists().where(
            SignInAddressRow.username == SignInFailureRow.username,
            SignInAddressRow.address == SignInFailureRow.address,
        )
        query = query.where(~known)
    with db.read() as session:
        count, first = session.execute(query).one()
        return count, first

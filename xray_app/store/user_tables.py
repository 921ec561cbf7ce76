"""Tables of people: users, their sessions, and from where they signed in or failed to."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from xray_app.store.tables import Base, Id, Word


class UserRow(Base):
    __tablename__ = "users"

    username: Mapped[str] = mapped_column(Id, primary_key=True)
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(Word)
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class SessionRow(Base):
    """A signed-in browser or program. The token itself is kept nowhere."""

    __tablename__ = "sessions"

    token_sha256: Mapped[str] = mapped_column(Id, primary_key=True)
    username: Mapped[str] = mapped_column(ForeignKey("users.username"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class SignInFailureRow(Base):
    __tablename__ = "sign_in_failures"
    __table_args__ = (Index(None, "username", "created_at"), Index(None, "address", "created_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(Id)  # as typed: there may be no such user
    created_at: Mapped[datetime]
    address: Mapped[str | None] = mapped_column(Id)


class SignInAddressRow(Base):
    """An address from which a user has signed in."""

    __tablename__ = "sign_in_addresses"

    username: Mapped[str] = mapped_column(ForeignKey("users.username"), primary_key=True)
    address: Mapped[str] = mapped_column(Id, primary_key=True)
    last_at: Mapped[datetime]

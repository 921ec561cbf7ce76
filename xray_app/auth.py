"""Who may do what: users, passwords, sign-in, tokens, roles.

Passwords are hashed with Argon2 (pwdlib). A token is 256 random bits; the database holds its SHA-256
alone. Failed sign-ins are counted in the database, so that a restart does not reset them.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
import shlex
import threading
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from pwdlib import PasswordHash

from xray_app.errors import BadInput, Forbidden, NotFound, NotSignedIn, RemoteUserRefused, Throttled
from xray_app.store import sessions, users
from xray_app.store.database import Database
from xray_app.store.users import User
from xray_app.types import POLICY, Role

logger = logging.getLogger(__name__)

ADMIN = "admin"
SESSION = timedelta(hours=12)
MAX_FAILURES = 5
"""Of a name, from everywhere its user has never signed in from."""
MAX_FAILURES_AT_HOME = 20
"""Of a name from an address its user has signed in from."""
MAX_FAILURES_OF_ADDRESS = 20
"""Of all names from one address; users who have signed in from there before are let in all the same."""
FAILURE_WINDOW = timedelta(minutes=5)
MAX_USERNAME = 64
MIN_PASSWORD = 8
MAX_PASSWORD = 1024  # hashing is slow on purpose; a megabyte of password would make it a weapon

_hasher = PasswordHash.recommended()
# One check at a time per lock: tries at one name are counted one after the other, and a flood of sign-ins
# does not take 64 MB of memory for each.
_gates = [threading.Lock() for _ in range(4)]


@dataclass(frozen=True)
class Identity:
    """Who is asking.

    Attributes:
        username: their name.
        role: what they may do.
        remote: whether a proxy's header says who they are, not a session of the desk.
    """

    username: str
    role: Role
    remote: bool = False


@dataclass(frozen=True)
class SignedIn:
    """A new session. The token is told once, here."""

    token: str
    expires_at: datetime
    role: Role


def ensure_admin(db: Database, password: str | None) -> str | None:
    """Make the user `admin` of a new database.

    Args:
        db: the store.
        password: from XRAY_ADMIN_PASSWORD; None or empty: a random one. An existing admin keeps theirs.

    Returns:
        The random password, to be shown once; None where none was made.

    Raises:
        BadInput: a password of more than 1024 characters.
    """
    if users.has_admin(db):
        return None
    if password and len(password) > MAX_PASSWORD:
        raise BadInput(f"XRAY_ADMIN_PASSWORD has at most {MAX_PASSWORD} characters.")
    generated = None if password else secrets.token_urlsafe(12)
    added = users.add_first_admin(db, ADMIN, _hasher.hash(_bytes(password or generated or "")))
    return generated if added else None


def add_user(db: Database, username: str, password: str, role: Role, by: str = ADMIN) -> User:
    """Add a user.

    Args:
        db: the store.
        username: 1 to 64 printable characters, no space at either end; not "policy", in whatever case.
        password: at least 8 characters.
        role: what they may do.
        by: who adds them, for the audit.

    Raises:
        BadInput: a name or password that will not do.
        Conflict: the name is taken.
    """
    name = _normalised(username)
    if name is None:
        raise BadInput(f"A user name has 1 to {MAX_USERNAME} printable characters, no space at either end.")
    if name.casefold() == POLICY:
        raise BadInput(f"No user is called {POLICY}: it stands for the models' own risk, beside the names of people.")
    return users.add(db, name, role, _hasher.hash(_good(password)), by)


def set_password(db: Database, username: str, password: str, by: str = ADMIN) -> User:
    """Change a user's password; all of their sessions end at once.

    Raises:
        BadInput: a password of fewer than 8 characters.
        NotFound: no user has this name.
    """
    return users.set_password(db, _normalised(username) or "", _hasher.hash(_good(password)), by)


def check_new_password(password: str) -> None:
    """Whether a password will do.

    Raises:
        BadInput: it has fewer than 8 characters, or more than 1024.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise BadInput(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.")


def disable_user(db: Database, username: str, by: str = ADMIN) -> User:
    """Keep a user out; all of their sessions end at once.

    Raises:
        NotFound: no user has this name.
        Conflict: it is the last admin.
    """
    return users.disable(db, _normalised(username) or "", by)


def sign_in(db: Database, username: str, password: str, address: str | None = None) -> SignedIn:
    """Check a password and open a session of 12 hours.

    Who guesses closes nobody else's way in: neither a name to an address that its user has signed in from, nor the
    desk to users at an address that others guess from.

    Args:
        db: the store.
        username: as typed.
        password: as typed.
        address: where the request comes from, None where that is not known.

    Raises:
        NotSignedIn: wrong name or password, or a disabled user; which one is not told, nor by the time taken.
        Throttled: too many failures within five minutes, of this name or from this address.
    """
    address = _network(address)
    # A name that cannot exist is counted with its like, not let through uncounted.
    name = _normalised(username) or ""
    with _gates[hash(name) % len(_gates)]:
        _refuse_throttled(db, name, address)
        known_hash = users.password_hash(db, name) if name else None
        right = _hasher.verify(_bytes(password[:MAX_PASSWORD]), known_hash or _no_ones_hash())
        if known_hash is None or not right or len(password) > MAX_PASSWORD:
            sessions.add_failure(db, name, address, keep=FAILURE_WINDOW)
            raise NotSignedIn("Wrong user name or password.")
    token = secrets.token_urlsafe(32)
    expires_at = datetime.now(UTC) + SESSION
    role = sessions.add(db, _sha256(token), name, known_hash, expires_at, address)
    logger.info("%s signed in by password, from %s", name, address or "an unknown address")
    return SignedIn(token=token, expires_at=expires_at, role=role)


def identify(db: Database, token: str) -> Identity:
    """Whose token this is.

    Raises:
        NotSignedIn: it is unknown, expired or revoked, or its user is disabled.
    """
    user = sessions.user_of(db, _sha256(token))
    if user is None:
        raise NotSignedIn("Sign in again: this session is unknown or has ended.")
    return Identity(user.username, user.role)


def vouched_for(db: Database, name: str) -> Identity:
    """The user of a name that a proxy vouches for.

    Args:
        db: the store.
        name: as sent. It has to be the user's very name: brought to a usual form first, as typed names are, two people
            of the proxy's would be one here.

    Raises:
        RemoteUserRefused: no user can have such a name, none has it, or the user is disabled; or it is the desk's first
            admin, whom every desk has: nobody added them for the person of that name at the proxy.
    """
    if name == ADMIN:
        raise RemoteUserRefused(
            f"You come as {ADMIN}, which is this desk's own first admin: they sign in with their password. Ask them to "
            "add you under another name."
        )
    if _normalised(name) != name:
        raise RemoteUserRefused("The header REMOTE-USER holds what no user of this desk can be called.")
    try:
        user = users.get(db, name)
    except NotFound as error:
        raise RemoteUserRefused(
            f"You come as {name}, whom this desk does not know. An admin has to add you: "
            f"python -m xray_app users add {shlex.quote(name)} --role analyst (or annotator, or admin)"
        ) from error
    if user.disabled:
        raise RemoteUserRefused(f"You come as {name}, a user whom an admin of this desk has disabled. Ask an admin.")
    return Identity(user.username, user.role, remote=True)


def sign_out(db: Database, token: str) -> None:
    """End a session; one that has ended already is no error."""
    sessions.end(db, _sha256(token))


def require(identity: Identity, role: Role) -> None:
    """Let through whoever has this role or one that includes it.

    Raises:
        Forbidden: they do not.
    """
    if not identity.role.includes(role):
        raise Forbidden(f"This needs the role {role.value}; yours is {identity.role.value}.")


def _refuse_throttled(db: Database, name: str, address: str | None) -> None:
    if name and address is not None and sessions.knows(db, name, address):
        counts = [(sessions.failures(db, FAILURE_WINDOW, name, address), MAX_FAILURES_AT_HOME, "with this name")]
    else:
        counts = [(sessions.failures(db, FAILURE_WINDOW, name), MAX_FAILURES, "with this name")]
        if address is not None:
            of_address = sessions.failures(db, FAILURE_WINDOW, address=address)
            counts.append((of_address, MAX_FAILURES_OF_ADDRESS, "from this address"))
    for (count, first), most, what in counts:
        if count >= most and first is not None:
            wait = max(1, round((first + FAILURE_WINDOW - datetime.now(UTC)).total_seconds()))
            raise Throttled(
                f"Too many failed sign-ins {what}. Try again in {wait} seconds.", details={"retry_after": wait}
            )


def _network(address: str | None) -> str | None:
    """What counts as one address: of IPv6 the 64 bits that one subscriber has."""
    if address is None:
        return None
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:MAX_USERNAME]
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))


def _normalised(username: str) -> str | None:
    # NFKC: two spellings that look alike are one user.
    name = unicodedata.normalize("NFKC", username)
    return name if 1 <= len(name) <= MAX_USERNAME and name.isprintable() and name == name.strip() else None


def _good(password: str) -> bytes:
    check_new_password(password)
    return _bytes(password)


def _sha256(token: str) -> str:
    return hashlib.sha256(_bytes(token)).hexdigest()


def _bytes(text: str) -> bytes:
    # JSON can carry half a character, which plain UTF-8 refuses; here it is just a wrong password.
    return text.encode("utf-8", "surrogatepass")


@cache
def _no_ones_hash() -> str:
    """What an unknown user's password is checked against, so that it takes as long as a known one's."""
    return _hasher.hash(secrets.token_urlsafe(32))

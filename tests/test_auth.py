"""Sign-in, tokens, roles: who is let in, and who is out at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from xray_app import auth
from xray_app.errors import BadInput, Conflict, Forbidden, NotFound, NotSignedIn, Throttled
from xray_app.store import audit, users
from xray_app.store.database import Database
from xray_app.types import Role

PASSWORD = "correct horse"


@pytest.fixture
def anna(db: Database) -> str:
    auth.ensure_admin(db, "secret of the admin")
    return auth.add_user(db, "anna", PASSWORD, Role.ANALYST).username


def _pass_time(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + by

    monkeypatch.setattr("xray_app.store.sessions.datetime", Later)
    monkeypatch.setattr("xray_app.auth.datetime", Later)


def test_the_first_admin_gets_the_password_of_the_settings(db: Database) -> None:
    assert auth.ensure_admin(db, "pw") is None
    signed_in = auth.sign_in(db, "admin", "pw")
    assert signed_in.role is Role.ADMIN
    assert auth.ensure_admin(db, "another") is None  # an admin is there: nothing changes
    auth.sign_in(db, "admin", "pw")


@pytest.mark.parametrize("setting", [None, ""])
def test_or_a_random_one_told_once(db: Database, setting: str | None) -> None:
    password = auth.ensure_admin(db, setting)
    assert password is not None
    assert len(password) >= 16
    assert auth.ensure_admin(db, setting) is None
    assert auth.sign_in(db, "admin", password).role is Role.ADMIN


def test_a_token_says_who_is_asking_for_twelve_hours(db: Database, anna: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in = auth.sign_in(db, anna, PASSWORD)
    assert auth.identify(db, signed_in.token) == auth.Identity("anna", Role.ANALYST)
    assert abs(signed_in.expires_at - datetime.now(UTC) - timedelta(hours=12)) < timedelta(minutes=1)
    with monkeypatch.context() as patched:
        _pass_time(patched, timedelta(hours=11, minutes=59))
        auth.identify(db, signed_in.token)
        _pass_time(patched, timedelta(hours=12, minutes=1))
        with pytest.raises(NotSignedIn):
            auth.identify(db, signed_in.token)


def test_no_token_is_stored(db: Database, anna: str) -> None:
    signed_in = auth.sign_in(db, anna, PASSWORD)
    with db.read() as session:
        kept = session.execute(text("SELECT token_sha256 FROM sessions")).scalars().all()
        hashes = session.execute(text("SELECT password_hash FROM users")).scalars().all()
    assert signed_in.token not in kept
    assert len(kept) == 1
    assert all(known.startswith("$argon2id$") for known in hashes)


@pytest.mark.parametrize("token", ["", "x", "é" * 50, "\ud800", "a" * 100_000, "' OR 1=1 --"])
def test_a_token_of_nobodys(db: Database, anna: str, token: str) -> None:
    auth.sign_in(db, anna, PASSWORD)
    with pytest.raises(NotSignedIn):
        auth.identify(db, token)
    auth.sign_out(db, token)


def test_signing_out_ends_that_session_alone(db: Database, anna: str) -> None:
    here, there = (auth.sign_in(db, anna, PASSWORD).token for _ in range(2))
    auth.sign_out(db, here)
    with pytest.raises(NotSignedIn):
        auth.identify(db, here)
    auth.identify(db, there)


@pytest.mark.parametrize(
    "act",
    [
        lambda db: auth.set_password(db, "anna", "a new password"),
        lambda db: auth.disable_user(db, "anna"),
    ],
)
def test_a_new_password_or_disabling_ends_all_sessions_at_once(
    db: Database, anna: str, act: Callable[[Database], object]
) -> None:
    tokens = [auth.sign_in(db, anna, PASSWORD).token for _ in range(2)]
    act(db)
    for token in tokens:
        with pytest.raises(NotSignedIn):
            auth.identify(db, token)
    with pytest.raises(NotSignedIn):
        auth.sign_in(db, anna, PASSWORD)


def test_a_new_password_is_the_one_that_works(db: Database, anna: str) -> None:
    auth.set_password(db, anna, "a new password")
    auth.sign_in(db, anna, "a new password")


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("anna", "wrong"),
        ("anna", ""),
        ("anna", "x" * 5000),
        ("anna", "\ud800"),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("x" * 5000, PASSWORD),
        ("an\0na", PASSWORD),
        ("\ud800", PASSWORD),
    ],
)
def test_what_is_wrong_is_not_told(db: Database, anna: str, username: str, password: str) -> None:
    with pytest.raises(NotSignedIn, match="Wrong user name or password"):
        auth.sign_in(db, username, password)


def test_an_unknown_name_is_checked_like_a_known_one(db: Database, anna: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    class Recorder:
        hash = staticmethod(auth._hasher.hash)

        @staticmethod
        def verify(password: str, known: str) -> bool:
            checked.append(known.rpartition("p=")[0])
            return False

    monkeypatch.setattr(auth, "_hasher", Recorder)
    for name in ("anna", "nobody", "x" * 5000):
        with pytest.raises(NotSignedIn):
            auth.sign_in(db, name, "wrong")
    assert len(checked) == 3
    assert len(set(checked)) == 1  # the same algorithm at the same cost


def test_five_failures_close_a_name_for_five_minutes(db: Database, anna: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (anna, "nobody"):
        for _ in range(5):
            with pytest.raises(NotSignedIn):
                auth.sign_in(db, name, "wrong")
        with pytest.raises(Throttled) as told:
            auth.sign_in(db, name, PASSWORD)
        assert told.value.details is not None
        assert 0 < told.value.details["retry_after"] <= 300
    auth.sign_in(db, "admin", "secret of the admin")
    _pass_time(monkeypatch, timedelta(minutes=4, seconds=50))
    with pytest.raises(Throttled):
        auth.sign_in(db, anna, PASSWORD)
    _pass_time(monkeypatch, timedelta(minutes=5, seconds=1))
    auth.sign_in(db, anna, PASSWORD)


def test_a_success_starts_the_count_anew(db: Database, anna: str) -> None:
    for _ in range(2):
        for _ in range(4):
            with pytest.raises(NotSignedIn):
                auth.sign_in(db, anna, "wrong")
        auth.sign_in(db, anna, PASSWORD)


def test_many_tries_at_once_are_counted_one_by_one(db: Database, anna: str) -> None:
    told: list[type[Exception]] = []

    def guess() -> None:
        try:
            auth.sign_in(db, anna, "wrong")
        except (NotSignedIn, Throttled) as error:
            told.append(type(error))

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count(NotSignedIn) == 5
    assert told.count(Throttled) == 7


@pytest.mark.parametrize("name", ["", " anna", "anna ", "x" * 65, "an\tna", "an\nna", "an\0na"])
def test_names_that_will_not_do(db: Database, name: str) -> None:
    with pytest.raises(BadInput):
        auth.add_user(db, name, PASSWORD, Role.ANALYST)
    assert users.all_users(db) == []


def test_adding_users(db: Database, anna: str) -> None:
    with pytest.raises(BadInput, match="8"):
        auth.add_user(db, "ben", "7 chars", Role.ANALYST)
    auth.add_user(db, "eight", "8 chars.", Role.ANALYST)
    with pytest.raises(Conflict):
        auth.add_user(db, "anna", PASSWORD, Role.ADMIN)
    with pytest.raises(Conflict):
        auth.add_user(db, "\uff41nna", PASSWORD, Role.ADMIN)  # a full-width a looks the same
    auth.add_user(db, "José Müller", PASSWORD, Role.ANNOTATOR, by="admin")
    auth.sign_in(db, "José Müller", PASSWORD)
    assert [(u.username, u.role, u.disabled) for u in users.all_users(db)] == [
        ("José Müller", Role.ANNOTATOR, False),
        ("admin", Role.ADMIN, False),
        ("anna", Role.ANALYST, False),
        ("eight", Role.ANALYST, False),
    ]
    assert users.get(db, "anna").role is Role.ANALYST
    with pytest.raises(NotFound):
        users.get(db, "ben")


def test_the_last_admin_stays(db: Database, anna: str) -> None:
    with pytest.raises(Conflict, match="last admin"):
        auth.disable_user(db, "admin")
    auth.add_user(db, "root", PASSWORD, Role.ADMIN)
    assert auth.disable_user(db, "admin").disabled
    auth.disable_user(db, "admin")  # again: nothing to do
    with pytest.raises(Conflict, match="last admin"):
        auth.disable_user(db, "root")
    assert auth.ensure_admin(db, "pw") is None  # and a restart brings nobody back
    for unknown in ("nobody", " "):
        with pytest.raises(NotFound):
            auth.disable_user(db, unknown)
        with pytest.raises(NotFound):
            auth.set_password(db, unknown, PASSWORD)


def test_acts_on_users_are_audited(db: Database, anna: str) -> None:
    auth.set_password(db, anna, "a new password", by="anna")
    auth.disable_user(db, anna, by="admin")
    assert [(entry.who, entry.what, entry.details["username"]) for entry in audit.newest(db)] == [
        ("admin", "disabled user", "anna"),
        ("anna", "changed password", "anna"),
        ("admin", "added user", "anna"),
        ("admin", "added user", "admin"),
    ]


def test_each_role_includes_the_ones_before_it() -> None:
    for place, mine in enumerate(Role):
        for other_place, needed in enumerate(Role):
            identity = auth.Identity("anna", mine)
            if place >= other_place:
                auth.require(identity, needed)
            else:
                with pytest.raises(Forbidden):
                    auth.require(identity, needed)


HOME, ELSEWHERE = "192.0.2.7", "198.51.100.9"


def fail(db: Database, name: str, address: str, times: int) -> list[type[Exception]]:
    """Tries a wrong password; what was told each time."""
    told: list[type[Exception]] = []
    for _ in range(times):
        with pytest.raises((NotSignedIn, Throttled)) as error:
            auth.sign_in(db, name, "wrong", address)
        told.append(error.type)
    return told


def test_a_guesser_elsewhere_closes_no_name_at_home(db: Database, anna: str) -> None:
    auth.sign_in(db, anna, PASSWORD, HOME)
    assert fail(db, anna, ELSEWHERE, 6) == [NotSignedIn] * 5 + [Throttled]
    with pytest.raises(Throttled, match="with this name"):
        auth.sign_in(db, anna, PASSWORD, "203.0.113.5")  # an address nobody knows
    assert fail(db, anna, HOME, 1) == [NotSignedIn]
    auth.sign_in(db, anna, PASSWORD, HOME)


def test_at_home_a_name_has_a_count_of_its_own(db: Database, anna: str) -> None:
    auth.sign_in(db, anna, PASSWORD, HOME)
    assert fail(db, anna, HOME, 19) == [NotSignedIn] * 19
    auth.sign_in(db, anna, PASSWORD, HOME)
    assert fail(db, anna, HOME, 21) == [NotSignedIn] * 20 + [Throttled]
    auth.sign_in(db, anna, PASSWORD, ELSEWHERE)  # and closes the name nowhere else


def test_sixty_attempts_with_made_up_names_close_the_address_to_strangers_alone(db: Database, anna: str) -> None:
    auth.sign_in(db, anna, PASSWORD, HOME)
    told = [error for number in range(60) for error in fail(db, f"guess {number}", HOME, 1)]
    assert told == [NotSignedIn] * 20 + [Throttled] * 40
    auth.sign_in(db, anna, PASSWORD, HOME)
    with pytest.raises(Throttled, match="from this address"):
        auth.sign_in(db, "admin", "secret of the admin", HOME)
    auth.sign_in(db, "admin", "secret of the admin", ELSEWHERE)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("testclient", "other", False),
    ],
)
def test_what_counts_as_one_address(db: Database, anna: str, one: str, other: str, same: bool) -> None:
    auth.sign_in(db, anna, PASSWORD, one)
    fail(db, anna, "203.0.113.5", 5)
    if same:
        auth.sign_in(db, anna, PASSWORD, other)
    else:
        with pytest.raises(Throttled):
            auth.sign_in(db, anna, PASSWORD, other)

"""Who may come in: passwords, sessions, and how often one may try."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.core.role import Role
from orchestrator.engine import users as people
from orchestrator.engine.passwords import hash_password, is_password
from orchestrator.engine.sign_in import LONGEST, PER_NAME, WITHIN, TooManyError, sign_in, sign_out, who
from orchestrator.errors import ConflictError, NotFoundError, RequestError, UnauthorizedError
from orchestrator.store import audit, sessions, users
from orchestrator.store.database import Database
from orchestrator.store.schema import upgrade

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPAN = timedelta(hours=12)
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def with_ada(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to be copied: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("users") / "test.db"
    upgrade(f"sqlite:///{path}")
    database = Database(f"sqlite:///{path}")
    people.add_user(database, "ada", Role.ADMIN, PASSWORD, NOW)
    database.close()
    return path


@pytest.fixture
def database(with_ada: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(with_ada, tmp_path / "test.db")
    database = Database(f"sqlite:///{tmp_path / 'test.db'}", synchronous="OFF")
    yield database
    database.close()


def enter(
    database: Database, password: str = PASSWORD, name: str = "ada", now: datetime = NOW, at: str = "1.2.3.4"
) -> str:
    return sign_in(database, name, password, at, now, SPAN)


def test_a_password_is_known_by_its_hash_and_two_hashes_of_it_differ() -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)

    assert first != second
    assert PASSWORD not in first
    assert [True, True, False] == [
        is_password(PASSWORD, first),
        is_password(PASSWORD, second),
        is_password(PASSWORD + " ", first),
    ]


@pytest.mark.parametrize("password", ["", "eleven char", "x" * 513])
def test_a_password_has_twelve_to_512_characters(password: str) -> None:
    with pytest.raises(RequestError, match="12 to 512 characters"):
        hash_password(password)


def test_a_password_typed_in_another_way_is_the_same() -> None:
    assert is_password("caf\u00e9 au lait noir", hash_password("cafe\u0301 au lait noir"))


def test_whoever_signs_in_is_known_by_their_secret_with_the_role_they_have_now(database: Database) -> None:
    secret = enter(database, name=" ADA ")

    before = who(database, secret, NOW, SPAN)
    people.add_user(database, "ben", Role.ADMIN, PASSWORD, NOW)
    people.set_role(database, "ada", Role.VIEWER, NOW)
    after = who(database, secret, NOW, SPAN)

    assert before is not None
    assert after is not None
    assert ("ada", Role.ADMIN, Role.VIEWER) == (before.name, before.role, after.role)


def test_the_database_does_not_hold_the_secret(database: Database) -> None:
    secret = enter(database)

    database.close()
    files = Path(str(database.url.database)).parent.iterdir()

    assert not any(secret.encode() in file.read_bytes() for file in files)


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong horse battery"), ("eve", PASSWORD), ("ad a", PASSWORD)])
def test_a_wrong_name_and_a_wrong_password_are_told_alike(database: Database, name: str, password: str) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        enter(database, password, name)

    assert "name or password is wrong" == refused.value.message


def test_after_ten_wrong_passwords_a_name_is_closed_to_that_address_until_they_are_old(database: Database) -> None:
    for _ in range(PER_NAME):
        with pytest.raises(UnauthorizedError):
            enter(database, "wrong horse battery")

    with pytest.raises(TooManyError):
        enter(database)
    assert enter(database, at="5.6.7.8")
    assert enter(database, now=NOW + WITHIN)


def test_a_network_of_ipv6_counts_as_one_address_and_ipv4_within_it_as_itself(database: Database) -> None:
    for number in range(PER_NAME):
        with pytest.raises(UnauthorizedError):
            enter(database, "wrong horse battery", at=f"2001:db8:0:7::{number:x}")
        with pytest.raises(UnauthorizedError):
            enter(database, "wrong horse battery", at="::ffff:1.2.3.4")

    for same in ("2001:db8:0:7:ffff::1", "1.2.3.4"):
        with pytest.raises(TooManyError):
            enter(database, at=same)
    for other in ("2001:db8:0:8::1", "::ffff:1.2.3.5", "fe80::1%eth0", "::1", ""):
        assert enter(database, at=other)


def test_right_passwords_are_not_counted(database: Database) -> None:
    assert all(enter(database) for _ in range(PER_NAME + 1))


def test_a_session_ends_when_it_is_not_used_and_lasts_while_it_is(database: Database) -> None:
    unused, used = enter(database), enter(database)

    assert who(database, used, NOW + timedelta(hours=11), SPAN)
    assert who(database, unused, NOW + timedelta(hours=12), SPAN) is None
    assert who(database, used, NOW + timedelta(hours=22), SPAN)


def test_a_session_ends_after_a_week_however_much_it_is_used(database: Database) -> None:
    secret = enter(database)

    for hours in range(0, int(LONGEST.total_seconds() // 3600), 6):
        assert who(database, secret, NOW + timedelta(hours=hours), SPAN)

    assert who(database, secret, NOW + LONGEST, SPAN) is None


def test_signing_out_ends_one_session_and_another_password_ends_all(database: Database) -> None:
    first, second, third = enter(database), enter(database), enter(database)
    person = who(database, first, NOW, SPAN)
    assert person is not None

    sign_out(database, person)
    left = [who(database, it, NOW, SPAN) is not None for it in (first, second, third)]
    people.set_password(database, "ada", "another horse battery", NOW)

    assert [False, True, True] == left
    assert [None, None] == [who(database, it, NOW, SPAN) for it in (second, third)]
    assert enter(database, "another horse battery")


def test_a_password_that_is_changed_while_it_is_looked_at_opens_no_session(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(given: str, kept: str) -> bool:
        people.set_password(database, "ada", "another horse battery", NOW)
        return is_password(given, kept)

    monkeypatch.setattr("orchestrator.engine.sign_in.is_password", slowly)

    with pytest.raises(UnauthorizedError):
        enter(database)

    with database.read() as conn:
        assert {} == users.sessions_of(conn, NOW)


def test_whoever_is_removed_is_out_at_once(database: Database) -> None:
    people.add_user(database, "ben", Role.VIEWER, PASSWORD, NOW)
    secret = enter(database, name="ben")

    people.remove_user(database, "ben", NOW)

    assert who(database, secret, NOW, SPAN) is None


def test_there_is_always_an_admin(database: Database) -> None:
    people.add_user(database, "ben", Role.OPERATOR, PASSWORD, NOW)

    for change in (
        lambda: people.remove_user(database, "ada", NOW),
        lambda: people.set_role(database, "ada", Role.OPERATOR, NOW),
    ):
        with pytest.raises(ConflictError, match="the only admin"):
            change()


@pytest.mark.parametrize("name", ["", "a b", "<b>", "x" * 65, "-x", "a\nb", "é"])
def test_a_name_that_cannot_be_is_refused(database: Database, name: str) -> None:
    with pytest.raises(RequestError, match=r"^name must have"):
        people.add_user(database, name, Role.VIEWER, PASSWORD, NOW)


def test_a_name_is_had_by_one(database: Database) -> None:
    with pytest.raises(ConflictError, match="there is a user ada already"):
        people.add_user(database, "Ada", Role.VIEWER, PASSWORD, NOW)
    with pytest.raises(NotFoundError, match="there is no user eve"):
        people.remove_user(database, "eve", NOW)


def test_what_is_done_to_users_is_noted_with_who_did_it(database: Database) -> None:
    people.add_user(database, "ben", Role.VIEWER, PASSWORD, NOW, "ada")
    people.set_role(database, "ben", Role.OPERATOR, NOW, "ada")
    enter(database, name="ben")
    people.remove_user(database, "ben", NOW, "ada")

    with database.read() as conn:
        told = [(it.action, it.subject, it.actor) for it in audit.latest(conn, 10)]

    assert [
        ("user removed", "ben", "ada"),
        ("signed in", "ben", "ben"),
        ("role set", "ben", "ada"),
        ("user added", "ben", "ada"),
        ("user added", "ada", None),
    ] == told


def test_sessions_that_are_over_are_deleted(database: Database) -> None:
    enter(database)

    with database.write() as conn:
        early = sessions.expire(conn, NOW + timedelta(hours=11))
        late = sessions.expire(conn, NOW + timedelta(hours=12))

    assert (0, 1) == (early, late)


def test_a_user_shows_no_password(database: Database) -> None:
    with database.read() as conn:
        user = users.by_name(conn, "ada")

    assert "User(name='ada', role='admin')" == repr(user)

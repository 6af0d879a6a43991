"""Keys: what may happen once within a time."""

from __future__ import annotations

from orchestrator.store import keys
from orchestrator.store.database import Database
from tests.store.factories import NOW, after, at_once, counts

SCOPE = ("event", "shop/order.paid", "id-1")


def test_the_first_to_claim_a_key_keeps_it_until_it_expires(database: Database) -> None:
    with database.write() as conn:
        first = keys.claim(conn, SCOPE, "first", NOW, after(10))
        second = keys.claim(conn, SCOPE, "second", after(9), after(99))
        third = keys.claim(conn, SCOPE, "third", after(10), after(20))
        fourth = keys.claim(conn, SCOPE, "fourth", after(19), after(99))

    assert ["first", "first", "third", "third"] == [first, second, third, fourth]


def test_claiming_again_with_the_same_value_is_no_conflict(database: Database) -> None:
    with database.write() as conn:
        assert ["v", "v"] == [keys.claim(conn, SCOPE, "v", NOW, after(10)) for _ in range(2)]


def test_keys_of_different_scopes_are_different_however_long(database: Database) -> None:
    scopes = [("a", "bc"), ("ab", "c"), ("a", "b", "c"), ("ü" * 2_000, "x"), ("ü" * 2_000, "y")]

    with database.write() as conn:
        claimed = [keys.claim(conn, scope, str(at), NOW, after(10)) for at, scope in enumerate(scopes)]

    assert ["0", "1", "2", "3", "4"] == claimed


def test_a_claim_that_is_taken_back_never_was(database: Database) -> None:
    with database.write() as conn:
        conn.begin_nested()
        keys.claim(conn, SCOPE, "lost", NOW, after(10))
        conn.get_nested_transaction().rollback()  # type: ignore[union-attr]

        assert "kept" == keys.claim(conn, SCOPE, "kept", NOW, after(10))


def test_of_many_who_claim_a_new_key_at_once_all_get_the_same_holder(database: Database) -> None:
    assert 1 == len(set(at_once(*(lambda v=str(number): claim(database, v, 0) for number in range(8)))))


def test_of_many_who_claim_an_expired_key_at_once_all_get_the_same_new_holder(database: Database) -> None:
    claim(database, "old", 0)

    holders = set(at_once(*(lambda v=str(number): claim(database, v, 100) for number in range(8))))

    assert 1 == len(holders)
    assert "old" not in holders


def claim(database: Database, value: str, at: int) -> str:
    with database.write() as conn:
        return keys.claim(conn, SCOPE, value, after(at), after(at + 10))


def test_only_expired_keys_are_deleted_and_so_many_at_most(database: Database) -> None:
    with database.write() as conn:
        for number in range(5):
            keys.claim(conn, ("old", str(number)), "v", NOW, after(number))
        keys.claim(conn, ("new",), "v", NOW, after(100))

        deleted = [keys.expire(conn, after(10), most=3) for _ in range(3)]

        assert [3, 2, 0] == deleted
        assert {"keys": 1} == counts(conn)


def test_a_key_that_is_being_claimed_anew_is_not_deleted_and_not_waited_for(concurrent: Database) -> None:
    claim(concurrent, "old", 0)

    with concurrent.write() as conn:
        keys.claim(conn, SCOPE, "new", after(20), after(30))
        with concurrent.write() as other:
            deleted = keys.expire(other, after(25))

    assert 0 == deleted
    assert "new" == claim(concurrent, "late", 25)

"""Apps and functions: what is declared is what is served, and what is gone is kept for its runs."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from orchestrator.core.function import Trigger
from orchestrator.ids import named_uuid
from orchestrator.store import functions
from orchestrator.store.database import Database
from orchestrator.store.functions import Listener, StoredFunction
from tests.store.factories import NOW, a_function, add_app, after, content, counts


def versions(conn: Connection) -> dict[str, int]:
    return {found.slug: found.version for found in functions.functions_of(conn)}


def listening(conn: Connection, *names: str) -> list[str]:
    return [listener.slug for listener in functions.listeners(conn, names)]


def test_a_declared_function_is_stored_as_declared(database: Database) -> None:
    with database.write() as conn:
        app_id = add_app(conn, "shop", a_function("shop-pay", name="Pay", checksum="c"))

        expected = StoredFunction(
            named_uuid("function", "shop-pay"), app_id, "shop-pay", "Pay", 1, '{"id":"shop-pay"}', "c", NOW, None
        )
        assert [expected] == functions.functions_of(conn, app_id)
        assert [expected] * 2 == [functions.function(conn, key) for key in (expected.id, "shop-pay")]
        assert None is functions.function(conn, "nobody")


def test_the_same_declaration_again_changes_nothing(database: Database) -> None:
    with database.write() as conn:
        add_app(conn, "shop", a_function())
        before = content(conn)

        add_app(conn, "shop", a_function(), now=after(60))

        assert before == content(conn)


def test_a_changed_function_is_a_version_up_with_its_new_triggers(database: Database) -> None:
    with database.write() as conn:
        app_id = add_app(conn, "shop", a_function("a", "old", "kept"), a_function("b"))

        functions.save_functions(conn, app_id, [a_function("a", "kept", checksum="2"), a_function("b")], after(60))

        assert {"a": 2, "b": 1} == versions(conn)
        assert [[], ["a"]] == [listening(conn, "old"), listening(conn, "kept")]


def test_a_function_no_longer_declared_is_archived_and_listens_no_more(database: Database) -> None:
    with database.write() as conn:
        app_id = add_app(conn, "shop", a_function("a"), a_function("b"))

        functions.save_functions(conn, app_id, [a_function("a")], after(60))
        functions.save_functions(conn, app_id, [a_function("a")], after(120))

        assert ["a"] == listening(conn, "shop/order.paid")
        assert {"a": 1} == versions(conn)
        gone = functions.function(conn, "b")
        assert gone is not None
        assert after(60) == gone.archived_at


def test_a_function_declared_again_comes_back_a_version_up(database: Database) -> None:
    with database.write() as conn:
        app_id = add_app(conn, "shop", a_function("a"))
        functions.save_functions(conn, app_id, [], after(60))

        functions.save_functions(conn, app_id, [a_function("a")], after(120))

        assert ({"a": 2}, ["a"]) == (versions(conn), listening(conn, "shop/order.paid"))


def test_the_functions_of_other_apps_are_left_alone(database: Database) -> None:
    with database.write() as conn:
        shop, bank = add_app(conn, "shop", a_function("a")), add_app(conn, "bank", a_function("b"))

        functions.save_functions(conn, shop, [], after(60))

        assert [[], ["b"]] == [[it.slug for it in functions.functions_of(conn, app)] for app in (shop, bank)]


def test_a_slug_belongs_to_one_app(database: Database) -> None:
    with database.write() as conn:
        add_app(conn, "shop", a_function("a"))

    with pytest.raises(IntegrityError), database.write() as conn:
        add_app(conn, "bank", a_function("a"))


def test_an_archived_app_is_out_of_service_and_can_be_declared_again(database: Database) -> None:
    with database.write() as conn:
        app_id = add_app(conn, "shop", a_function("a"))
        functions.archive_app(conn, app_id, after(60))

        assert ([], {}, []) == (functions.all_apps(conn), versions(conn), listening(conn, "shop/order.paid"))
        assert functions.app_by_name(conn, "shop") is not None

        functions.save_app(conn, app_id, {"archived_at": None}, after(120))
        functions.save_functions(conn, app_id, [a_function("a")], after(120))
        assert ({"a": 2}, ["a"]) == (versions(conn), listening(conn, "shop/order.paid"))


def test_an_event_reaches_its_name_and_the_wildcards_over_it(database: Database) -> None:
    patterns = ("shop/order.paid", "shop/order.*", "shop/*", "shop/order", "*", "shop/order.paid.*", "bank/*")

    with database.write() as conn:
        add_app(conn, "shop", *(a_function(pattern, pattern) for pattern in patterns))

        assert ["shop/*", "shop/order.*", "shop/order.paid"] == listening(conn, "shop/order.paid")
        assert [] == listening(conn)


def test_listeners_come_by_slug_and_then_in_the_order_of_their_triggers(database: Database) -> None:
    triggers = (Trigger(event="b", expression="event.data.n > 1"), Trigger(cron="* * * * *"), Trigger(event="a"))

    with database.write() as conn:
        add_app(conn, "shop", a_function("z", "a"), a_function("y", triggers=triggers))

        found = functions.listeners(conn, ["a", "b", "a"])

    y, z = named_uuid("function", "y"), named_uuid("function", "z")
    expected = [
        Listener("b", "event.data.n > 1", y, "y", 1),
        Listener("a", None, y, "y", 1),
        Listener("a", None, z, "z", 1),
    ]
    assert expected == found


@pytest.mark.parametrize(("name", "expected"), [("a/b", True), ("a/c", True), ("b/b", False), ("a", False)])
def test_whether_anyone_listens_is_told_for_wildcards_too(database: Database, name: str, expected: bool) -> None:
    with database.write() as conn:
        add_app(conn, "shop", a_function("f", "a/*"))

        assert expected is functions.anyone_listens(conn, name)


def test_nobody_listens_to_what_only_archived_functions_did(database: Database) -> None:
    with database.write() as conn:
        functions.archive_app(conn, add_app(conn, "shop", a_function("f", "a")), NOW)

        assert not functions.anyone_listens(conn, "a")


def test_saving_an_app_writes_what_is_told_and_keeps_the_rest(database: Database) -> None:
    with database.write() as conn:
        functions.save_app(conn, "id", {"name": "shop", "url": "http://shop", "framework": "flask"}, NOW)
        functions.save_app(conn, "id", {"error": "refused", "synced_at": after(1)}, after(1))

        [app] = functions.all_apps(conn)
        assert ("shop", "flask", "refused", after(1)) == (app.name, app.framework, app.error, app.synced_at)
        assert app == functions.app_by_name(conn, "shop")
        assert None is functions.app_by_name(conn, "bank")


def test_apps_are_told_in_the_order_of_their_coming(database: Database) -> None:
    with database.write() as conn:
        for at, name in enumerate(("shop", "bank", "post")):
            add_app(conn, name, now=after(at))

        assert ["shop", "bank", "post"] == [app.name for app in functions.all_apps(conn)]


def test_only_the_unnamed_app_of_the_url_is_forgotten(database: Database) -> None:
    with database.write() as conn:
        for app_id, name, url in (("1", None, "http://a"), ("2", None, "http://b"), ("3", "shop", "http://a")):
            functions.save_app(conn, app_id, {"name": name, "url": url}, NOW)

        functions.forget_unnamed(conn, "http://a")

        assert ["2", "3"] == sorted(app.id for app in functions.all_apps(conn))
        assert {"apps": 2} == counts(conn)

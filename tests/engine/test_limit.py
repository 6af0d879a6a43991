"""What an operator wants of a limit counts at once, stays through syncs, and is kept with who wanted it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, select

from orchestrator.core.override import Overrides, Starts
from orchestrator.engine.limit import StartsWithin, change, set_concurrency
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.protocol.function_config import read_function
from orchestrator.store import allowances, functions, overrides
from orchestrator.store.database import Database
from orchestrator.store.functions import Declared
from orchestrator.store.tables import audit
from tests.engine.flows import Flows, a_function
from tests.store.factories import PATIENCE

SLUG = "app-fn"
TWO = [{"limit": 2}, {"limit": 1, "key": "event.data"}]


def noted(database: Database) -> list[tuple[str, str, str | None, Any]]:
    with database.read() as conn:
        rows = conn.execute(select(audit).order_by(audit.c.id))
        return [(row.action, row.subject, row.actor, orjson.loads(row.data)) for row in rows]


def allowed(database: Database) -> list[int]:
    with database.read() as conn:
        found = functions.function(conn, SLUG)
        assert found is not None
        return [it.allowed for it in allowances.of_function(conn, found.id)]


def test_each_change_of_a_limit_is_noted_with_what_was_before_and_by_whom(database: Database) -> None:
    flows = Flows(database, a_function(concurrency=[{"limit": 2}]))

    set_concurrency(flows.parts, SLUG, 5, None, "ann")
    set_concurrency(flows.parts, SLUG, None, None, "ben")

    assert [
        ("concurrency set", SLUG, "ann", {"before": 2, "after": 5, "key": None}),
        ("concurrency set", SLUG, "ben", {"before": 5, "after": None, "key": None}),
    ] == noted(database)
    assert [2] == allowed(database)


def test_what_an_operator_wants_stays_through_a_sync(database: Database) -> None:
    flows = Flows(database, a_function(concurrency=TWO))
    set_concurrency(flows.parts, SLUG, 7, "event.data")

    flows.declare(a_function(concurrency=[{"limit": 3}, TWO[1]]))

    assert [3, 7] == allowed(database)


def test_a_limit_on_a_function_without_one_is_noted_and_goes_with_its_end(database: Database) -> None:
    flows = Flows(database, a_function())

    set_concurrency(flows.parts, SLUG, 4, None, "ann")
    imposed = allowed(database)
    set_concurrency(flows.parts, SLUG, None, None, "ann")

    assert ([4], []) == (imposed, allowed(database))
    assert [(None, 4), (4, None)] == [(data["before"], data["after"]) for *_, data in noted(database)]


@pytest.mark.parametrize("key", [None, "event.user"])
def test_a_limit_that_is_not_clear_is_refused_and_nothing_is_noted(database: Database, key: str | None) -> None:
    flows = Flows(database, a_function(concurrency=TWO))

    with pytest.raises(RequestError, match=r'the keys are "", "event\.data"'):
        set_concurrency(flows.parts, SLUG, 5, key)

    assert ([], [2, 1]) == (noted(database), allowed(database))


def test_what_does_not_exist_has_no_limit(database: Database) -> None:
    flows = Flows(database, a_function())

    with pytest.raises(NotFoundError):
        set_concurrency(flows.parts, "app-none", 5, None)


def meanwhile(database: Database, open_one: Callable[[Connection], object], other: Callable[[], object]) -> None:
    """Do the other thing while a transaction is open, which is committed when that has had to wait, or is done."""
    with ThreadPoolExecutor(1) as pool:
        with database.write() as conn:
            open_one(conn)
            running = pool.submit(other)
            wait([running], timeout=0.5)
        running.result(PATIENCE)


def test_what_an_operator_wants_while_an_app_is_synced_is_not_lost(concurrent: Database) -> None:
    flows = Flows(concurrent, a_function(concurrency=[{"limit": 2}]))
    with concurrent.read() as conn:
        [app] = functions.all_apps(conn)
    config = a_function(concurrency=[{"limit": 3}])
    function = replace(read_function(config, "the function"), slug=SLUG)
    declared = [Declared(function, orjson.dumps(config).decode(), "another")]

    meanwhile(
        concurrent,
        lambda conn: functions.save_functions(conn, app.id, declared, flows.clock.now()),
        lambda: set_concurrency(flows.parts, SLUG, 7, None),
    )

    assert [7] == allowed(concurrent)


def test_an_app_that_is_synced_while_an_operator_limits_it_is_limited_and_has_a_version_of_its_own(
    concurrent: Database,
) -> None:
    flows = Flows(concurrent, a_function())
    with concurrent.read() as conn:
        before = functions.function(conn, SLUG)
    assert before is not None

    meanwhile(
        concurrent,
        lambda conn: allowances.impose(conn, before.id, 4),
        lambda: flows.declare(a_function(retries=1)),
    )

    with concurrent.read() as conn:
        after = functions.function(conn, SLUG)
    assert after is not None
    assert ([4], 4, before.version + 2) == (allowed(concurrent), after.imposed, after.version)


def test_what_two_operators_want_of_starts_at_once_counts_both(concurrent: Database) -> None:
    flows = Flows(concurrent, a_function())
    ten = Starts(10, timedelta(minutes=1))

    def limit_both(conn: Connection) -> None:
        stored = functions.function(conn, SLUG, lock=True)
        assert stored is not None
        overrides.save(conn, stored.id, Overrides(throttle=ten), flows.clock.now())

    meanwhile(concurrent, limit_both, lambda: change(flows.parts, SLUG, [StartsWithin("rate_limit", ten)]))

    with concurrent.read() as conn:
        stored = functions.function(conn, SLUG)
    assert stored is not None
    assert Overrides(ten, ten) == overrides.read(stored.overrides)

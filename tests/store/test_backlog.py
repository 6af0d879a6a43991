"""What there is to do, counted by state, function and kind: exactly up to a bound, and soon beyond it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from orchestrator.core.concurrency import Pool
from orchestrator.ids import named_uuid
from orchestrator.store import backlog, jobs, pool_use, workers
from orchestrator.store.backlog import Named, Pile, Throttle
from orchestrator.store.database import Database
from orchestrator.store.workers import ALIVE, FORGOTTEN, Sign
from tests.store.factories import (
    NOW,
    UNTIL,
    a_function,
    a_step,
    add_app,
    add_job,
    add_run,
    add_steps,
    after,
    insert_rows,
)

OWN, SHARED = Pool("11:own", "limit", "ada"), Pool("13:shared", "limit", "")


def add_jobs(conn: Connection, number: int, prefix: str, **values: Any) -> None:
    row = {"kind": jobs.CALL, "state": jobs.READY, "run_at": NOW}
    insert_rows(conn, "jobs", [row | values | {"key": f"{prefix}:{at}"} for at in range(number)])


def add_pool(conn: Connection, pool: Pool, waiting: int, *, function_id: str | None, used: int = 1) -> None:
    row = {"key": pool.key, "limit_id": pool.limit_id, "value": pool.value, "turn": ""}
    insert_rows(conn, "pools", [row | {"used": used, "waiting": waiting, "function_id": function_id}])


def piles(found: list[Pile]) -> set[tuple[str | None, str, int]]:
    return {(it.function_id, it.kind, it.number) for it in found}


def test_jobs_that_are_due_are_counted_by_function_and_kind_and_those_of_later_apart(database: Database) -> None:
    with database.write() as conn:
        ours, others = add_run(conn, function_id="f"), add_run(conn, function_id="g")
        add_jobs(conn, 3, "ours", run_id=ours)
        add_jobs(conn, 1, "others", run_id=others)
        add_jobs(conn, 2, "match", kind=jobs.MATCH)
        add_jobs(conn, 4, "asleep", kind=jobs.WAKE, run_id=ours, run_at=after(1))

    with database.read() as conn:
        assert {("f", "call", 3), ("g", "call", 1), (None, "match", 2)} == piles(backlog.due(conn, NOW))
        assert {("f", "wake", 4)} == piles(backlog.later(conn, NOW))


def test_the_job_that_has_been_due_longest_tells_since_when(database: Database) -> None:
    with database.write() as conn:
        add_job(conn, "later", after(1))
        with_none_due = backlog.oldest_due(conn, NOW)
        add_job(conn, "first", after(-60))
        add_job(conn, "second", after(-5))
        add_jobs(conn, 1, "dead", state=jobs.DEAD, run_at=after(-99))

    with database.read() as conn:
        assert (None, after(-60)) == (with_none_due, backlog.oldest_due(conn, NOW))


def test_counting_stops_a_little_above_its_bound(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn, function_id="f")
        add_jobs(conn, backlog.MOST + 50, "due", run_id=run_id)
        add_jobs(conn, backlog.MOST + 50, "later", run_id=run_id, run_at=after(1))

    with database.read() as conn:
        assert [("f", "call", backlog.MOST + 1)] * 2 == [
            *piles(backlog.due(conn, NOW)),
            *piles(backlog.later(conn, NOW)),
        ]


def test_jobs_in_hand_are_told_with_their_owner_and_the_name_of_their_step(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn, function_id="f")
        add_steps(conn, run_id, a_step("s1", name="charge the card"))
        first = add_job(conn, "a", run_id=run_id, step_id="s1")
        second = add_job(conn, "b", run_id=run_id)
        jobs.lease(conn, [first], "ada", NOW, UNTIL)
        jobs.lease(conn, [second], "ben", NOW, UNTIL)

    with database.read() as conn:
        assert {("ada", "f", 1), ("ben", "f", 1)} == {
            (it.owner, it.function_id, it.number) for it in backlog.leased(conn)
        }
        told = [(it.id, it.owner, it.run_id, it.step, it.function_id) for it in backlog.leases(conn, 10)]
        assert [(first, "ada", run_id, "charge the card", "f"), (second, "ben", run_id, None, "f")] == told
        assert 1 == len(backlog.leases(conn, 1))


def test_parked_jobs_are_counted_by_their_pools_and_one_by_one_where_functions_share_one(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn, function_id="g")
        add_pool(conn, OWN, 70_000, function_id="f")
        add_pool(conn, SHARED, 2, function_id=None)
        add_jobs(conn, 2, "parked", state=jobs.WAITING, waits_at=SHARED.key, lane="l", rank=0, run_id=run_id)

    with database.read() as conn:
        found, exact = backlog.parked(conn)

    assert ({("f", "call", 70_000), ("g", "call", 2)}, True) == (piles(found), exact)


def test_more_parked_jobs_of_a_shared_pool_than_are_counted_are_said_to_be_more(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn, function_id="g")
        add_pool(conn, SHARED, backlog.MOST + 9, function_id=None)
        parked = {"state": jobs.WAITING, "waits_at": SHARED.key, "lane": "l", "rank": 0}
        add_jobs(conn, backlog.MOST + 9, "parked", run_id=run_id, **parked)

    with database.read() as conn:
        found, exact = backlog.parked(conn)

    assert ({("g", "call", backlog.MOST + 1)}, False) == (piles(found), exact)


def test_held_jobs_are_told_by_what_holds_them_and_throttles_by_their_longest_queues(database: Database) -> None:
    with database.write() as conn:
        throttled = [add_run(conn, function_id="f") for _ in range(3)]
        paused = add_run(conn, function_id="g")
        for at, run_id in enumerate([*throttled, paused]):
            add_jobs(conn, 1, f"held{at}", state=jobs.HELD, run_id=run_id)
        row = {"at": NOW, "position": NOW, "let_go": False}
        gates = ["throttle:a", "throttle:a", "throttle:b"]
        places = [row | {"run_id": run_id, "gate": gate} for run_id, gate in zip(throttled, gates, strict=True)]
        insert_rows(conn, "throttled", places)
        add_job(conn, "throttle:a", after(7), "throttle")

    with database.read() as conn:
        found, queues = backlog.held(conn, 5)
        _, longest = backlog.held(conn, 1)

    assert {("f", "throttle", 3), ("g", "pause", 1)} == piles(found)
    assert [Throttle("f", "throttle:a", 2, after(7)), Throttle("f", "throttle:b", 1)] == queues
    assert queues[:1] == longest


def test_bursts_and_batches_that_wait_are_counted_by_function(database: Database) -> None:
    with database.write() as conn:
        gate = {"state": "{}", "expires_at": None}
        waiting = {"debounce:1": "f", "debounce:2": "f", "batch:1": "g", "throttle:1": "g"}
        insert_rows(conn, "gates", [gate | {"key": key, "function_id": it} for key, it in waiting.items()])
        insert_rows(conn, "gates", [{"key": "batch:2", "function_id": "g", "expires_at": NOW}])

    with database.read() as conn:
        assert {("f", "debounce", 2), ("g", "batch", 1)} == piles(backlog.open_gates(conn))


def test_the_most_crowded_pools_are_told_with_limit_value_room_and_who_is_in_the_way(database: Database) -> None:
    with database.write() as conn:
        limit = {"position": 0, "scope": "fn", "whole_run": False, "key": "event.data.user"}
        rows = [("f", 3, None), ("g", 3, 5)]
        limits = [limit | {"id": "limit", "function_id": it, "declared": n, "override": o} for it, n, o in rows]
        insert_rows(conn, "concurrency_limits", limits)
        add_pool(conn, OWN, 9, function_id="g", used=2)
        add_pool(conn, Pool("11:less", "limit", "ben"), 8, function_id="f")
        add_pool(conn, Pool("11:free", "limit", "eve"), 0, function_id="f")
        in_the_way = [add_run(conn) for _ in range(5)]
        insert_rows(conn, "slots", [{"pool": OWN.key, "run_id": it, "job_id": 1, "since": NOW} for it in in_the_way])

    with database.read() as conn:
        first, second = pool_use.crowds(conn, 5)
        assert [first] == pool_use.crowds(conn, 1)

    assert ("event.data.user", "ada", "g", 2, 9, 5) == (
        *(first.expression, first.value, first.function_id),
        *(first.used, first.waiting, first.allowed),
    )
    assert ((*in_the_way[:3],), "ben", 3, ()) == (first.run_ids, second.value, second.allowed, second.run_ids)


def test_a_pool_whose_limit_is_gone_allows_any_number(database: Database) -> None:
    with database.write() as conn:
        add_pool(conn, OWN, 1, function_id="f")

    with database.read() as conn:
        [crowd] = pool_use.crowds(conn, 5)

    assert (None, None) == (crowd.allowed, crowd.expression)


def test_dead_jobs_are_counted_up_to_the_bound(database: Database) -> None:
    with database.write() as conn:
        add_jobs(conn, 3, "dead", state=jobs.DEAD)

    with database.read() as conn:
        assert 3 == backlog.dead(conn)


def test_functions_are_named_and_those_that_are_gone_are_left_out(database: Database) -> None:
    with database.write() as conn:
        add_app(conn, "shop", a_function("shop-pay"))
        known = named_uuid("function", "shop-pay")

    with database.read() as conn:
        assert {known: Named(known, "shop-pay", "shop-pay")} == backlog.names(conn, {known, "gone"})
        assert {} == backlog.names(conn, set())


def test_workers_that_were_killed_are_known_for_a_while(database: Database) -> None:
    ages = {"alive": ALIVE / 2, "killed": ALIVE * 2, "long gone": FORGOTTEN * 2}
    with database.write() as conn:
        for owner, age in ages.items():
            workers.give(conn, Sign(owner, "host", 1, 100, "0.1", NOW, NOW - age))

    with database.read() as conn:
        assert {"alive", "killed"} == {it.owner for it in workers.known(conn, NOW)}
        assert {"alive"} == {it.owner for it in workers.alive(conn, NOW)}

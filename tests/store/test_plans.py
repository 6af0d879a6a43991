"""Plans: no query of a loop reads a whole table, however full it is; on PostgreSQL not even with a generic plan."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection, select, update

from orchestrator.core.effect import Finish, Status
from orchestrator.core.function import Timeouts
from orchestrator.core.run import Run
from orchestrator.ids import new_ulid
from orchestrator.store import (
    admissions,
    allowances,
    batches,
    chores,
    cure,
    dead,
    due,
    events,
    functions,
    gates,
    held,
    history,
    jobs,
    keys,
    losses,
    orders,
    overrides,
    parked,
    pauses,
    reruns,
    retention,
    run_timeouts,
    runs,
    slots,
    steps,
    tasks,
    throttles,
    timers,
    tokens,
    waits,
)
from orchestrator.store.database import Database
from orchestrator.store.ends import END, StepEnd, values_of, write_all
from orchestrator.store.hits import HIT
from orchestrator.store.jobs import Lease
from orchestrator.store.postgresql_groups import ENDS, LIMITED_ENDS, STEPS, Done, End, ends_values, steps_values
from orchestrator.store.postgresql_slots import ENTER, Entering
from orchestrator.store.postgresql_slots import values_of as entering_values
from orchestrator.store.slots import Changes
from orchestrator.store.tables import metadata
from tests.store.factories import BY, NOW, UNTIL, a_step, after, an_event
from tests.store.plans import NEEDS, REGISTRY, RUN, WAITING_AT, analyze, crowd, scans, statements

LEASE = Lease(7, 1, jobs.CALL, "call:7", RUN)
LEASED = Lease(8, 1, jobs.CALL, "call:7", RUN)
LOST = Lease(7, 1, jobs.CALL, "call:7", RUN, until=UNTIL)
CHANGES = Changes({"11:7": 1, "11:8": 1}, {"11:9": 1})
QUERIES: dict[str, Callable[[Connection], object]] = {
    "lease": lambda conn: jobs.lease(conn, list(range(2, 40)), "w", NOW, UNTIL),
    "ready_for_matching": lambda conn: jobs.ready_for_matching(conn, 7),
    "take_match": lambda conn: jobs.take_match(conn, 7),
    "held": lambda conn: jobs.held(conn, LEASE),
    "held_with_run": lambda conn: jobs.held_with_run(conn, LEASE),
    "reset": lambda conn: jobs.reset(conn, LEASE),
    "retry": lambda conn: jobs.retry(conn, LEASE, NOW, 1, "{}"),
    "claim task": lambda conn: tasks.claim(conn, "call:7", 0, "w", UNTIL),
    "sent": lambda conn: tasks.sent(conn, LEASE, NOW, "0:1"),
    "release": lambda conn: jobs.release(conn, LEASE, NOW),
    "end": lambda conn: jobs.end(conn, LEASE),
    "once_more": lambda conn: jobs.once_more(conn, LEASE),
    "mark_again": lambda conn: jobs.mark_again(conn, "call:7"),
    "end_all_of_run": lambda conn: jobs.end_all_of_run(conn, RUN),
    "extend": lambda conn: jobs.extend(conn, [LEASE, Lease(19_001, 1, jobs.CALL, "k")], UNTIL),
    "due": lambda conn: due.due(conn, NOW, NOW, 500),
    "due of a time": lambda conn: due.due(conn, NOW, NOW, 500, since=after(-100)),
    "announced": lambda conn: due.announced(conn, list(range(2, 502)), NOW),
    "lost": lambda conn: losses.lost(conn, NOW, ["dead"]),
    "recover": lambda conn: losses.recover(conn, LOST, NOW),
    "bury": lambda conn: losses.bury(conn, LEASE, "why"),
    "owners": lambda conn: losses.owners(conn),
    "backlog": lambda conn: due.backlog(conn, NOW),
    "claim": lambda conn: keys.claim(conn, ("k",), "v", NOW, UNTIL),
    "expire": lambda conn: keys.expire(conn, NOW, most=10),
    "accept": lambda conn: events.accept(conn, [an_event(external_id="x")], NOW),
    "load events": lambda conn: events.load(conn, [new_ulid(), new_ulid()]),
    "warn": lambda conn: events.warn(conn, new_ulid(), "why"),
    "page of events": lambda conn: events.page(conn, limit=20, before=new_ulid()),
    "page of one name": lambda conn: events.page(conn, limit=20, name="e7"),
    "load run": lambda conn: runs.load(conn, RUN),
    "memo_until": lambda conn: steps.memo_until(conn, RUN, 3),
    "hit pauses": lambda conn: hit_pauses(conn),
    "steps of several runs": lambda conn: store_steps(conn),
    "ends of several runs": lambda conn: end_runs(conn),
    "end steps": lambda conn: end_steps(conn),
    "lock run": lambda conn: runs.lock(conn, RUN, ["s1", "s2"]),
    "start": lambda conn: runs.start(conn, RUN, NOW),
    "set_counts": lambda conn: runs.set_counts(conn, Run(RUN)),
    "set_request_version": lambda conn: runs.set_request_version(conn, RUN, 1),
    "finish": lambda conn: runs.finish(conn, RUN, Status.COMPLETED, None, None, NOW),
    "runs of events": lambda conn: runs.of_events(conn, [new_ulid(), new_ulid()]),
    "memos": lambda conn: steps.memos(conn, RUN),
    "save steps": lambda conn: steps.save(conn, RUN, [a_step("s1", fresh=False), a_step("new")], NOW),
    "deferred": lambda conn: steps.deferred(conn, RUN, 20),
    "step": lambda conn: steps.get(conn, RUN, "s1"),
    "steps of run": lambda conn: steps.of_run(conn, RUN),
    "history of run": lambda conn: history.of_run(conn, RUN),
    "listeners": lambda conn: functions.listeners(conn, ["e7/a.b", "e8"]),
    "anyone_listens": lambda conn: functions.anyone_listens(conn, "e7/a.b"),
    "function": lambda conn: functions.function(conn, "f7"),
    "overrides": lambda conn: overrides.hurry(conn, "f7", NOW),
    "set_wait_look_back": lambda conn: functions.set_wait_look_back(conn, "f7", True),
    "events since": lambda conn: events.since(conn, "e7", RUN, 100),
    "anyone_waits": lambda conn: pauses.anyone_waits(conn, "e7"),
    "paths": lambda conn: pauses.paths(conn, "e1"),
    "candidates": lambda conn: pauses.candidates(conn, "e1", '["data","n"]', "n:7", NOW, RUN),
    "pause": lambda conn: pauses.get(conn, RUN),
    "pause of step": lambda conn: pauses.of_step(conn, RUN, "s1", pauses.EVENT),
    "take": lambda conn: pauses.take(conn, [RUN, new_ulid()]),
    "take_signal": lambda conn: pauses.take_signal(conn, "signal"),
    "give_up_signal": lambda conn: pauses.give_up_signal(conn, "signal"),
    "close": lambda conn: pauses.close(conn, RUN, "s1"),
    "close_all_of_run": lambda conn: pauses.close_all_of_run(conn, RUN),
    "enter": lambda conn: slots.enter(conn, LEASED, "f7", NEEDS, NOW, 0),
    "enter together": lambda conn: enter_together(conn),
    "ends that give slots back": lambda conn: end_runs(conn, LIMITED_ENDS),
    "leave": lambda conn: slots.leave(conn, RUN, 7),
    "give_way": lambda conn: slots.give_way(conn, LEASED, NEEDS, 0),
    "end_runs": lambda conn: slots.end_runs(conn, [RUN], None, []),
    "let_go": lambda conn: slots.let_go(conn, LEASED),
    "extend slots": lambda conn: slots.extend(conn, "w", [LEASED], NOW),
    "anyone_waits for a slot": lambda conn: slots.anyone_waits(conn, NEEDS),
    "change pools": lambda conn: CHANGES.write(conn),
    "admit": lambda conn: parked.admit(conn, WAITING_AT, NOW, 20),
    "abandoned": lambda conn: cure.abandoned(conn, NOW, ["dead"]),
    "stuck": lambda conn: cure.stuck(conn),
    "recount": lambda conn: cure.recount(conn, [WAITING_AT, "11:8"]),
    "allowances": lambda conn: allowances.of_functions(conn, ["f7", "f8"]),
    "allowances of one": lambda conn: allowances.of_function(conn, "f7"),
    "waits": lambda conn: [waits.calls(conn, it) for it in [runs.get(conn, RUN)] if it],
    "place at a throttle": lambda conn: [waits.throttled(conn, it) for it in [runs.get(conn, RUN)] if it],
    "event waits": lambda conn: [waits.event_waits(conn, it) for it in [runs.get(conn, RUN)] if it],
    "lock gates": lambda conn: gates.lock(conn, {"rate:7": "f7", "rate:9": "f7"}, NOW),
    "get gate": lambda conn: gates.get(conn, "rate:7"),
    "time of timer": lambda conn: timers.at(conn, "call:0"),
    "save gate": lambda conn: gates.save(conn, "rate:7", "{}", NOW),
    "expire gates": lambda conn: gates.expire(conn, NOW, most=10),
    "admissions": lambda conn: admissions.between(conn, "rate:7", range(3, 5)),
    "add admissions": lambda conn: admissions.add(conn, "rate:7", {9_999: NOW}, 3),
    "timer": lambda conn: timers.get(conn, 7),
    "wind": lambda conn: timers.wind(conn, gates.DEBOUNCE, "call:0", NOW),
    "end timer": lambda conn: timers.end(conn, "call:0"),
    "events of batch": lambda conn: batches.payloads(conn, RUN),
    "ids of batch": lambda conn: batches.event_ids(conn, RUN),
    "active": lambda conn: runs.active(conn, "singleton:7"),
    "ahead": lambda conn: throttles.ahead(conn, "throttle:7"),
    "any_before": lambda conn: throttles.any_before(conn, "throttle:7", NOW, NOW),
    "first": lambda conn: throttles.first(conn, "throttle:7", NOW, 100),
    "earliest": lambda conn: throttles.earliest(conn, "throttle:7"),
    "let_go of throttled": lambda conn: throttles.let_go(conn, [RUN, new_ulid()], NOW),
    "gate_of": lambda conn: throttles.gate_of(conn, RUN),
    "forget": lambda conn: throttles.forget(conn, RUN),
    "forget_over": lambda conn: throttles.forget_over(conn, "throttle:7"),
    "free": lambda conn: held.free(conn, list(range(2, 40)), NOW),
    "hold": lambda conn: held.hold(conn, LEASE),
    "set_paused": lambda conn: functions.set_paused(conn, "f7", NOW),
    "held for a pause": lambda conn: held.of_function(conn, "f7", 100),
    "throttles of function": lambda conn: held.throttles_of(conn, "f7"),
    "is_paused": lambda conn: functions.is_paused(conn, "f7"),
    "drop_timeout": lambda conn: pauses.drop_timeout(conn, RUN, "s1"),
    "overdue": lambda conn: run_timeouts.overdue(conn, RUN, NOW),
    "begin": lambda conn: run_timeouts.begin(conn, RUN, Timeouts(NOW - NOW), NOW),
    "order": lambda conn: orders.get(conn, RUN),
    "page of orders": lambda conn: orders.page(conn, limit=20, before=RUN),
    "page of cancellations": lambda conn: orders.page(conn, limit=20, before=RUN, asked=True),
    "progress": lambda conn: orders.progress(conn, RUN, "x", 1, 1, None),
    "stop order": lambda conn: orders.stop(conn, RUN, NOW),
    "remove order": lambda conn: orders.remove(conn, RUN),
    "runs by ids": lambda conn: runs.some(conn, [RUN, new_ulid()]),
    "rerun": lambda conn: reruns.get(conn, RUN),
    "reruns": lambda conn: reruns.of(conn, RUN),
    "step by name": lambda conn: steps.found(conn, RUN, "a step"),
    "take over": lambda conn: steps.take_over(conn, RUN, new_ulid(), 5),
    "lock_live": lambda conn: runs.lock_live(conn, [RUN, new_ulid()]),
    "cancel_all": lambda conn: runs.cancel_all(conn, [RUN, new_ulid()], NOW),
    "end_all_of_runs": lambda conn: jobs.end_all_of_runs(conn, [RUN, new_ulid()]),
    "find runs": lambda conn: retention.find_runs(conn, "0" * 26, UNTIL, NOW),
    "free runs": lambda conn: retention.free_runs(conn, [RUN, new_ulid()], UNTIL),
    "find events": lambda conn: retention.find_events(conn, "0" * 26, UNTIL, NOW),
    "free events": lambda conn: retention.free_events(conn, [RUN, new_ulid()], UNTIL),
    "find dead jobs": lambda conn: retention.find_dead_jobs(conn, "0", UNTIL, NOW),
    "free dead jobs": lambda conn: retention.free_dead_jobs(conn, ["1", "2"], UNTIL),
    "find orders": lambda conn: retention.find_orders(conn, "0" * 26, UNTIL, NOW),
    "free orders": lambda conn: retention.free_orders(conn, [RUN, new_ulid()], UNTIL),
    "find tokens": lambda conn: retention.find_tokens(conn, "0" * 26, UNTIL, NOW),
    "free tokens": lambda conn: retention.free_tokens(conn, [RUN, new_ulid()], UNTIL),
    "used token": lambda conn: tokens.used(conn, RUN, NOW, NOW),
    "revoke token": lambda conn: tokens.revoke(conn, RUN, NOW),
    "find audit": lambda conn: retention.find_audit(conn, "0", UNTIL, NOW),
    "free audit": lambda conn: retention.free_audit(conn, ["1", "2"], UNTIL),
    "dead job": lambda conn: dead.get(conn, 7),
    "page of dead jobs": lambda conn: dead.page(conn, limit=20, before=70),
    "newest dead jobs": lambda conn: dead.page(conn, limit=20),
    "count dead jobs": lambda conn: dead.count(conn),
    "revive": lambda conn: dead.revive(conn, dead.DeadJob(7, "match", None, None, None, [], 0, None, NOW), NOW),
    "drop": lambda conn: dead.drop(conn, 7),
    "chore": lambda conn: chores.read(conn, chores.RETENTION),
    "take chore": lambda conn: chores.take(conn, chores.Chore("c7", NOW), UNTIL),
    "note chore": lambda conn: chores.note(conn, chores.Chore("c7", NOW), UNTIL),
    "close_all_of_runs": lambda conn: pauses.close_all_of_runs(conn, [RUN, new_ulid()]),
}


def hit_pauses(conn: Connection) -> None:
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(HIT, {"matches": [7, 8], "rows": "[]", "now": NOW})
    else:
        pauses.take(conn, [RUN])


def end_steps(conn: Connection) -> None:
    ended = [StepEnd(Lease(number, 1, jobs.CALL, "k", RUN, "s1"), a_step("s1"), BY) for number in (8, 28)]
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(END, values_of(ended))
    else:
        write_all(conn, ended)


def store_steps(conn: Connection) -> None:
    done = [Done(Lease(number, 1, jobs.CALL, "k", RUN), a_step(f"new{number}"), 9, NOW) for number in (7, 27)]
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(STEPS, steps_values(done))
    else:
        steps.save(conn, RUN, [one.step for one in done], NOW)


def enter_together(conn: Connection) -> None:
    if conn.dialect.name == "postgresql":
        entering = [Entering(Lease(number, 1, jobs.CALL, "k", RUN), "f7", NEEDS, NOW, 0, True) for number in (7, 27)]
        conn.exec_driver_sql(ENTER, entering_values(entering))
    else:
        slots.enter(conn, LEASED, "f7", NEEDS, NOW, 0, begins=True)


def end_runs(conn: Connection, statement: str = ENDS) -> None:
    finish = Finish(Status.COMPLETED, "1")
    ends = [End(RUN, Lease(number, 1, jobs.CALL, "k", RUN), finish, [an_event()], NOW) for number in (7, 27)]
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql(statement, ends_values(ends))
    else:
        runs.finish(conn, RUN, Status.COMPLETED, None, None, NOW)


def test_no_query_of_a_loop_reads_a_whole_table(database: Database) -> None:
    with database.write() as conn:
        crowd(conn)
        analyze(conn)

    with database.write() as conn:
        said = {name: statements(conn, query) for name, query in QUERIES.items()}
        found = {name: [scans(conn, *it) for it in asked] for name, asked in said.items()}

    read_whole = {name: {table for tables in asked for table in tables} for name, asked in found.items()}
    assert {} == {name: tables for name, tables in read_whole.items() if tables - REGISTRY.get(name, set())}
    assert all(said.values())


def test_a_query_that_reads_a_whole_table_would_be_noticed(database: Database) -> None:
    table = metadata.tables["jobs"]

    def scan(conn: Connection) -> None:
        conn.execute(select(table.c.id).where(table.c.payload == "x"))

    with database.write() as conn:
        assert [["jobs"]] == [scans(conn, *asked) for asked in statements(conn, scan)]


#: They look for what is due, and for nothing else.
BY_TIME = {"due", "due of a time", "backlog"}


def test_a_job_that_is_known_is_not_looked_for_among_all_that_became_due_since_statistics_were_made(
    database: Database,
) -> None:
    if database.kind != "postgresql":
        pytest.skip("only PostgreSQL has an index of ready jobs by their time alone")
    with database.write() as conn:
        crowd(conn)
        conn.execute(update(metadata.tables["jobs"]).where(jobs.IS_READY).values(run_at=NOW + timedelta(days=9)))
        analyze(conn)
        conn.execute(update(metadata.tables["jobs"]).where(jobs.IS_READY).values(run_at=NOW - timedelta(days=9)))

    with database.write() as conn:
        said = {name: statements(conn, query) for name, query in QUERIES.items()}
        found = {
            name
            for name, asked in said.items()
            for statement, values in asked
            if any("ix_jobs_ready" in str(row) for row in conn.exec_driver_sql(f"EXPLAIN {statement}", values))
        }

    assert BY_TIME == found

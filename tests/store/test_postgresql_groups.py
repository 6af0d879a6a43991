"""Steps and ends of several runs in one statement mean what each means alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest

from orchestrator.core.effect import Continue, Finish, SaveStep, Status
from orchestrator.core.event import Ending, Event, ending_events
from orchestrator.core.failure import fingerprint
from orchestrator.core.run import Decision, Run
from orchestrator.ids import new_ulid
from orchestrator.store import jobs, runs, schema, steps
from orchestrator.store.database import Database
from orchestrator.store.jobs import Lease
from orchestrator.store.postgresql import HotPath
from orchestrator.store.postgresql_groups import ENDS, STEPS, Done, End, ends_values, steps_values
from orchestrator.store.tables import events as events_table
from orchestrator.store.tables import jobs as jobs_table
from orchestrator.store.tables import runs as runs_table
from tests.services import own_database
from tests.store.factories import NOW, UNTIL, a_function, a_step, add_app, add_run, after, at_once

COUNT = 24


@pytest.fixture
def database() -> Iterator[Database]:
    with own_database("postgresql") as url:
        schema.upgrade(url)
        opened = Database(url)
        yield opened
        opened.close()


@pytest.fixture
def hot(database: Database) -> HotPath:
    assert database.hot is not None
    return database.hot


def called(database: Database, count: int) -> list[Lease]:
    """The leases of the calls of so many runs."""
    with database.write() as conn:
        ids = [add_run(conn) for _ in range(count)]
        return [jobs.add_leased(conn, jobs.CALL, f"call:{it}", it, "worker", NOW, UNTIL) for it in ids]


def lost(lease: Lease) -> Lease:
    return replace(lease, generation=lease.generation - 1)


def done(lease: Lease, step_id: str = "s", seq: int = 1, **values: Any) -> Done:
    return Done(lease, a_step(step_id, attempts=1, started_at=NOW, **values), seq, after(1))


def end(lease: Lease, number: int) -> End:
    run_id = lease.run_id or ""
    return End(run_id, lease, Finish(Status.COMPLETED, f'{{"n":{number}}}'), ending(run_id), after(2))


def ending(run_id: str) -> list[Event]:
    told = Ending("shop-pay", run_id, "completed", ['{"name":"e"}'], "1", None, None)
    return ending_events(told, "e", after(2), (new_ulid(), new_ulid()))


def test_steps_of_many_runs_are_stored_together_but_not_those_of_lost_leases(database: Database, hot: HotPath) -> None:
    leases = called(database, 4)
    memo = '{"data":{"big":9007199254740993,"nul":"\\u0000","half":"\\ud800","ü":"😀", "sp" : 1.0e+2 }}'
    leases[2] = lost(leases[2])

    rows = hot.run(STEPS, steps_values([done(lease, memo=memo) for lease in reversed(leases)]))

    assert {0, 2, 3} == {row[0] for row in rows}
    with database.read() as conn:
        stored = [steps.of_run(conn, lease.run_id or "") for lease in leases]
    assert [1, 1, 0, 1] == [len(of_run) for of_run in stored]
    [step] = stored[0]
    assert (1, memo, 1, NOW, after(1)) == (step.seq, step.memo, step.attempts, step.started_at, step.ended_at)


def test_a_statement_that_comes_twice_stores_a_step_once_and_says_that_it_is(database: Database, hot: HotPath) -> None:
    [lease, other] = called(database, 2)

    first = hot.run(STEPS, steps_values([done(lease), done(other)]))
    again = hot.run(STEPS, steps_values([done(lease, memo='{"data":"new"}'), done(other)]))

    assert {(0,), (1,)} == {tuple(row) for row in first} == {tuple(row) for row in again}
    with database.read() as conn:
        assert ['{"data":"s"}'] == [step.memo for step in steps.of_run(conn, lease.run_id or "")]


def test_ends_together_are_told_by_one_match_job_but_not_those_of_lost_leases(database: Database, hot: HotPath) -> None:
    leases = called(database, 4)
    leases[1] = lost(leases[1])
    with database.write() as conn:
        add_app(conn, "shop", a_function("shop-hears", "inngest/function.finished"))

    rows = hot.run(ENDS, ends_values([end(lease, number) for number, lease in enumerate(leases)]))

    assert {0, 2, 3} == {row[0] for row in rows}
    [match_job] = {row[1] for row in rows}
    with database.read() as conn:
        found = [runs.get(conn, lease.run_id or "") for lease in leases]
        left = {row.id: row for row in conn.execute(jobs_table.select())}
        told = conn.execute(events_table.select()).all()
    assert ["completed", "running", "completed", "completed"] == [run.status for run in found if run is not None]
    assert ['{"n":0}', None] == [run.output for run in found[:2] if run is not None]
    assert {leases[1].job_id, match_job} == set(left)
    assert 3 == len(told) == len(orjson.loads(left[match_job].payload))


def test_an_end_in_a_group_leaves_what_an_end_alone_leaves(database: Database, hot: HotPath) -> None:
    alone, *together = called(database, 3)
    run = Run(alone.run_id or "", last_seq=0)
    written = end(alone, 0)
    decision = Decision(run, (written.finish,), Continue())

    outcome = hot.settle(alone, run, decision, list(written.ending), after(2), limited=False)
    hot.run(ENDS, ends_values([end(lease, 0) for lease in together]))

    assert outcome is not None
    assert outcome.accepted
    with database.read() as conn:
        left = {_without_ids(runs.get(conn, lease.run_id or "")) for lease in (alone, *together)}
        assert [] == conn.execute(jobs_table.select()).all()
    assert 1 == len(left)


def test_runs_that_fail_carry_the_fingerprint_of_their_error_whether_they_end_alone_or_together(
    database: Database, hot: HotPath
) -> None:
    alone, *together = called(database, 4)
    finish = Finish(Status.FAILED, error='{"name":"OrderError","message":"order 7 is gone"}')
    failed = [replace(end(lease, 0), finish=finish) for lease in together[:2]]

    hot.settle(alone, Run(alone.run_id or ""), Decision(Run(""), (finish,), Continue()), [], after(2), limited=False)
    hot.run(ENDS, ends_values([*failed, end(together[2], 0)]))

    with database.read() as conn:
        rows = {row.id: row.failure for row in conn.execute(runs_table.select())}
    alike = fingerprint('{"name":"OrderError","message":"order 8 is gone"}')
    assert [alike] * 3 + [None] == [rows[lease.run_id] for lease in (alone, *together)]


def test_what_many_threads_do_at_once_is_written_in_groups_and_each_is_told_its_own(
    database: Database, hot: HotPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = called(database, COUNT)
    leases[3] = lost(leases[3])
    sent = list[str]()
    send = HotPath._send
    monkeypatch.setattr(HotPath, "_send", lambda *args: (sent.append(args[1]), send(*args))[1])

    def work(number: int) -> tuple[bool, ...]:
        lease, told = leases[number], list[bool]()
        run = Run(lease.run_id or "", last_seq=0)
        for decided in (a_step("one", memo="1"), end(lease, number).finish):
            effects: tuple[SaveStep | Finish, ...] = (decided,)
            outcome = hot.settle(
                lease, run, Decision(run, effects, Continue()), ending(run.id), after(1), limited=False
            )
            assert outcome is not None
            told.append(outcome.accepted)
        return tuple(told)

    results = at_once(*(partial(work, number) for number in range(COUNT)))

    assert [(number != 3,) * 2 for number in range(COUNT)] == results
    assert len(sent) < 2 * COUNT
    with database.read() as conn:
        assert COUNT - 1 == sum(len(steps.of_run(conn, lease.run_id or "")) for lease in leases)
        assert [leases[3].job_id] == [row.id for row in conn.execute(jobs_table.select())]


def _without_ids(run: runs.StoredRun | None) -> tuple[Any, ...]:
    assert run is not None
    return (run.status, run.output, run.error, run.ended_at, run.pending, run.open)


def test_moments_come_back_to_the_microsecond(database: Database, hot: HotPath) -> None:
    [lease, other] = called(database, 2)
    moment = after(1) + timedelta(microseconds=7)

    hot.run(STEPS, steps_values([replace(done(lease), now=moment), done(other)]))

    with database.read() as conn:
        [step] = steps.of_run(conn, lease.run_id or "")
    assert moment == step.ended_at

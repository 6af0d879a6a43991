"""Runs: one for each function and event, locked while something is decided, and ended once."""

from __future__ import annotations

import threading

from orchestrator.core.effect import Status, StepStatus
from orchestrator.core.run import Run, StepState
from orchestrator.ids import new_ulid
from orchestrator.store import events, functions, runs
from orchestrator.store.database import Database
from tests.store.factories import (
    NOW,
    PATIENCE,
    a_function,
    a_run,
    a_step,
    add_app,
    add_discovery,
    add_run,
    add_steps,
    after,
    an_event,
    at_once,
    counts,
)


def test_a_run_is_read_as_it_was_written(database: Database) -> None:
    new = a_run(status=Status.QUEUED, started_at=after(1))

    with database.write() as conn:
        runs.add(conn, [new])

        expected = runs.StoredRun(
            new.id, "f", 1, new.event_id, new.event_name, Status.QUEUED, 0, 0, -1, None, None, NOW, after(1), None
        )
        assert expected == runs.get(conn, new.id)
        assert None is runs.get(conn, new_ulid())


def test_a_functions_second_run_for_the_same_event_is_left_out(database: Database) -> None:
    first = a_run()
    second, other_function, other_event = (
        a_run(event_id=first.event_id),
        a_run(event_id=first.event_id, function_id="g"),
        a_run(),
    )

    with database.write() as conn:
        runs.add(conn, [first])
        runs.add(conn, [second, other_function, other_event])

        assert [first.id, other_function.id] == [run.id for run in runs.of_event(conn, first.event_id)]
        assert {"runs": 3} == counts(conn)


def test_of_many_who_start_the_same_run_at_once_one_does(database: Database) -> None:
    event_id = new_ulid()

    def start() -> None:
        with database.write() as conn:
            runs.add(conn, [a_run(event_id=event_id)])

    at_once(*[start] * 8)

    with database.read() as conn:
        assert 1 == len(runs.of_event(conn, event_id))


def test_the_runs_of_events_are_told_oldest_first(database: Database) -> None:
    first, second = a_run(), a_run()

    with database.write() as conn:
        runs.add(conn, [second, first, a_run()])

        found = runs.of_events(conn, [second.event_id, first.event_id, new_ulid()])
        assert sorted([first.id, second.id]) == [run.id for run in found]
        assert [] == runs.of_events(conn, [])


def test_a_run_is_loaded_with_what_calling_it_needs(database: Database) -> None:
    event = an_event()

    with database.write() as conn:
        app_id = add_app(conn, "shop", a_function("shop-pay"))
        [function] = functions.functions_of(conn, app_id)
        events.add(conn, [event], NOW)
        run_id = add_run(conn, function_id=function.id, event_id=event.id)
        loaded = runs.load(conn, run_id)
        functions.archive_app(conn, app_id, NOW)
        archived = runs.load(conn, run_id)

        run = runs.get(conn, run_id)
        assert run is not None
        assert runs.Loaded(run, "shop-pay", '{"id":"shop-pay"}', 1, False, event.wire()) == loaded
        assert archived is not None
        assert archived.archived
        assert None is runs.load(conn, new_ulid())


def test_a_locked_run_has_its_counts_and_the_states_of_the_steps_asked_for(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn)
        add_steps(conn, run_id, a_step("done"), a_step("open", StepStatus.PLANNED, counted=True), a_step("not asked"))
        runs.set_counts(conn, Run(run_id, pending=1, open=1, last_seq=2))

        states = {"done": StepState(StepStatus.COMPLETED), "open": StepState(StepStatus.PLANNED, counted=True)}
        expected = Run(run_id, Status.RUNNING, pending=1, open=1, step_count=3, last_seq=2, steps=states)
        assert expected == runs.lock(conn, run_id, ["done", "open", "unknown"])
        assert None is runs.lock(conn, new_ulid(), [])


def test_steps_memoised_without_a_word_to_the_run_count_where_nothing_is_open(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn)
        add_steps(conn, run_id, a_step("a"), a_step("b"))

        assert Run(run_id, step_count=2, last_seq=2) == runs.lock(conn, run_id, [])


def test_a_run_is_decided_on_by_one_at_a_time(database: Database) -> None:
    """Each of many adds one to what it read: nothing is lost, with or without a discovery job."""
    with database.write() as conn:
        plain, discovered = add_run(conn), add_run(conn)
        add_discovery(conn, discovered)

    def count_up(run_id: str) -> None:
        with database.write() as conn:
            run = runs.lock(conn, run_id, [])
            assert run is not None
            runs.set_counts(conn, Run(run_id, pending=run.pending + 1, open=run.open + 1))

    at_once(*[lambda: count_up(plain), lambda: count_up(discovered)] * 8)

    with database.read() as conn:
        assert [(8, 8)] * 2 == [(run.pending, run.open) for run in (runs.get(conn, plain), runs.get(conn, discovered))]  # type: ignore[union-attr]


def test_who_waits_for_the_lock_reads_what_was_written_meanwhile(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn)
        add_discovery(conn, run_id)
    asked, found = threading.Event(), list[Run | None]()

    def wait() -> None:
        asked.set()
        with database.write() as conn:
            found.append(runs.lock(conn, run_id, []))

    waiter = threading.Thread(target=wait)
    with database.write() as conn:
        runs.lock(conn, run_id, [])
        waiter.start()
        assert asked.wait(PATIENCE)
        runs.finish(conn, run_id, Status.FAILED, None, "{}", NOW)
        add_steps(conn, run_id, a_step("a"))
    waiter.join(PATIENCE)

    [run] = found
    assert run is not None
    assert (Status.FAILED, 1) == (run.status, run.step_count)


def test_a_run_starts_once(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn, status=Status.QUEUED)

        assert [True, False] == [runs.start(conn, run_id, after(1)), runs.start(conn, run_id, after(2))]

        run = runs.get(conn, run_id)
        assert run is not None
        assert (Status.RUNNING, after(1)) == (run.status, run.started_at)


def test_a_run_ends_once_and_the_first_end_stands(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn)
        runs.set_counts(conn, Run(run_id, pending=3, open=4))

        first = runs.finish(conn, run_id, Status.COMPLETED, '{"a":1}', None, after(1))
        second = runs.finish(conn, run_id, Status.FAILED, None, "{}", after(2))

        run = runs.get(conn, run_id)
        assert run is not None
        assert [True, False] == [first, second]
        assert (Status.COMPLETED, '{"a":1}', None, after(1)) == (run.status, run.output, run.error, run.ended_at)
        assert (0, 0) == (run.pending, run.open)
        assert not runs.start(conn, run_id, NOW)


def test_a_run_that_has_not_started_can_end(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn, status=Status.QUEUED)

        assert runs.finish(conn, run_id, Status.CANCELLED, None, None, NOW)


def test_the_apps_request_version_is_remembered(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn)
        runs.set_request_version(conn, run_id, 2)

        run = runs.get(conn, run_id)
        assert run is not None
        assert 2 == run.request_version

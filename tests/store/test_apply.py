"""Decisions into rows: all of a decision or nothing of it, and nothing at all for who has lost the lease."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection

from orchestrator.core.effect import (
    AddCall,
    AddWake,
    Continue,
    Discover,
    Effect,
    End,
    Finish,
    Record,
    Retry,
    SaveStep,
    Status,
    StepStatus,
    Then,
)
from orchestrator.core.run import Decision, Run
from orchestrator.ids import new_ulid
from orchestrator.store import events, history, jobs, losses, runs, steps
from orchestrator.store.apply import Applied, apply, call_key
from orchestrator.store.database import Database
from orchestrator.store.jobs import Hint, Lease
from tests.store.factories import (
    BY,
    NOW,
    UNTIL,
    a_function,
    a_step,
    add_app,
    add_discovery,
    add_job,
    add_run,
    add_steps,
    after,
    an_event,
    at_once,
    content,
    counts,
    job,
    lose,
    take,
)

DONE = Finish(Status.COMPLETED, output='{"a":1}')
END = End()


def write(
    conn: Connection, lease: Lease | None, run_id: str, *effects: Effect, then: Then = END, **values: Any
) -> Applied:
    """Apply a decision of these effects; values are the run's after it, `ending` its events."""
    ending = values.pop("ending", [])
    finish = next((effect for effect in effects if isinstance(effect, Finish)), None)
    status = finish.status if finish else Status.RUNNING
    decision = Decision(Run(run_id, status=status, **values), effects, then)
    return apply(conn, lease, Run(run_id), decision, ending, BY)


def a_called_run(conn: Connection) -> tuple[str, Lease]:
    run_id = add_run(conn)
    return run_id, add_discovery(conn, run_id)


def test_steps_counts_and_the_story_land_as_rows(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)
        effects = (a_step("a"), a_step("b", StepStatus.PLANNED), Record("attempt failed", "a", 0))

        assert write(conn, lease, run_id, *effects, pending=1, open=2).accepted

        run = runs.get(conn, run_id)
        assert run is not None
        assert (1, 2) == (run.pending, run.open)
        assert ["a", "b"] == [step.id for step in steps.of_run(conn, run_id)]
        assert ["attempt failed"] == [entry.kind for entry in history.of_run(conn, run_id)]
        assert {"runs": 1, "steps": 2, "history": 1} == counts(conn)


def test_a_known_step_is_updated(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)
        add_steps(conn, run_id, a_step("a", StepStatus.SLEEPING))

        write(conn, lease, run_id, SaveStep("a", "", "", StepStatus.COMPLETED, memo="null"))

        assert ["null"] == [memo.memo for memo in steps.memos(conn, run_id)]


def test_planned_steps_and_sleeps_get_jobs_that_are_announced(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)

        applied = write(conn, lease, run_id, AddCall("a"), AddCall("b"), AddWake("c", after(9)), open=3)

        found = [(job(conn, hint.job_id), hint) for hint in applied.hints]
        assert None is applied.lease
        assert [
            (jobs.CALL, f"step:{run_id}:a", "a", NOW),
            (jobs.CALL, f"step:{run_id}:b", "b", NOW),
            (jobs.WAKE, f"wake:{run_id}:c", "c", after(9)),
        ] == [(row.kind, row.key, row.step_id, row.run_at) for row, _ in found]
        assert [(run_id, hint.kind, hint.run_at) for _, hint in found] == [
            (row.run_id, row.kind, row.run_at) for row, _ in found
        ]


def test_who_continues_keeps_the_lease_with_no_attempts_behind_it(database: Database) -> None:
    with database.write() as conn:
        run_id, first = a_called_run(conn)
        jobs.retry(conn, first, NOW, 2, "{}")
        lease = take(conn, first.job_id)

        applied = write(conn, lease, run_id, a_step("a"), then=Continue())

        expected = Lease(lease.job_id, lease.generation, jobs.CALL, call_key(run_id), run_id)
        assert Applied(accepted=True, lease=expected) == applied
        assert jobs.held(conn, expected)
        assert (0, None) == (job(conn, lease.job_id).attempt, job(conn, lease.job_id).error)


def test_a_retry_gives_the_job_back_and_announces_it(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)

        applied = write(conn, lease, run_id, then=Retry(after(15), 1, '{"name":"E"}'))

        assert Applied(accepted=True, hints=[Hint(lease.job_id, jobs.CALL, after(15))]) == applied
        assert 1 == take(conn, lease.job_id, now=after(15)).attempt


def test_the_end_of_a_call_ends_its_job(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)

        assert Applied(accepted=True) == write(conn, lease, run_id)
        assert {"runs": 1} == counts(conn)


def test_a_call_that_ends_while_one_more_is_wanted_goes_on(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)
        jobs.mark_again(conn, call_key(run_id))

        assert Applied(accepted=True, lease=lease) == write(conn, lease, run_id)
        assert Applied(accepted=True) == write(conn, lease, run_id)


def test_discovering_twice_makes_one_job_and_asks_it_for_one_more_call(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn)
        first, second = (take(conn, add_job(conn, key, run_id=run_id)) for key in ("a", "b"))

        made = write(conn, first, run_id, Discover())
        asked = write(conn, second, run_id, Discover())

        assert made.lease is not None
        assert (call_key(run_id), BY.owner) == (made.lease.key, job(conn, made.lease.job_id).owner)
        assert UNTIL == job(conn, made.lease.job_id).lease_until
        assert Applied(accepted=True) == asked
        assert job(conn, made.lease.job_id).again
        assert {"runs": 1, "jobs": 1} == counts(conn)


def test_the_end_of_a_run_is_written_with_its_last_steps_and_ends_all_its_jobs(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)
        add_job(conn, "other", run_id=run_id)

        applied = write(conn, lease, run_id, a_step("last"), Record("r"), DONE)

        run = runs.get(conn, run_id)
        assert run is not None
        assert Applied(accepted=True) == applied
        assert (Status.COMPLETED, '{"a":1}', NOW) == (run.status, run.output, run.ended_at)
        assert {"runs": 1, "steps": 1, "history": 1} == counts(conn)


def test_an_ended_run_gets_no_new_jobs(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)

        applied = write(conn, lease, run_id, AddCall("a"), AddWake("b", NOW), Discover(), DONE)

        assert (Applied(accepted=True), {"runs": 1}) == (applied, counts(conn))


def test_the_end_of_a_run_is_told_by_events_that_are_matched_if_somebody_listens(database: Database) -> None:
    heard, unheard = an_event("inngest/function.failed"), an_event("inngest/function.finished")
    with database.write() as conn:
        add_app(conn, "shop", a_function("f", "inngest/function.failed"))
        run_id, lease = a_called_run(conn)

        applied = write(conn, lease, run_id, Finish(Status.FAILED, error="{}"), ending=[unheard, heard])

        [hint] = applied.hints
        assert [unheard.id, heard.id] == [event.id for event in events.load(conn, [unheard.id, heard.id])]
        assert [heard.id] == events.ids_in(job(conn, hint.job_id).payload)


def test_a_run_that_goes_on_tells_no_end(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)

        write(conn, lease, run_id, a_step("a"), then=Continue(), ending=[an_event()])

        assert "events" not in counts(conn)


def test_finishing_twice_is_refused_and_writes_nothing(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)
        write(conn, None, run_id, Finish(Status.CANCELLED))
        before = content(conn)

        for holder in (None, lease):
            refused = write(conn, holder, run_id, a_step("a"), Record("r"), DONE, ending=[an_event()])

            assert Applied(accepted=False) == refused
        assert before == content(conn)


def test_of_many_who_finish_a_run_at_once_one_does(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn)

    def finish() -> bool:
        with database.write() as conn:
            return write(conn, None, run_id, DONE, ending=[an_event()]).accepted

    assert [False] * 7 + [True] == sorted(at_once(*[finish] * 8))
    with database.read() as conn:
        assert {"runs": 1, "events": 1} == counts(conn)


EVERYTHING = (a_step("a"), AddCall("b"), AddWake("c", NOW), Record("r"), Discover())
stale_decisions = pytest.mark.parametrize(
    ("effects", "then"),
    [
        (EVERYTHING, Continue()),
        (EVERYTHING, Retry(NOW, 1, "{}")),
        (EVERYTHING, End()),
        ((a_step("a"), Record("r"), DONE), End()),
    ],
    ids=["continue", "retry", "end", "finish"],
)


@stale_decisions
@pytest.mark.parametrize("attempt", [0, 1])
def test_who_lost_the_lease_writes_nothing_at_all(
    database: Database, effects: tuple[Effect, ...], then: Then, attempt: int
) -> None:
    with database.write() as conn:
        run_id, stale = a_called_run(conn)
        if attempt:
            jobs.retry(conn, stale, NOW, attempt, "{}")
            stale = take(conn, stale.job_id)
        lose(conn, stale)
        jobs.mark_again(conn, call_key(run_id))
        before = content(conn)

        assert not write(conn, stale, run_id, *effects, then=then, pending=1, open=1, ending=[an_event()]).accepted
        assert before == content(conn)


@stale_decisions
def test_nothing_lands_after_a_new_owner_has_read_the_run(
    database: Database, effects: tuple[Effect, ...], then: Then
) -> None:
    """A late writer and a new lease race, many times: either the write came before, or it is refused."""
    for _ in range(8):
        with database.write() as conn:
            run_id, late = a_called_run(conn)

        def write_late(lease: Lease = late, run_id: str = run_id) -> int | None:
            with database.write() as conn:
                accepted = write(conn, lease, run_id, *effects, then=then, pending=1, open=1).accepted
            return 1 if accepted else 0

        def take_over(lease: Lease = late, run_id: str = run_id) -> int | None:
            with database.write() as conn:
                if not losses.recover(conn, lease, NOW):
                    return None
                take(conn, lease.job_id, owner="another")
            with database.read() as conn:
                return len(steps.memos(conn, run_id))

        written, read = at_once(write_late, take_over)

        with database.read() as conn:
            final = len(steps.memos(conn, run_id))
        assert final == written
        assert read in (None, final)


def test_a_job_whose_result_is_being_written_is_not_recovered(concurrent: Database) -> None:
    with concurrent.write() as conn:
        run_id, lease = a_called_run(conn)

    with concurrent.write() as conn:
        write(conn, lease, run_id, a_step("a"), then=Continue())
        with concurrent.write() as other:
            assert not losses.recover(other, lease, NOW)


def test_an_exception_after_it_takes_everything_back(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)
        before = content(conn)

    def crash(then: Then, *effects: Effect) -> None:
        with database.write() as conn:
            write(conn, lease, run_id, *effects, then=then, ending=[an_event()])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash(Continue(), *EVERYTHING)
    with pytest.raises(ZeroDivisionError):
        crash(END, a_step("a"), DONE)

    with database.read() as conn:
        assert before == content(conn)


def test_a_key_that_is_taken_takes_everything_back(database: Database) -> None:
    from sqlalchemy.exc import IntegrityError

    with database.write() as conn:
        run_id, lease = a_called_run(conn)
        add_job(conn, f"step:{run_id}:b", run_id=run_id)
        before = content(conn)

    with pytest.raises(IntegrityError), database.write() as conn:
        write(conn, lease, run_id, *EVERYTHING, open=2)

    with database.read() as conn:
        assert before == content(conn)


def test_without_a_lease_a_live_run_is_what_allows_writing(database: Database) -> None:
    with database.write() as conn:
        run_id, lease = a_called_run(conn)

        assert write(conn, None, run_id, Record("cancelled"), Finish(Status.CANCELLED)).accepted
        assert not jobs.held(conn, lease)
        assert ["cancelled"] == [entry.kind for entry in history.of_run(conn, run_id)]


def test_a_run_that_does_not_exist_is_not_ended(database: Database) -> None:
    with database.write() as conn:
        assert not write(conn, None, new_ulid(), DONE, ending=[an_event()]).accepted
        assert {} == counts(conn)

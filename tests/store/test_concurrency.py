"""Runs worked on from many sides at once: parallel steps join exactly once, and nobody waits in a circle."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from orchestrator.core.effect import Finish, Status, StepStatus
from orchestrator.core.message import Asked, Cancelled, Message, Returned, StepDone, StepPlanned, Threw, Woke
from orchestrator.core.run import Policy, Run, advance
from orchestrator.store import due, jobs, losses, runs, steps
from orchestrator.store.apply import Applied, apply, call_key
from orchestrator.store.database import Database
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Lease
from tests.store.factories import (
    BY,
    NOW,
    PATIENCE,
    UNTIL,
    a_step,
    add_discovery,
    add_job,
    add_run,
    add_steps,
    an_event,
    at_once,
    counts,
    job,
    let_wait,
    take,
)

WIDTH = 50


def settle(database: Database, lease: Lease | None, run_id: str, message: Message, known: Run | None = None) -> Applied:
    """Settle a message as the engine does: lock, decide and write in one transaction."""
    target = getattr(message, "target", None) or getattr(message, "step_id", None)
    ids = [target] if target else [op.id for op in getattr(message, "ops", ())]
    with database.write() as conn:
        before = known or runs.lock(conn, run_id, ids)
        assert before is not None
        decision = advance(before, message, Policy(), NOW, chance=0.0)
        over = any(isinstance(effect, Finish) for effect in decision.effects)
        return apply(conn, lease, before, decision, [an_event("inngest/function.finished")] if over else [], BY)


def planned(database: Database, width: int, *, race: bool = False) -> tuple[str, list[Lease]]:
    """A run whose function has planned so many steps, all of them leased."""
    with database.write() as conn:
        run_id = add_run(conn)
        discovery = add_discovery(conn, run_id)
    ops = tuple(StepPlanned(f"s{number}", "s", "StepPlanned", race=race) for number in range(width))
    hints = settle(database, discovery, run_id, Asked(None, 0, ops)).hints
    with database.write() as conn:
        return run_id, jobs.lease(conn, [hint.job_id for hint in hints], "worker", NOW, UNTIL)


def ending(database: Database, run_id: str, lease: Lease) -> Callable[[], Applied]:
    assert lease.step_id is not None
    done = StepDone(lease.step_id, "s", "StepRun", output="1")
    return lambda: settle(database, lease, run_id, Asked(lease.step_id, 0, (done,)))


def test_many_steps_that_end_at_once_lead_to_exactly_one_discovery(database: Database) -> None:
    run_id, leases = planned(database, WIDTH)

    results = at_once(*(ending(database, run_id, lease) for lease in leases))

    assert all(applied.accepted for applied in results)
    [discovery] = [applied.lease for applied in results if applied.lease is not None]
    with database.read() as conn:
        run = runs.get(conn, run_id)
        assert run is not None
        assert (0, 0) == (run.pending, run.open)
        assert list(range(1, WIDTH + 1)) == sorted(memo.seq or 0 for memo in steps.memos(conn, run_id))
        assert {"runs": 1, "steps": WIDTH, "jobs": 1} == counts(conn)
        assert call_key(run_id) == job(conn, discovery.job_id).key


def test_steps_of_a_race_that_end_at_once_share_one_discovery_job(database: Database) -> None:
    run_id, leases = planned(database, 10, race=True)

    results = at_once(*(ending(database, run_id, lease) for lease in leases))

    assert all(applied.accepted for applied in results)
    assert 1 == len([applied for applied in results if applied.lease is not None])
    with database.read() as conn:
        assert {"runs": 1, "steps": 10, "jobs": 1} == counts(conn)


def test_sleeps_that_end_at_once_lead_to_exactly_one_discovery(database: Database) -> None:
    with database.write() as conn:
        run_id = add_run(conn)
        add_steps(conn, run_id, *(a_step(f"s{number}", StepStatus.SLEEPING) for number in range(10)))
        runs.set_counts(conn, Run(run_id, open=10))
        ids = [
            add_job(conn, f"wake:{number}", kind=jobs.WAKE, run_id=run_id, step_id=f"s{number}") for number in range(10)
        ]
        leases = jobs.lease(conn, ids, "worker", NOW, UNTIL)

    results = at_once(*(lambda held=lease: settle(database, held, run_id, Woke(str(held.step_id))) for lease in leases))

    assert all(applied.accepted for applied in results)
    with database.read() as conn:
        assert {"runs": 1, "steps": 10, "jobs": 1} == counts(conn)


def test_the_end_of_a_run_among_ending_steps_heartbeats_and_sweeps_leaves_no_job(database: Database) -> None:
    """Everything that touches a run's jobs, at once and several times over; a circle of waiting would fail a thread."""
    for _ in range(5):
        run_id, leases = planned(database, 12, race=True)
        with database.write() as conn:
            leases.append(add_discovery(conn, run_id))
        ids = [lease.job_id for lease in leases]
        work: list[Callable[[], object]] = [ending(database, run_id, lease) for lease in leases[:6]]
        work += [
            lambda r=run_id: settle(database, None, r, Cancelled("test")),
            lambda held=leases: write(database, lambda conn: jobs.extend(conn, held, UNTIL)),
            lambda held=leases[::-1]: write(database, lambda conn: jobs.extend(conn, held, UNTIL)),
            lambda i=ids: write(database, lambda conn: due.announced(conn, i, NOW)),
            lambda i=ids: write(database, lambda conn: jobs.lease(conn, i, "another", NOW, UNTIL)),
            lambda held=leases[8:11]: write(database, lambda conn: [losses.recover(conn, it, NOW) for it in held]),
        ]

        at_once(*work)
        settle_the_rest(database, run_id)

        with database.read() as conn:
            run = runs.get(conn, run_id)
            assert run is not None
            assert Status.CANCELLED is run.status
            assert "jobs" not in counts(conn)


def write(database: Database, change: Callable[..., object]) -> object:
    with database.write() as conn:
        return change(conn)


def settle_the_rest(database: Database, run_id: str) -> None:
    """What somebody had in hand when the run ended is left to him: he settles, finds the run over and ends the job."""
    with database.write() as conn:
        left = conn.execute(text("SELECT id FROM jobs")).scalars().all()
        for lease in losses.lost(conn, NOW, ["worker", "another", *losses.owners(conn)]):
            losses.recover(conn, lease, NOW)
        leases = jobs.lease(conn, left, "cleaner", NOW, UNTIL)
    for lease in leases:
        settle(database, lease, run_id, Asked(lease.step_id, 0, ()))


GOES_ON = {
    "ends": Returned(None, 0, "1"),
    "plans": Asked(None, 0, (StepPlanned("s", "s", "StepPlanned"),)),
    "retries": Threw(None, 0, "{}", retryable=True),
    "continues": Asked(None, 0, (StepDone("s", "s", "StepRun", output="1"),)),
}


@pytest.mark.parametrize("message", GOES_ON.values(), ids=GOES_ON.keys())
def test_a_cancellation_and_a_run_that_goes_on_by_itself_do_not_wait_for_each_other(
    concurrent: Database, message: Message
) -> None:
    """A worker that knows its run writes without having locked it; it must not hold the job and wait for the run."""
    with concurrent.write() as conn:
        run_id = add_run(conn)
        discovery = add_discovery(conn, run_id)

    @undisturbed  # as whoever does this: a database may be tired of waiting, and takes it back
    def go_on() -> bool:
        with concurrent.write() as conn:
            known = Run(run_id)
            decision = advance(known, message, Policy(), NOW, chance=0.0)
            accepted = apply(conn, discovery, known, decision, [], BY).accepted
            if accepted:
                runs.set_request_version(conn, run_id, 2)
            return accepted

    with ThreadPoolExecutor(1) as pool, concurrent.write() as conn:
        run = runs.lock(conn, run_id, [])
        assert run is not None
        goes_on = pool.submit(go_on)
        let_wait(concurrent, goes_on)
        decision = advance(run, Cancelled("test"), Policy(), NOW, chance=0.0)
        assert apply(conn, None, run, decision, [], BY).accepted
        conn.commit()
        assert (message is GOES_ON["continues"]) == goes_on.result(PATIENCE)

    with concurrent.read() as conn:
        found = runs.get(conn, run_id)
        assert found is not None
        assert Status.CANCELLED is found.status
        assert "jobs" not in counts(conn)


def test_the_end_of_a_run_takes_its_jobs_in_the_order_leasing_does(concurrent: Database) -> None:
    """The first job's row was written last, so that it lies behind the second's."""
    with concurrent.write() as conn:
        run_id = add_run(conn)
        first, second = (add_job(conn, key, run_id=run_id) for key in ("first", "second"))
        jobs.release(conn, take(conn, first), NOW)

    def end() -> bool:
        with concurrent.write() as conn:
            jobs.end_all_of_run(conn, run_id)
        return True

    with ThreadPoolExecutor(1) as pool, concurrent.write() as conn:
        take(conn, first)
        ends = pool.submit(end)
        let_wait(concurrent, ends)
        leased = jobs.lease(conn, [second], "worker", NOW, UNTIL)
        conn.commit()
        assert ends.result(PATIENCE)

    assert [second] == [lease.job_id for lease in leased]
    with concurrent.read() as conn:
        assert {"runs": 1} == counts(conn)

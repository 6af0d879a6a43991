"""Planned steps that end together: each outcome is accepted once, and their join is made exactly once."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.effect import Finish, SaveStep, Status, StepStatus
from orchestrator.core.message import Asked, StepDone, StepErrored, StepPlanned
from orchestrator.core.run import Policy, advance
from orchestrator.store import due, jobs, losses, runs, steps
from orchestrator.store.apply import apply, call_key
from orchestrator.store.database import Database, is_about_the_data
from orchestrator.store.ends import StepEnd, StepEnded, StepEnds
from orchestrator.store.jobs import Lease
from tests.store.factories import (
    BY,
    NOW,
    UNTIL,
    a_step,
    add_discovery,
    add_job,
    add_run,
    add_steps,
    after,
    at_once,
    content,
    counts,
    job,
    lose,
    take,
)

NOTHING = StepEnded(accepted=False)


@pytest.fixture
def ends(database: Database) -> StepEnds:
    assert database.ends is not None
    return database.ends


def planned(database: Database, *step_ids: str, race: bool = False, memoised: int = 0) -> tuple[str, list[Lease]]:
    """A run whose function has planned these steps, all of them leased."""
    with database.write() as conn:
        run_id = add_run(conn)
        add_steps(conn, run_id, *(a_step(f"before{number}") for number in range(memoised)))
        discovery = add_discovery(conn, run_id)
        before = runs.lock(conn, run_id, [])
        assert before is not None
        ops = tuple(StepPlanned(step_id, step_id, "StepPlanned", race, input="[1]") for step_id in step_ids)
        decision = advance(before, Asked(None, 0, ops), Policy(), NOW, chance=0.0)
        hints = apply(conn, discovery, before, decision, [], BY).hints
        leases = jobs.lease(conn, [hint.job_id for hint in hints], "worker", NOW, UNTIL)
    return run_id, sorted(leases, key=lambda lease: step_ids.index(lease.step_id or ""))


def done(lease: Lease, **values: Any) -> StepEnd:
    step = a_step(lease.step_id or "", fresh=False, attempts=1, **values)
    return StepEnd(lease, step, replace(BY, now=after(1)))


def test_an_outcome_is_stored_and_its_job_is_gone(database: Database, ends: StepEnds) -> None:
    run_id, [first, _] = planned(database, "a", "b", memoised=3)
    memo = '{"data":{"big":9007199254740993,"nul":"\\u0000","half":"\\ud800","ü":"😀", "sp" : 1.0e+2 }}'

    assert StepEnded(accepted=True) == ends.end(done(first, memo=memo, started_at=NOW))

    with database.read() as conn:
        step = next(step for step in steps.of_run(conn, run_id) if step.id == "a")
        assert (4, StepStatus.COMPLETED, 1, memo) == (step.seq, step.status, step.attempts, step.memo)
        assert ("[1]", NOW, after(1)) == (step.input, step.started_at, step.ended_at)
        run = runs.get(conn, run_id)
        assert run is not None
        assert (1, 1) == (run.pending, run.open)
        assert None is job(conn, first.job_id)


def test_the_last_of_a_group_leaves_its_holder_the_discovery(database: Database, ends: StepEnds) -> None:
    run_id, leases = planned(database, "a", "b", "c")

    outcomes = [ends.end(done(lease)) for lease in leases]

    assert [None, None] == [it.discovery for it in outcomes[:2]]
    discovery = outcomes[2].discovery
    assert discovery is not None
    with database.read() as conn:
        row = job(conn, discovery.job_id)
        assert (jobs.CALL, call_key(run_id), run_id) == (row.kind, row.key, row.run_id)
        assert (jobs.LEASED, discovery.generation, "worker", UNTIL) == (
            row.state,
            row.generation,
            row.owner,
            row.lease_until,
        )
        assert ["a", "b", "c"] == list(steps.memo_until(conn, run_id, 3))


def test_ends_of_several_runs_are_written_together(database: Database, ends: StepEnds) -> None:
    one, [a, b] = planned(database, "a", "b")
    two, [c] = planned(database, "c")
    race, [d, _] = planned(database, "d", "e", race=True)

    outcomes = ends.write([done(lease) for lease in (c, b, d, a)])

    assert all(it.accepted for it in outcomes)
    assert [two, None, race, one] == [it.discovery and it.discovery.run_id for it in outcomes]
    with database.read() as conn:
        assert ["b", "a"] == list(steps.memo_until(conn, one, 9))
        left = [runs.get(conn, run_id) for run_id in (one, two, race)]
        assert [(0, 0), (0, 0), (0, 1)] == [(run.pending, run.open) for run in left if run is not None]


def test_a_step_of_a_race_leads_to_a_discovery_and_once_more_where_one_is_under_way(
    database: Database, ends: StepEnds
) -> None:
    _, [first, second] = planned(database, "a", "b", race=True)

    discovery = ends.end(done(first)).discovery

    assert discovery is not None
    assert StepEnded(accepted=True) == ends.end(done(second))
    with database.read() as conn:
        assert job(conn, discovery.job_id).again


def test_a_stale_generation_is_refused(database: Database, ends: StepEnds) -> None:
    run_id, [lease] = planned(database, "a")
    with database.write() as conn:
        newer = lose(conn, lease)
        before = content(conn)

    assert [NOTHING] == ends.write([done(lease)])

    with database.read() as conn:
        assert before == content(conn)
    [stale, fresh] = ends.write([done(lease, memo='{"data":"stale"}'), done(newer)])
    assert (NOTHING, True) == (stale, fresh.accepted)
    with database.read() as conn:
        assert {"a": '{"data":"a"}'} == steps.memo_until(conn, run_id, 9)


@pytest.mark.parametrize("together", [True, False])
def test_a_doubled_end_changes_nothing(database: Database, ends: StepEnds, *, together: bool) -> None:
    _, [lease, _] = planned(database, "a", "b")

    if together:
        [first, second] = ends.write([done(lease), done(lease, memo='{"data":"second"}')])
        before = None
    else:
        first = ends.end(done(lease))
        with database.read() as conn:
            before = content(conn)
        second = ends.end(done(lease, memo='{"data":"second"}'))

    assert (StepEnded(accepted=True), NOTHING) == (first, second)
    with database.read() as conn:
        assert before in (None, content(conn))
        [run] = [runs.get(conn, lease.run_id or "")]
        assert run is not None
        assert (1, 1) == (run.pending, run.open)


def test_an_end_after_the_end_of_its_run_changes_nothing(database: Database, ends: StepEnds) -> None:
    run_id, [lease] = planned(database, "a")
    with database.write() as conn:
        runs.finish(conn, run_id, Status.CANCELLED, None, None, NOW)
        before = content(conn)

    assert NOTHING == ends.end(done(lease))

    with database.read() as conn:
        assert before == content(conn)


def test_a_step_that_is_done_already_keeps_its_outcome_and_only_the_job_goes(
    database: Database, ends: StepEnds
) -> None:
    run_id, [lease] = planned(database, "a")
    with database.write() as conn:
        steps.save(conn, run_id, [a_step("a", memo='{"data":"first"}', fresh=False)], NOW)

    assert StepEnded(accepted=True) == ends.end(done(lease))

    with database.read() as conn:
        assert {"a": '{"data":"first"}'} == steps.memo_until(conn, run_id, 9)
        assert "jobs" not in counts(conn)


def test_a_failure_for_good_is_an_outcome_with_its_error(database: Database, ends: StepEnds) -> None:
    run_id, [lease] = planned(database, "a")
    failed = a_step("a", StepStatus.FAILED, fresh=False, memo='{"error":{}}', error='{"name":"E"}', attempts=3)

    outcome = ends.end(StepEnd(lease, failed, BY))

    assert outcome.discovery is not None
    with database.read() as conn:
        [step] = steps.of_run(conn, run_id)
        assert (StepStatus.FAILED, '{"name":"E"}', 3) == (step.status, step.error, step.attempts)


def test_an_outcome_that_cannot_be_stored_does_not_fail_those_it_came_with(
    concurrent: Database, ends: StepEnds
) -> None:
    """It is told from a database that is away, for which all would fail, so that each is written alone."""
    _, [a, b] = planned(concurrent, "a", "b")

    with pytest.raises(Exception, match=r"[Oo]ut of range") as failed:
        ends.write([replace(done(a), step=replace(done(a).step, attempts=2**40)), done(b)])

    assert is_about_the_data(failed.value)
    assert ends.end(done(b)).accepted


def test_an_end_does_what_the_decision_on_it_would(database: Database, ends: StepEnds) -> None:
    """Random groups, ended in random order, once in this way and once by deciding and applying: the same rows."""
    chance = random.Random(7)
    for _ in range(20):
        names = [f"s{number}" for number in range(chance.randint(1, 5))]
        race, memoised = chance.random() < 0.3, chance.randint(0, 2)
        order = chance.sample(names, len(names))
        final = [chance.random() < 0.3 for _ in names]

        seen = []
        for way in (together(ends), one_by_one(database)):
            run_id, leases = planned(database, *names, race=race, memoised=memoised)
            held = {lease.step_id: lease for lease in leases}
            way([(held[name], answer(name, failed)) for name, failed in zip(order, final, strict=True)])
            seen.append(story(database, run_id))

        assert seen[0] == seen[1]


def answer(step_id: str, failed: bool) -> Asked:
    done, errored = StepDone(step_id, "s", "StepRun", "1", NOW), StepErrored(step_id, "s", "StepFailed", "{}", True)
    return Asked(step_id, 0, (errored if failed else done,))


Way = Callable[[Sequence[tuple[Lease, Asked]]], object]


def together(ends: StepEnds) -> Way:
    def write(answers: Sequence[tuple[Lease, Asked]]) -> None:
        written = []
        for lease, asked in answers:
            [op] = asked.ops
            assert isinstance(op, StepDone | StepErrored)
            if isinstance(op, StepDone):
                step = SaveStep(op.id, op.name, op.op, StepStatus.COMPLETED, '{"data":1}', started_at=op.started_at)
            else:
                step = SaveStep(op.id, op.name, op.op, StepStatus.FAILED, '{"error":{}}', op.error)
            written.append(StepEnd(lease, replace(step, attempts=1), BY))
        assert all(it.accepted for it in ends.write(written))

    return write


def one_by_one(database: Database) -> Way:
    def write(answers: Sequence[tuple[Lease, Asked]]) -> None:
        for lease, asked in answers:
            with database.write() as conn:
                before = runs.lock(conn, lease.run_id or "", [lease.step_id or ""])
                assert before is not None
                decision = advance(before, asked, Policy(), NOW, chance=0.0)
                assert not any(isinstance(effect, Finish) for effect in decision.effects)
                assert apply(conn, lease, before, decision, [], BY).accepted

    return write


def story(database: Database, run_id: str) -> list[object]:
    """What is stored of a run, but for names that differ from run to run."""
    with database.write() as conn:
        run = runs.lock(conn, run_id, [])
        left = [row for row in conn.execute(jobs.jobs.select()) if row.run_id == run_id]
        found = steps.of_run(conn, run_id)
        return [
            run and replace(run, id=""),
            found,
            [(row.kind, row.state, row.generation, row.owner, row.lease_until) for row in left],
        ]


@pytest.mark.parametrize("race", [False, True])
def test_however_ends_meet_there_is_one_discovery_and_every_outcome_once(
    database: Database, ends: StepEnds, *, race: bool
) -> None:
    """Ends of several processes (each with its own groups), doubled ones and stale ones, all at once."""
    assert database.ends is not None
    others = [Database(database.url.render_as_string(hide_password=False), synchronous="OFF") for _ in range(2)]
    for _ in range(4):
        run_id, leases = planned(database, *(f"s{number}" for number in range(24)), race=race)
        with database.write() as conn:
            stale, leases[0] = leases[0], lose(conn, leases[0])

        processes = [ends, *(other.ends for other in others if other.ends is not None)]
        calls = [
            lambda it=lease, way=processes[at % 3]: way.end(done(it)) for at, lease in enumerate([*leases, *leases[:9]])
        ]
        outcomes = at_once(*calls, lambda it=stale: ends.end(done(it)))

        assert (24, NOTHING) == (sum(it.accepted for it in outcomes), outcomes[-1])
        assert 1 == len([it for it in outcomes if it.discovery is not None])
        with database.read() as conn:
            run = runs.get(conn, run_id)
            assert run is not None
            assert (0, 0) == (run.pending, run.open)
            assert list(range(1, 25)) == sorted(memo.seq or 0 for memo in steps.memos(conn, run_id))
            assert 1 == len([row for row in conn.execute(jobs.jobs.select()) if row.run_id == run_id])
    for other in others:
        other.close()


def test_ends_among_losses_heartbeats_and_leases_do_not_wait_in_a_circle(database: Database, ends: StepEnds) -> None:
    for _ in range(5):
        runs_planned = [planned(database, *(f"s{number}" for number in range(6))) for _ in range(2)]
        held = [lease for _, leases in runs_planned for lease in leases]
        ids = [lease.job_id for lease in held]
        groups = [ends.write, ends.write, ends.write]
        work: list[Callable[[], object]] = [
            lambda g=group, some=held[at::3]: g([done(lease) for lease in some]) for at, group in enumerate(groups)
        ]
        work += [
            lambda them=held[::-1]: write(database, lambda conn: jobs.extend(conn, them, UNTIL)),
            lambda i=ids: write(database, lambda conn: due.announced(conn, i, NOW)),
            lambda i=ids: write(database, lambda conn: jobs.lease(conn, i, "another", NOW, UNTIL)),
            lambda them=held[:3]: write(database, lambda conn: [losses.recover(conn, it, NOW) for it in them]),
        ]

        at_once(*work)

        with database.write() as conn:
            left = [row for row in conn.execute(jobs.jobs.select()) if row.step_id is not None]
            assert len(left) == sum(run.pending for run_id, _ in runs_planned if (run := runs.get(conn, run_id)))
            conn.execute(jobs.jobs.delete())


def write(database: Database, change: Callable[..., object]) -> object:
    with database.write() as conn:
        return change(conn)


def test_a_job_that_is_no_planned_steps_is_left_alone(database: Database, ends: StepEnds) -> None:
    _, [lease] = planned(database, "a")
    with database.write() as conn:
        other = take(conn, add_job(conn, "other"))

    ends.end(done(lease))

    with database.read() as conn:
        assert other.job_id == job(conn, other.job_id).id

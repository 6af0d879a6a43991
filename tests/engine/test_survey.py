"""Surveying the queue: which functions have what to do, why it waits, who is in the way, and who works."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.dead import MOST, requeue_jobs, requeue_oldest
from orchestrator.engine.hold import pause
from orchestrator.engine.survey import FRESH, Survey, Surveyor
from orchestrator.engine.work import take, work
from orchestrator.store import backlog, dead, jobs, losses, workers
from orchestrator.store.database import Database
from orchestrator.store.filters import Count
from orchestrator.store.workers import Sign
from tests.engine.flows import NOW, Flows, a_function
from tests.engine.world import returned

STATES = ("due", "working", "parked", "held", "later", "dead")


def survey(flows: Flows) -> Survey:
    return Surveyor(flows.parts).survey()


def figures(seen: Survey) -> dict[str, int]:
    return {state: getattr(seen, state).number for state in STATES if getattr(seen, state).number}


def lines(seen: Survey) -> dict[str, dict[str, int]]:
    """What there is to do, by function."""
    return {
        it.function.slug if it.function else it.own: {
            state: getattr(it, state) for state in STATES[:-1] if getattr(it, state)
        }
        for it in seen.lines
    }


def sentences(seen: Survey) -> list[tuple[str, str]]:
    return [(it.function.slug if it.function else "", it.sentence) for it in seen.waits]


def test_an_event_that_nobody_looked_at_is_due_and_tells_how_far_behind_all_is(database: Database) -> None:
    flows = Flows(database, a_function())
    flows.send(1)
    flows.clock.advance(timedelta(seconds=90))

    seen = survey(flows)

    assert ({"due": 1}, {"match": {"due": 1}}, NOW) == (figures(seen), lines(seen), seen.oldest_due_at)


def test_where_nothing_is_to_be_done_nothing_is_told(database: Database) -> None:
    seen = survey(Flows(database, a_function()))

    assert ({}, {}, [], None) == (figures(seen), lines(seen), sentences(seen), seen.oldest_due_at)


def test_a_full_limit_is_told_with_its_function_and_the_run_that_is_in_the_way(database: Database) -> None:
    flows = Flows(database, a_function(concurrency=[{"limit": 1, "key": "event.data.user"}]))
    flows.send(*[{"user": "ada"}] * 3)
    flows.match()
    first, *others = take(flows.parts, flows.jobs(jobs.CALL))
    seen = list[Survey]()

    def at_work(call: Call) -> Answer:
        for held in others:
            work(flows.parts, held)
        seen.append(survey(flows))
        flows.driver.answer = returned
        return returned(call)

    flows.driver.answer = at_work
    work(flows.parts, first)

    [found] = seen
    assert ({"working": 1, "parked": 2}, {"app-fn": {"working": 1, "parked": 2}}) == (figures(found), lines(found))
    [wait] = found.waits
    assert ("slot", 2, (first.lease.run_id,)) == (wait.kind, wait.waiting, wait.run_ids)
    assert wait.sentence.startswith(
        '2 calls wait: at most 1 call may be at work at once where event.data.user is "ada", and 1 is'
    )


def test_throttled_and_paused_runs_are_held_and_say_why(database: Database) -> None:
    slow = a_function("slow", "a/slow", throttle={"limit": 1, "period": "10s", "burst": 0})
    flows = Flows(database, slow, a_function("off", "a/off"))
    flows.receive(1, 2, 3, name="a/slow")
    flows.receive(1, name="a/off")
    pause(flows.parts, "app-off")
    flows.work()

    seen = survey(flows)

    assert {"app-slow": {"held": 2}, "app-off": {"held": 1}, "clock": {"later": 1}} == lines(seen)
    assert {
        ("app-slow", "2 runs wait: a throttle lets them begin at a pace"),
        ("app-off", "1 run waits until the function, which is paused, is resumed"),
    } == set(sentences(seen))
    assert [NOW + timedelta(seconds=10)] == [it.until for it in seen.waits if it.kind == "throttle"]


def test_a_debounce_and_a_batch_say_what_they_wait_for(database: Database) -> None:
    debounced = a_function("calm", "a/calm", debounce={"period": "1m"})
    batched = a_function("many", "a/many", batchEvents={"maxSize": 5, "timeout": "60s"})
    flows = Flows(database, debounced, batched)
    flows.receive(1, name="a/calm")
    flows.receive(1, 2, name="a/many")

    assert {
        ("app-calm", "1 burst of events is debounced: a run starts when no more of them come"),
        ("app-many", "1 batch fills: a run starts when it is full, or has waited long enough"),
    } == set(sentences(survey(flows)))


def test_workers_tell_what_they_have_in_hand_and_those_that_were_killed_are_told_apart(database: Database) -> None:
    flows = Flows(database, a_function())
    flows.receive(1)
    [held] = take(flows.parts, flows.jobs(jobs.CALL))
    with database.write() as conn:
        for owner, age in ((flows.parts.holdings.owner, 0), ("gone", 60)):
            workers.give(conn, Sign(owner, "host", 7, 100, "0.1", NOW, NOW - timedelta(seconds=age)))

    seen = survey(flows)

    [alive], [vanished] = seen.alive, seen.vanished
    assert (flows.parts.holdings.owner, 1, 100) == (alive.sign.owner, alive.working, seen.executors)
    assert [(held.lease.run_id, "app-fn")] == [(it.job.run_id, it.function.slug) for it in alive.works if it.function]
    assert ("gone", 0, ()) == (vanished.sign.owner, vanished.working, vanished.works)


def test_more_than_are_counted_are_said_to_be_more(database: Database) -> None:
    flows = Flows(database, a_function())
    row = {"kind": jobs.WAKE, "state": jobs.READY, "run_at": NOW + timedelta(days=1)}
    with database.write() as conn:
        conn.execute(jobs.jobs.insert(), [row | {"key": f"wake:{at}"} for at in range(backlog.MOST + 50)])

    assert Count(backlog.MOST, exact=False) == survey(flows).later


def test_those_who_ask_again_and_again_share_one_look(database: Database) -> None:
    flows = Flows(database, a_function())
    surveyor = Surveyor(flows.parts)
    first = surveyor.lately()
    flows.send(1)

    soon = surveyor.lately()
    flows.clock.advance(FRESH)
    later = surveyor.lately()

    assert first is soon
    assert {"due": 1} == figures(later)
    assert {"due": 1} == figures(Surveyor(flows.parts).survey())


def bury_matching(flows: Flows, number: int) -> list[int]:
    """Events whose matching was given up."""
    flows.send(*range(number))
    job_ids = flows.jobs(jobs.MATCH)
    with flows.database.write() as conn:
        for lease in jobs.lease(conn, job_ids, "w", flows.clock.now(), flows.clock.now()):
            losses.bury(conn, lease, "ValueError: poison")
    return job_ids


def test_many_are_requeued_and_told_one_that_is_dead_no_more_is_passed_over(database: Database) -> None:
    flows = Flows(database, a_function())
    first, *others = bury_matching(flows, 3)
    requeue_jobs(flows.parts, [first])

    came = requeue_jobs(flows.parts, [first, *others], "ada")
    flows.match()

    assert (2, 1, []) == (came.done, came.gone, list(came.refused))
    assert {"queued": 3} == flows.statuses()


def test_a_batch_of_the_oldest_is_requeued_and_no_more(database: Database) -> None:
    flows = Flows(database, a_function())
    job_ids = bury_matching(flows, MOST + 3)

    came = requeue_oldest(flows.parts)

    assert (MOST, 0, []) == (came.done, came.gone, list(came.refused))
    with database.read() as conn:
        assert job_ids[MOST:] == dead.oldest(conn, 10)

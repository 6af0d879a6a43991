"""Limited runs in the engine: when slots are taken, kept and given back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.core.effect import Status
from orchestrator.core.message import Asked, SleepAsked, StepDone
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.branch import Held
from orchestrator.engine.bulk import write
from orchestrator.engine.cancel import cancel
from orchestrator.engine.cancel_all import Wish, ordered
from orchestrator.engine.match import match
from orchestrator.engine.recover import recover
from orchestrator.engine.work import take, work
from orchestrator.store import jobs, runs
from orchestrator.store.database import Database
from orchestrator.store.tables import metadata
from tests.engine.test_costs import Costs
from tests.engine.world import World, returned

ONE = '"concurrency":[{"limit":1}]'
WHOLE_RUN = '"concurrency":{"fn":[{"limit":1}]}'
POOLS = metadata.tables["pools"]


class Hall(World):
    """A world in which several events are sent before anything is done."""

    def __init__(self, database: Database, options: str) -> None:
        super().__init__(database, options)
        self.events = [self.event_id]
        self.called: list[str] = []
        self.driver.answer = self.answer
        self.then: Callable[[Call], Answer] = returned

    def answer(self, call: Call) -> Answer:
        self.called.append(call.run_id)
        return self.then(call)

    def another(self) -> None:
        self.send()
        self.events.append(self.event_id)

    def run_of(self, number: int) -> runs.StoredRun:
        with self.parts.database.read() as conn:
            [run] = runs.of_event(conn, self.events[number])
        return run

    def statuses(self) -> list[str]:
        return [self.run_of(number).status.value for number in range(len(self.events))]

    def levels(self) -> list[tuple[int, int]]:
        """What is taken, and who waits."""
        with self.parts.database.read() as conn:
            return [(row.used, row.waiting) for row in conn.execute(select(POOLS).order_by(POOLS.c.key))]

    def drain(self) -> None:
        """Do what is due, until nothing is."""
        while any(hint.run_at <= self.clock.now() for hint in self.heard.hints):
            self.start()

    def begin(self) -> list[Held]:
        """Start the runs of what was sent; returns their first calls."""
        ids = [hint.job_id for hint in self.heard.hints if hint.kind == jobs.MATCH]
        self.heard.hints = [hint for hint in self.heard.hints if hint.kind != jobs.MATCH]
        return match(self.parts, ids, room=9) if ids else []

    def start(self) -> None:
        """Do what is due now, whatever it is."""
        begun = self.begin()
        due = [hint for hint in self.heard.hints if hint.run_at <= self.clock.now()]
        self.heard.hints = [hint for hint in self.heard.hints if hint not in due]
        for held in [*begun, *take(self.parts, [hint.job_id for hint in due])]:
            work(self.parts, held)


@pytest.fixture
def hall(database: Database) -> Hall:
    return Hall(database, ONE)


def meanwhile(hall: Hall, do: Callable[[], object]) -> Callable[[Call], Answer]:
    """An app that does something during its first call."""

    def answer(call: Call) -> Answer:
        if len(hall.called) == 1:
            do()
        return returned(call)

    return answer


def test_a_second_run_waits_while_the_first_is_called_and_begins_after_it(hall: Hall):
    hall.another()
    [first, second] = hall.begin()
    waiting = list[str]()

    def try_the_other() -> None:
        work(hall.parts, second)
        waiting.extend(hall.statuses())

    hall.then = meanwhile(hall, try_the_other)
    work(hall.parts, first)
    after = hall.statuses()
    hall.drain()

    assert ["running", "queued"] == waiting
    assert ["completed", "queued"] == after
    assert ["completed", "completed"] == hall.statuses()
    assert [hall.run_of(0).id, hall.run_of(1).id] == hall.called
    assert [(0, 0)] == hall.levels()


def test_a_key_may_come_to_any_text(database: Database):
    hall = Hall(database, '"concurrency":[{"limit":1,"key":"event.data.k"}]')
    hall.drain()
    for data in (r'{"k":"a\u0000b"}', r'{"k":"a\u0000c"}', '{"k":"' + "\U0001f600" * 300 + '"}'):
        hall.send(data=data)
        hall.events.append(hall.event_id)
    hall.drain()

    assert ["completed"] * 4 == hall.statuses()
    assert [(0, 0)] * 4 == hall.levels()


def steps(count: int, hall: Hall, span: timedelta) -> Callable[[Call], Answer]:
    """A function of several steps, each of which takes that long."""

    def answer(call: Call) -> Answer:
        hall.clock.advance(span)
        done = len(call.memo)
        if done == count:
            return returned(call)
        return Answer(Asked(None, call.attempt, (StepDone(f"s{done}", f"s{done}", "StepRun", "1"),)), request_version=2)

    return answer


@pytest.mark.parametrize(("milliseconds", "changes"), [(10, 1), (600, 7)])
def test_a_run_that_goes_on_lets_those_who_wait_go_first_after_its_turn(hall: Hall, milliseconds: int, changes: int):
    hall.another()
    [first, second] = hall.begin()
    slow = steps(3, hall, timedelta(milliseconds=milliseconds))

    def answer(call: Call) -> Answer:
        if len(hall.called) == 1:
            work(hall.parts, second)
        return slow(call)

    hall.then = answer
    work(hall.parts, first)
    hall.drain()

    assert ["completed", "completed"] == hall.statuses()
    assert changes == sum(one != other for one, other in itertools.pairwise(hall.called))


@pytest.mark.parametrize("options", [WHOLE_RUN, '"concurrency":{"fn":[{"limit":1}],"step":[{"limit":5}]}'])
def test_a_run_with_the_slot_of_a_whole_run_goes_on_though_others_wait_for_it(database: Database, options: str):
    hall = Hall(database, options)
    hall.another()
    [first, second] = hall.begin()
    slow = steps(3, hall, timedelta(milliseconds=600))

    def answer(call: Call) -> Answer:
        if len(hall.called) == 1:
            work(hall.parts, second)
        return slow(call)

    hall.then = answer
    work(hall.parts, first)
    hall.drain()

    assert ["completed", "completed"] == hall.statuses()
    assert [hall.run_of(0).id] * 4 + [hall.run_of(1).id] * 4 == hall.called
    assert {(0, 0)} == set(hall.levels())


def test_it_goes_on_without_a_hop_where_nobody_waits(hall: Hall):
    [held] = hall.begin()
    hall.then = steps(3, hall, timedelta(milliseconds=600))

    work(hall.parts, held)

    assert ["completed"] == hall.statuses()
    assert [] == hall.heard.hints


def test_a_sleeping_run_holds_no_slot(hall: Hall):
    hall.then = naps(hall)

    hall.start()

    assert [(0, 0)] == hall.levels()


def naps(hall: Hall) -> Callable[[Call], Answer]:
    def answer(call: Call) -> Answer:
        if call.memo:
            return returned(call)
        until = hall.clock.now() + timedelta(hours=1)
        return Answer(Asked(None, call.attempt, (SleepAsked("nap", "nap", "Sleep", until),)), request_version=2)

    return answer


def test_a_slot_of_a_whole_run_is_held_through_its_sleep(database: Database):
    hall = Hall(database, WHOLE_RUN)
    hall.another()
    hall.then = naps(hall)
    hall.start()
    [napping] = set(hall.called)

    sleeping = hall.levels()
    hall.clock.advance(timedelta(hours=1))
    hall.drain()

    assert [(1, 1)] == sleeping
    assert ["completed", "running"] == hall.statuses(), "the second one sleeps now"
    assert napping == hall.run_of(0).id


@pytest.mark.parametrize("options", [ONE, WHOLE_RUN])
def test_a_run_cancelled_in_mid_call_keeps_its_slot_until_the_call_is_through(database: Database, options: str):
    hall = Hall(database, options)
    hall.another()
    [first, second] = hall.begin()
    seen = list[tuple[int, int]]()

    def stop() -> None:
        cancel(hall.parts, hall.run_of(0).id, "why not")
        work(hall.parts, second)
        seen.extend(hall.levels())

    hall.then = meanwhile(hall, stop)
    work(hall.parts, first)
    hall.drain()

    assert [(1, 1)] == seen
    assert ["cancelled", "completed"] == hall.statuses()
    assert [(0, 0)] == hall.levels()


def test_runs_cancelled_in_bulk_give_their_slots_back_and_leave_the_line(hall: Hall):
    for _ in range(3):
        hall.another()
    [first, *others] = hall.begin()
    seen = list[tuple[int, int]]()

    def stop_all() -> None:
        for other in others:
            work(hall.parts, other)
        write(hall.parts, ordered(hall.parts, Wish("app", started_before=hall.clock.now())))
        hall.drain()
        seen.extend(hall.levels())

    hall.then = meanwhile(hall, stop_all)
    work(hall.parts, first)

    assert ["cancelled"] * 4 == hall.statuses()
    assert [(1, 0)] == seen, "the call under way keeps its slot"
    assert [(0, 0)] == hall.levels()


def test_runs_whose_time_is_up_give_back_a_slot_and_a_place_in_the_line(database: Database):
    hall = Hall(database, f'{ONE},"timeouts":{{"start":"10s","finish":"10s"}}')
    hall.another()
    [first, second] = hall.begin()

    def wait() -> None:
        work(hall.parts, second)
        hall.clock.advance(timedelta(seconds=11))
        hall.drain()

    hall.then = meanwhile(hall, wait)
    work(hall.parts, first)
    hall.drain()

    assert ["cancelled", "cancelled"] == hall.statuses()
    assert [(0, 0)] == hall.levels()


def test_a_crash_of_ours_gives_the_slot_back(hall: Hall):
    hall.another()
    [first, second] = hall.begin()

    def crash() -> None:
        work(hall.parts, second)
        raise RuntimeError("ours")

    hall.then = meanwhile(hall, crash)
    work(hall.parts, first)
    hall.drain()

    assert ["running", "completed"] == hall.statuses()


def test_a_killed_workers_call_is_made_again_with_the_slot_it_had(hall: Hall):
    class KilledError(BaseException):
        pass

    def die(call: Call) -> Answer:
        raise KilledError

    hall.another()
    [first, second] = hall.begin()
    hall.then = die
    with pytest.raises(KilledError):
        work(hall.parts, first)
    work(hall.parts, second)
    held = hall.levels()
    hall.clock.advance(timedelta(seconds=31))
    hall.then = returned
    recover(hall.parts)
    hall.drain()

    assert [(1, 1)] == held
    assert ["completed", "completed"] == hall.statuses()
    assert [(0, 0)] == hall.levels()


def test_a_run_that_loses_its_workers_too_often_gives_its_slot_back(hall: Hall):
    class KilledError(BaseException):
        pass

    def die(call: Call) -> Answer:
        raise KilledError

    hall.then = die
    for _ in range(hall.parts.settings.max_crashes):
        with pytest.raises(KilledError):
            hall.start()
        hall.clock.advance(timedelta(seconds=31))
        recover(hall.parts)

    assert Status.FAILED is hall.run.status
    assert [(0, 0)] == hall.levels()


def test_a_limit_that_is_no_longer_declared_holds_nobody_back(hall: Hall):
    hall.another()
    [first, second] = hall.begin()
    hall.register("")

    def try_the_other() -> None:
        work(hall.parts, second)

    hall.then = meanwhile(hall, try_the_other)
    work(hall.parts, first)

    assert ["completed", "completed"] == hall.statuses()


def test_a_limited_job_says_by_its_state_that_it_waits(hall: Hall):
    hall.another()
    [first, second] = hall.begin()
    seen = list[int]()

    def look() -> None:
        work(hall.parts, second)
        seen.extend(hall.states())

    hall.then = meanwhile(hall, look)
    work(hall.parts, first)

    assert [jobs.WAITING, jobs.LEASED] == sorted(seen)


def test_on_postgresql_a_limited_run_costs_one_statement_more(hall: Hall, monkeypatch: pytest.MonkeyPatch):
    """However many limits there are; elsewhere some more, in one transaction more."""
    hall.register('"concurrency":[{"limit":1},{"limit":9,"key":"event.data.a"},{"limit":9,"key":"event.data.b"}]')
    hall.drain()  # the function becomes known, and its pools are made
    hall.another()
    [held] = hall.begin()
    hall.then = steps(3, hall, timedelta())

    with Costs().counting(monkeypatch) as running:
        work(hall.parts, held)

    assert Status.COMPLETED is hall.run.status
    if hall.parts.database.kind == "postgresql":
        assert {"statements": 1 + 3 + 1} == running
    else:
        statements = {"sqlite": 22, "mysql": 33}[hall.parts.database.kind]
        assert {"statements": statements, "transactions": 1 + 3 + 1} == running

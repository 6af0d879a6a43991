"""Concurrency together with what stands between an event and its run: each of them holds, and so do both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.core.message import Asked, SleepAsked
from orchestrator.core.waiting import sentence
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.branch import Held
from orchestrator.engine.hold import pause, resume
from orchestrator.engine.match import match
from orchestrator.engine.timers import fire
from orchestrator.engine.why import why, why_event
from orchestrator.engine.work import take, work
from orchestrator.store import events, functions, jobs, runs
from orchestrator.store.crons import TIMED
from orchestrator.store.database import Database
from orchestrator.store.jobs import Lease
from orchestrator.store.tables import pools
from tests.engine.flows import Flows, a_function
from tests.engine.world import returned

ONE = [{"limit": 1}]
SHARED = [{"limit": 1, "key": '"k"', "scope": "env"}]
WHOLE_RUN = {"fn": [{"limit": 1}]}
SLOW = {"limit": 1, "period": "10s", "burst": 0}
Begun = Sequence[Held | Lease]


class Hall(Flows):
    """A world in which several calls are under way at once."""

    def due(self) -> Begun:
        """Lease every call that is due."""
        return take(self.parts, self.jobs(jobs.CALL))

    def fired(self) -> Begun:
        """Let the timers go off whose time has come, and lease what is due then."""
        for job_id in self.jobs(*TIMED):
            fire(self.parts, job_id, 0)
        return self.due()

    def during_the_first(self, do: Callable[[], object]) -> None:
        """Do something while the first call is under way."""

        def answer(call: Call) -> Answer:
            self.called.append(call)
            if len(self.called) == 1:
                do()
            return returned(call)

        self.driver.answer = answer

    def call_together(self, begun: Begun) -> list[tuple[int, int]]:
        """Make the first call, and try the others meanwhile; returns what is taken then, and how many wait."""
        seen = list[tuple[int, int]]()
        first, *others = begun

        def try_the_others() -> None:
            for other in others:
                work(self.parts, other)
            seen.extend(self.levels())

        self.during_the_first(try_the_others)
        work(self.parts, first)
        return seen

    def levels(self) -> list[tuple[int, int]]:
        with self.database.read() as conn:
            return [(row.used, row.waiting) for row in conn.execute(select(pools).order_by(pools.c.key))]

    def why(self, number: int) -> str | None:
        """What a run waits for."""
        with self.database.read() as conn:
            run = runs.get(conn, self.runs()[number].id)
            assert run is not None
            function = functions.function(conn, run.function_id)
            return sentence(why(conn, run, function, [], [], self.clock.now()))

    def why_event(self, event_id: str) -> list[str]:
        """What an event waits for."""
        with self.database.read() as conn:
            event = events.get(conn, event_id)
            assert event is not None
            return [reason.sentence for reason in why_event(self.parts.versions, conn, event)]

    def drain(self) -> None:
        while self.work():
            pass


def test_debounced_starts_take_slots(database: Database) -> None:
    hall = Hall(database, a_function(concurrency=ONE, debounce={"period": "5s", "key": "event.data"}))
    hall.receive("a", "b")
    hall.clock.advance(timedelta(seconds=5))

    seen = hall.call_together(hall.fired())
    hall.drain()

    assert [(1, 1)] == seen
    assert ({"completed": 2}, [(0, 0)]) == (hall.statuses(), hall.levels())


@pytest.mark.parametrize(("events", "wait"), [("aabb", 0), ("ab", 10)])
def test_batches_take_slots(database: Database, events: str, wait: int) -> None:
    batch = {"maxSize": 2, "timeout": "10s", "key": "event.data"}
    hall = Hall(database, a_function(concurrency=ONE, batchEvents=batch))
    hall.receive(*events)
    hall.clock.advance(timedelta(seconds=wait))

    seen = hall.call_together(hall.fired())
    hall.drain()

    assert [(1, 1)] == seen
    assert {"completed": 2} == hall.statuses()
    assert [list("aabb")[: len(events) // 2], list("aabb")[-(len(events) // 2) :]] == hall.calls()


@pytest.mark.parametrize("room", [0, 9])
def test_a_throttled_start_counts_when_it_has_its_slot(database: Database, room: int) -> None:
    hall = Hall(database, a_function(concurrency=ONE, throttle=SLOW))
    hall.send(1, 2, 3)

    def let_time_pass() -> None:
        for _ in range(2):
            hall.clock.advance(timedelta(seconds=10))
            for lease in hall.fired():
                work(hall.parts, lease)

    hall.during_the_first(let_time_pass)
    hall.match(room)
    hall.drain()
    after_20_s = hall.calls()
    hall.wait(9)
    after_29_s = hall.calls()
    hall.wait(1)

    assert [[1], [2]] == after_20_s == after_29_s, (
        "the second one waited for its slot, and the third one for the second"
    )
    assert [[1], [2], [3]] == hall.calls()
    assert [(0, 0)] == hall.levels()


def test_a_throttled_start_that_finds_its_slot_late_counts_from_then(database: Database) -> None:
    hall = Hall(database, a_function(concurrency=ONE, throttle=SLOW))
    hall.receive(1, 2)

    hall.clock.advance(timedelta(seconds=4))
    hall.work()
    hall.wait(9)
    after_13_s = hall.calls()
    hall.wait(1)

    assert ([[1]], [[1], [2]]) == (after_13_s, hall.calls())


@pytest.mark.parametrize("room", [0, 9])
def test_throttled_starts_do_not_pile_up_before_a_slot(database: Database, room: int) -> None:
    throttled = a_function(concurrency=SHARED, throttle=SLOW)
    hall = Hall(database, throttled, a_function("gn", "g", concurrency=SHARED))
    hall.receive(0, name="g")

    def let_time_pass() -> None:
        hall.send(1, 2)
        hall.match(room)
        for _ in range(3):
            for lease in hall.fired():
                work(hall.parts, lease)
            hall.clock.advance(timedelta(seconds=10))

    hall.during_the_first(let_time_pass)
    hall.work()
    hall.drain()
    hall.wait(9)
    after_39_s = hall.calls()
    hall.wait(1)

    assert ([[0], [1]], [[0], [1], [2]]) == (after_39_s, hall.calls())


@pytest.mark.parametrize("room", [0, 9])
def test_who_waits_for_a_slot_is_served_by_priority_and_then_by_age(database: Database, room: int) -> None:
    hall = Hall(database, a_function(concurrency=ONE, priority={"run": "event.data"}))
    hall.send(0, 1, 60, 2)

    begun = match(hall.parts, hall.jobs(jobs.MATCH), room)
    begun = sorted([*begun, *hall.due()], key=lambda it: it.job_id if isinstance(it, Lease) else it.lease.job_id)
    seen = hall.call_together(begun)
    hall.drain()

    assert [(1, 3)] == seen
    assert [[0], [60], [2], [1]] == hall.calls()


def test_a_run_that_a_pause_holds_leaves_its_slot_to_others(database: Database) -> None:
    hall = Hall(database, a_function(concurrency=SHARED), a_function("gn", "g", concurrency=SHARED))
    hall.receive(1, 2)
    hall.call_together(hall.due())
    pause(hall.parts, "app-fn")

    hall.work()
    held = hall.levels()
    hall.receive(3, name="g")
    hall.work()
    while_paused = hall.calls()
    resume(hall.parts, "app-fn")
    hall.work()

    assert [(0, 0)] == held
    assert ([[1], [3]], [[1], [3], [2]]) == (while_paused, hall.calls())


def test_a_run_that_a_pause_holds_leaves_a_slot_of_a_whole_run_too(database: Database) -> None:
    hall = Hall(database, a_function(concurrency=WHOLE_RUN))
    hall.receive(1, 2)
    hall.call_together(hall.due())
    pause(hall.parts, "app-fn")

    hall.work()

    assert [(0, 0)] == hall.levels()


@pytest.mark.parametrize("options", [{}, {"debounce": {"period": "5s", "key": "event.data"}}])
def test_a_run_that_gives_way_to_a_singleton_makes_room_for_who_waits(
    database: Database, options: dict[str, object]
) -> None:
    singleton = {"mode": "cancel", "key": "event.data"}
    hall = Hall(database, a_function(concurrency=WHOLE_RUN, singleton=singleton, **options))
    hall.driver.answer = naps(hall)
    hall.receive("a")
    hall.wait(5)
    hall.receive("b")
    hall.wait(5)
    before = hall.levels()

    hall.receive("a")
    hall.clock.advance(timedelta(seconds=5))
    due = hall.fired()
    for lease in due:
        work(hall.parts, lease)

    assert 2 == len(due), "the second one's call is ready as soon as the third one exists"
    assert [(1, 1)] == before == hall.levels(), "now the second one has the slot, and the third one waits"
    assert ["cancelled", "running", "queued"] == [run.status for run in hall.runs()]
    assert [["a"], ["b"]] == hall.calls()


def naps(hall: Hall) -> Callable[[Call], Answer]:
    def answer(call: Call) -> Answer:
        hall.called.append(call)
        until = hall.clock.now() + timedelta(hours=1)
        return Answer(Asked(None, call.attempt, (SleepAsked("nap", "nap", "Sleep", until),)), request_version=2)

    return answer


def test_why_a_start_waits_is_told_from_what_is_stored(database: Database) -> None:
    hall = Hall(database, a_function(concurrency=ONE, throttle=SLOW))
    hall.receive(1, 2, 3)
    throttled = [hall.why(number) for number in (1, 2)]

    pause(hall.parts, "app-fn")

    told = "a throttle holds it: {} before it, and the next may begin at 2026-01-01T00:00:10.000Z"
    assert [told.format("no run stands"), told.format("1 run stands")] == throttled
    assert (hall.why(0) or "").startswith("its function is paused since 2026-01-01T00:00:00.000Z")


def test_why_an_event_starts_no_run_yet_is_told(database: Database) -> None:
    hall = Hall(
        database,
        a_function(debounce={"period": "5s"}),
        a_function("bn", batchEvents={"maxSize": 3, "timeout": "10s"}),
    )
    first, last = hall.receive(1, 2)

    debounce = "a debounce of app-fn lets it start at 2026-01-01T00:00:05.000Z, unless more events come"
    batch = "a batch of app-bn has 2 of 3 events, and starts at 2026-01-01T00:00:10.000Z if it is not full before"
    assert [debounce, batch] == sorted(hall.why_event(last), reverse=True)
    assert [f"{debounce}, and then with a later event in its place", batch] == sorted(
        hall.why_event(first), reverse=True
    )
    hall.wait(10)
    assert [] == hall.why_event(last)

"""Waits for one signal: one run gets it, whoever asks when, and nobody crashes over that."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from orchestrator.core.effect import Status
from orchestrator.core.message import Asked, SignalAsked
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.signal import signal
from orchestrator.engine.work import take, work
from orchestrator.store import jobs, runs
from orchestrator.store.database import Database
from tests.engine.world import NOW, World

HOUR = NOW + timedelta(hours=1)


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def waits(*asked: tuple[str, bool], before: Callable[[], object] = lambda: None) -> Callable[[Call], Answer]:
    """A function that waits, in as many steps, for signals, replacing who waits for them or not."""

    def answer(call: Call) -> Answer:
        before()
        ops = [SignalAsked(f"s{at}", "s", "WaitForSignal", name, HOUR, new) for at, (name, new) in enumerate(asked)]
        return Answer(Asked(None, call.attempt, tuple(ops)))

    return answer


def states(world: World, events: list[str]) -> list[tuple[Status, str | None]]:
    with world.parts.database.read() as conn:
        found = [run for event_id in events for run in runs.of_event(conn, event_id)]
    return sorted((run.status, run.error) for run in found)


@pytest.mark.parametrize("replace", [False, True])
def test_runs_that_wait_for_a_signal_in_the_same_instant_settle_it_at_once(world: World, *, replace: bool):
    count = 4
    for round_ in range(4):
        together = Barrier(count)
        name = f"sig/{round_}"
        world.driver.answer = waits((name, replace), before=lambda it=together: it.wait(30))
        events = []
        if round_:
            world.heard.hints.clear()
        for _ in range(count):
            world.send()
            events.append(world.event_id)
        world.start()
        held = take(world.parts, world.heard.take())[-count:]

        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda one: work(world.parts, one), held))

        ended = states(world, events)
        waiting = [error for status, error in ended if status is Status.RUNNING]
        failed = [error for status, error in ended if status is Status.FAILED]
        assert (count, 0) if replace else (1, count - 1) == (len(waiting), len(failed))
        assert all("SignalConflict" in (error or "") for error in failed)
        with world.parts.database.read() as conn:
            assert {0} == {row.crashes for row in conn.execute(jobs.jobs.select())}
        assert signal(world.parts, name, "1")


def test_a_run_that_waits_for_one_signal_in_two_steps_fails_with_the_reason(world: World):
    world.driver.answer = waits(("sig", False), ("sig", False))
    world.start()

    world.work()

    assert (Status.FAILED, True) == (world.run.status, "SignalConflict" in (world.run.error or ""))


def test_the_second_wait_of_a_run_may_replace_its_first(world: World):
    world.driver.answer = waits(("sig", False), ("sig", True))
    world.start()

    world.work()

    assert (Status.RUNNING, 2) == (world.run.status, world.run.open)
    assert world.run.id == signal(world.parts, "sig", "1")

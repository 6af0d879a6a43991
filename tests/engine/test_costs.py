"""What a run costs in statements and transactions: counted, because each of them is what the time goes into."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from orchestrator.core.effect import Status
from orchestrator.core.message import Asked, StepDone
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.match import match
from orchestrator.engine.work import take, work
from orchestrator.store import runs, schema
from orchestrator.store.database import Database
from orchestrator.store.postgresql import HotPath
from tests.engine.world import MINUTE, World, group, returned, sleeps, waits
from tests.services import own_database

STEPS = 10


class Costs:
    """Statements (by whatever way they are sent) and transactions of more than one statement."""

    def __init__(self) -> None:
        self.counts = Counter[str]()

    @contextmanager
    def counting(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
        me = threading.get_ident()

        def note(kind: str) -> None:
            if threading.get_ident() == me:
                self.counts[kind] += 1

        def statement(*args: object) -> None:
            if "BEGIN" not in str(args[2]):
                note("statements")

        def commit(_conn: object) -> None:
            note("transactions")

        run, count = HotPath._run, HotPath._count
        event.listen(Engine, "before_cursor_execute", statement)
        event.listen(Engine, "commit", commit)
        with monkeypatch.context() as patch:
            patch.setattr(HotPath, "_run", lambda *args: (note("statements"), run(*args))[1])
            patch.setattr(HotPath, "_count", lambda *args: (note("statements"), count(*args))[1])
            yield self.counts
        event.remove(Engine, "before_cursor_execute", statement)
        event.remove(Engine, "commit", commit)


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "sqlite":
        yield from _world(f"sqlite:///{tmp_path / 'state.db'}")
        return
    with own_database("postgresql") as url:
        yield from _world(url)


def _world(url: str) -> Iterator[World]:
    schema.upgrade(url)
    database = Database(url, synchronous="OFF")
    yield World(database)
    database.close()


def chain(call: Call) -> Answer:
    done = len(call.memo)
    if done == STEPS:
        return returned(call)
    return Answer(Asked(None, call.attempt, (StepDone(f"s{done}", f"s{done}", "StepRun", "1"),)), request_version=2)


def test_each_hop_costs_what_it_may(world: World, monkeypatch: pytest.MonkeyPatch):
    """On PostgreSQL one statement a hop; elsewhere a few, in one transaction a hop."""
    one_by_one = world.parts.database.kind == "postgresql"
    world.driver.answer = chain
    # The function becomes known to this process by its first run, as it would in a worker.
    [held] = match(world.parts, world.heard.take(), room=1)
    work(world.parts, held)
    world.send()

    with Costs().counting(monkeypatch) as matching:
        [held] = match(world.parts, world.heard.take(), room=1)
    with Costs().counting(monkeypatch) as running:
        work(world.parts, held)

    assert Status.COMPLETED is world.run.status
    if one_by_one:
        assert {"statements": 3} == matching
        assert {"statements": STEPS + 1} == running
    else:
        assert {"statements": 7, "transactions": 1} == matching
        assert {"statements": 2 * STEPS + 7, "transactions": STEPS + 1} == running


def test_a_parallel_step_costs_its_end_however_many_there_are(world: World, monkeypatch: pytest.MonkeyPatch):
    """One statement on PostgreSQL, four in one transaction elsewhere; leasing and reading are the group's."""
    width = 20
    world.driver.answer = group(width)
    world.start()
    world.work()
    heard = world.heard.take()

    with Costs().counting(monkeypatch) as leasing:
        held = take(world.parts, heard)
    with Costs().counting(monkeypatch) as first:
        work(world.parts, held[0])
    with Costs().counting(monkeypatch) as others:
        for one in held[1:-1]:
            work(world.parts, one)
    work(world.parts, held[-1])

    assert (width, Status.COMPLETED) == (len(held), world.run.status)
    if world.parts.database.kind == "postgresql":
        assert {"statements": 1} == leasing
        assert {"statements": 2} == first
        assert {"statements": width - 2} == others
    else:
        assert {"statements": 1, "transactions": 1} == leasing
        assert {"statements": 5, "transactions": 1} == first
        assert {"statements": 4 * (width - 2), "transactions": width - 2} == others


def test_resuming_a_run_costs_what_it_may(world: World, monkeypatch: pytest.MonkeyPatch):
    world.driver.answer = waits
    world.start()
    world.work()
    run = world.run
    world.heard.take()
    world.send("go")

    with Costs().counting(monkeypatch) as matching:
        [held] = match(world.parts, world.heard.take(), room=1)
    with Costs().counting(monkeypatch) as resuming:
        work(world.parts, held)

    assert Status.COMPLETED is status_of(world, run.id)
    if world.parts.database.kind == "postgresql":
        assert {"statements": 5} == matching
        assert {"statements": 5} == resuming
    else:
        assert {"statements": 9, "transactions": 1} == matching
        assert {"statements": 17, "transactions": 2} == resuming


def test_waking_a_run_costs_what_it_may(world: World, monkeypatch: pytest.MonkeyPatch):
    world.driver.answer = sleeps
    world.start()
    world.work()
    world.clock.advance(MINUTE)
    [held] = take(world.parts, world.heard.take())

    with Costs().counting(monkeypatch) as waking:
        work(world.parts, held)

    assert Status.COMPLETED is world.run.status
    if world.parts.database.kind == "postgresql":
        assert {"statements": 4} == waking
    else:
        assert {"statements": 15, "transactions": 2} == waking


def status_of(world: World, run_id: str) -> Status:
    with world.parts.database.read() as conn:
        run = runs.get(conn, run_id)
    assert run is not None
    return run.status


def test_taking_up_a_run_that_waited_costs_three_statements_more(world: World, monkeypatch: pytest.MonkeyPatch):
    """To lease its job, to load it, and to note that it has begun; under load most runs wait."""
    world.driver.answer = chain
    world.start()

    with Costs().counting(monkeypatch) as working:
        world.work()

    assert Status.COMPLETED is world.run.status
    if world.parts.database.kind == "postgresql":
        assert {"statements": 3 + STEPS + 1} == working
    else:
        assert {"statements": 3 + 2 * STEPS + 7, "transactions": 2 + STEPS + 1} == working


def test_taking_an_event_in_costs_one_transaction(world: World, monkeypatch: pytest.MonkeyPatch):
    with Costs().counting(monkeypatch) as taking:
        world.send()

    if world.parts.database.kind == "postgresql":
        assert {"statements": 1} == taking
    else:
        assert {"statements": 4, "transactions": 1} == taking

"""What a function in process costs: statements are counted, and CPU time must not grow with the steps before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engine.match import match
from orchestrator.engine.work import work
from orchestrator.sdk.context import Context
from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import Options
from orchestrator.sdk.triggers import Event
from orchestrator.store import schema
from orchestrator.store.database import Database
from tests.engine.test_costs import Costs
from tests.sdk.local_world import LocalWorld
from tests.services import own_database

STEPS = 10
LONG = 5000
#: Steps whose times are added up, and how many such rounds are compared at either end.
ROUND, ROUNDS = 100, 5
#: What the last steps may cost of what the first ones do, in one of so many runs.
MOST, RUNS = 1.2, 4


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        yield from _opened(f"sqlite:///{tmp_path / 'state.db'}")
        return
    with own_database("postgresql") as url:
        yield from _opened(url)


def _opened(url: str) -> Iterator[Database]:
    schema.upgrade(url)
    database = Database(url, synchronous="OFF")
    yield database
    database.close()


def a_world(database: Database, steps: int, times: list[float]) -> LocalWorld:
    """One function of so many steps, which notes the CPU time of its thread at each."""

    def fn(ctx: Context) -> None:
        for at in range(steps):
            ctx.step.run("step", times.append, time.thread_time())
            assert at < steps

    registry = Registry("shop")
    registry.add(fn, Event("fn"), options=Options())
    return LocalWorld(database, registry)


def test_a_step_costs_one_statement_and_the_rest_of_a_run_five(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL: event, its reading, who listens, start, each step, end.  Elsewhere more, in five transactions."""
    world = a_world(database, STEPS, [])
    # The function becomes known to this process by its first run, as it would in a worker.
    world.send("fn")
    world.settle()

    with Costs().counting(monkeypatch) as spent:
        event = world.send("fn")
        held = match(world.parts, [hint.job_id for hint in world.heard.hints], room=1)
        for one in held:
            work(world.parts, one)

    assert "completed" == world.run(event).status
    if database.kind == "postgresql":
        assert {"statements": 5 + STEPS} == spent
    else:
        assert {"statements": 18 + 2 * STEPS, "transactions": 3 + STEPS} == spent


def test_step_five_thousand_costs_what_the_first_ones_do(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    times = list[float]()
    world = a_world(database, LONG, times)
    each = 1 if database.kind == "postgresql" else 2
    growth = list[float]()

    # The best of some rounds of the best of some runs, for the machine does other things, too.
    while len(growth) < RUNS and min(growth, default=2.0) > MOST:
        times.clear()
        with Costs().counting(monkeypatch) as spent:
            event = world.send("fn")
            world.settle()
        assert "completed" == world.run(event).status
        assert LONG * each <= spent["statements"] <= LONG * each + 60
        rounds = [times[at + ROUND - 1] - times[at] for at in range(0, LONG, ROUND)]
        growth.append(min(rounds[-ROUNDS:]) / min(rounds[:ROUNDS]))

    assert min(growth) <= MOST

"""Runs to be run again, and what became of them."""

from __future__ import annotations

import orjson
from sqlalchemy import update

from orchestrator.core.message import Asked, Returned, StepDone, StepPlanned
from orchestrator.drivers.base import Answer, Call
from orchestrator.store import history, runs, tables
from orchestrator.store.database import Database
from orchestrator.store.runs import StoredRun
from tests.engine.world import World


def made(database: Database, options: str = "", first: bool = True) -> World:
    """A function that has answered its first event, if that shall be."""
    world = World(database, options)
    if first:
        go(world)
    return world


def go(world: World) -> None:
    """Do whatever there is to do now."""
    world.start()
    work(world)


def work(world: World) -> None:
    while world.heard.hints:
        world.work()


def all_runs(world: World) -> list[StoredRun]:
    with world.parts.database.read() as conn:
        ids = [row.id for row in conn.execute(tables.runs.select().order_by(tables.runs.c.id))]
        return [run for run_id in ids if (run := runs.get(conn, run_id)) is not None]


def run_of(world: World, run_id: str) -> StoredRun:
    return next(run for run in all_runs(world) if run.id == run_id)


def story(world: World, run_id: str) -> list[tuple[str, dict[str, object]]]:
    with world.parts.database.read() as conn:
        return [(it.kind, orjson.loads(it.data or "{}")) for it in history.of_run(conn, run_id)]


def chain(*names: str) -> object:
    """A function of these steps, one after the other; what it returns is the memo, what a step gives its own number."""

    def answer(call: Call) -> Answer:
        left = [name for name in names if name not in call.memo]
        if not left:
            return Answer(Returned(None, call.attempt, orjson.dumps(dict(call.memo)).decode()))
        done = StepDone(left[0], left[0], "StepRun", f'"{call.run_id}"')
        return Answer(Asked(None, call.attempt, (done,)), request_version=2)

    return answer


def outputs(world: World, run_id: str) -> dict[str, str]:
    """Which run did each step of a `chain`."""
    memo = orjson.loads(run_of(world, run_id).output or "{}")
    return {step: orjson.loads(text)["data"] for step, text in memo.items()}


def parallel_then(last: str) -> object:
    """Two steps at once, `y` of which is done first, and one after both."""

    def answer(call: Call) -> Answer:
        if call.target is not None:
            done = StepDone(call.target, call.target, "StepRun", f'"{call.run_id}"')
            return Answer(Asked(call.target, call.attempt, (done,)), request_version=2)
        if "x" not in call.memo:
            planned = tuple(StepPlanned(name, name, "StepRun") for name in ("y", "x"))
            return Answer(Asked(None, call.attempt, planned), request_version=2)
        return chain("x", "y", last)(call)  # type: ignore[operator]

    return answer


def in_js(world: World) -> None:
    with world.parts.database.write() as conn:
        conn.execute(update(tables.apps).values(sdk_language="js"))

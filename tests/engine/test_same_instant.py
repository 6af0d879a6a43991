"""A run's end and its output come to be seen together: nobody who reads sees the one without the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from orchestrator.core.effect import Status
from orchestrator.core.message import Returned, Threw
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.search import search_runs
from orchestrator.engine.trace import span_output, trace
from orchestrator.store import search
from orchestrator.store.database import Database
from orchestrator.store.filters import RunFilter
from tests.engine.world import World
from tests.store.factories import add_run

RUNS = 30
OUTPUT = '"' + "o" * 5_000 + '"'

ENDINGS: dict[str, Callable[[Call], Answer]] = {
    "returned": lambda call: Answer(Returned(None, call.attempt, OUTPUT)),
    "threw": lambda call: Answer(Threw(None, call.attempt, f'{{"name":"E","message":{OUTPUT}}}', retryable=False)),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nobody_sees_an_end_without_an_output(database: Database, ending: str) -> None:
    world = World(database)
    world.driver.answer = ENDINGS[ending]
    seen, over = list[tuple[bool, bool]](), threading.Event()
    reader = threading.Thread(target=lambda: seen.extend(_watch(database, over)))
    reader.start()
    try:
        for _ in range(RUNS):
            world.send()
            world.start()
            world.work()
    finally:
        over.set()
        reader.join(20)

    assert (True, True) in seen
    assert [] == [it for it in seen if it not in ((True, True), (False, False))]


def _watch(database: Database, over: threading.Event) -> list[tuple[bool, bool]]:
    """Whether each run had ended, and whether it had an output, read by a list and by a trace, again and again."""
    seen = list[tuple[bool, bool]]()
    last = False
    while not last:
        last = over.is_set()
        with database.read() as conn:
            rows = search_runs(conn, RunFilter(), limit=5).items
            outputs = search.outputs(conn, [row.id for row in rows])
        seen += [(True, outputs[row.id] is not None) for row in rows if row.status.final]
        for row in rows[:2]:
            with database.snapshot() as conn:
                found = trace(conn, row.id)
                assert found is not None
                result = span_output(conn, found.root.output_id) if found.root.output_id is not None else None
            has_output = result is not None and (result.data is not None or result.error is not None)
            seen.append((found.root.ended_at is not None, has_output))
    return seen


def test_a_snapshot_sees_one_moment(concurrent: Database) -> None:
    with concurrent.snapshot() as reading:
        before = search_runs(reading, RunFilter()).items
        with concurrent.write() as conn:
            add_run(conn, status=Status.RUNNING, queued_at=datetime.now(UTC))
        meanwhile = search_runs(reading, RunFilter()).items
    with concurrent.read() as reading:
        after = search_runs(reading, RunFilter()).items

    assert ((), (), 1) == (before, meanwhile, len(after))

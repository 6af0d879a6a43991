"""How GraphQL reads: for many at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event as sql_events

from orchestrator.core.effect import Status
from orchestrator.store import runs
from tests.api.asking import data
from tests.api.conftest import NOW

if TYPE_CHECKING:
    from tests.api.conftest import World

NOBODY = "01J00000000000000000000000"


@contextmanager
def counting(world: World) -> Iterator[list[str]]:
    """The statements that are made meanwhile."""
    made = list[str]()

    def note(_conn: object, _cursor: object, statement: str, *_more: object) -> None:
        made.append(statement)

    readers = world.parts.database._readers  # there is no other way to see what is asked
    sql_events.listen(readers, "before_cursor_execute", note)
    yield made
    sql_events.remove(readers, "before_cursor_execute", note)


MANY = [
    """
    {
      runs(first: %d, filter: {from: "2026-01-01T00:00:00Z"}, orderBy: []) {
        totalCount
        edges {
          node {
            id status output function {slug app {name}} app {name functions {slug}} hasAI defers {id} triggerIDs
          }
        }
      }
    }
    """,
    """
    {
      eventsV2(first: %d, filter: {from: "2026-01-01T00:00:00Z"}) {
        edges {node {id runs {id output function {slug failureHandler {id}}}}}
      }
    }
    """,
    "{stream(query: {limit: %d}) {id runs {id output function {slug concurrency} event {raw} waitingFor {eventName}}}}",
    "{stream(query: {limit: %d}) {runs {events {raw functionRuns {id}}}}}",
]


@pytest.mark.parametrize("query", MANY, ids=range(len(MANY)))
def test_a_long_list_takes_no_more_statements_than_a_short_one(client: FlaskClient, world: World, query: str) -> None:
    world.app(slugs=[f"shop-{n}" for n in range(30)])
    for n in range(30):
        world.run(world.event(), f"shop-{n}")

    counts = list[int]()
    for size in (2, 30):
        with counting(world) as made:
            data(client, query % size)
        counts.append(len(made))

    assert counts[0] == counts[1]


def test_a_run_that_ends_while_it_is_read_shows_its_end_and_its_output_together(
    client: FlaskClient, world: World
) -> None:
    run_id = world.run(world.event())
    ended = list[str]()

    def end(_conn: object, _cursor: object, statement: str, *_more: object) -> None:
        """End the run as soon as its row has been read."""
        if "FROM runs" in statement and not ended:
            ended.append(statement)
            with world.parts.database.write() as conn:
                runs.finish(conn, run_id, Status.COMPLETED, "7", None, NOW)

    readers = world.parts.database._readers  # there is no other way to come in between
    sql_events.listen(readers, "after_cursor_execute", end)
    query = "query ($id: String!) {run(runID: $id) {output status} other: run(runID: $id) {status output}}"
    first = data(client, query, id=run_id)
    sql_events.remove(readers, "after_cursor_execute", end)
    second = data(client, query, id=run_id)

    before, after = {"status": "RUNNING", "output": None}, {"status": "COMPLETED", "output": "7"}
    assert {"run": before, "other": before} == first
    assert {"run": after, "other": after} == second

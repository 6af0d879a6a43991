"""What GraphQL tells of runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.core.effect import Record, SaveStep, Status, StepStatus
from orchestrator.ids import named_uuid
from orchestrator.store import batches, runs
from orchestrator.store.runs import NewRun
from tests.api.asking import all_pages, data, nodes, refused
from tests.api.conftest import NOW, ulid

if TYPE_CHECKING:
    from tests.api.conftest import World

NOBODY = "01J00000000000000000000000"


RUNS = """
query ($first: Int! = 2, $after: String, $order: [RunsV2OrderBy!]! = [], $filter: RunsFilterV2!) {
  runs(first: $first, after: $after, orderBy: $order, filter: $filter) {
    totalCount edges {node {id}} pageInfo {hasNextPage endCursor}
  }
}
"""
FROM: dict[str, object] = {"from": "2026-01-01T00:00:00Z"}


def test_runs_are_found_by_time_status_function_app_and_condition(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill", "shop-ship"])
    sold, lost = world.event(data='{"n":1}'), world.event("shop/lost", data='{"n":2}')
    done = world.finished(sold, Status.COMPLETED, output='{"paid":7}')
    failed = world.finished(lost, Status.FAILED, error='{"message":"no"}')
    shipped = world.run(sold, "shop-ship")

    def found(**wanted: object) -> set[str]:
        return set(all_pages(lambda after: data(client, RUNS, first=10, after=after, filter=FROM | wanted)["runs"]))

    assert {done, failed, shipped} == found()
    assert {failed} == found(status=["FAILED"])
    assert {done, shipped} == found(status=["COMPLETED", "RUNNING", "RUNNING"])
    assert {shipped} == found(functionIDs=[named_uuid("function", "shop-ship")])
    assert {done, failed, shipped} == found(appIDs=[named_uuid("app", "shop")])
    assert set() == found(appIDs=[named_uuid("app", "other")])
    assert {done, failed} == found(timeField="ENDED_AT")
    assert set() == found(until="2026-02-01T00:00:00Z")
    assert {done} == found(query="output.paid == 7")
    assert {failed} == found(query="event.data.n == 2")
    assert {failed} == found(query='output.message == "no"')
    assert set() == found(isDeferred=True)
    assert {done, failed, shipped} == found(isDeferred=False)
    assert "names 101 things, the limit is 100" in refused(
        client, RUNS, filter=FROM | {"functionIDs": [named_uuid(str(n)) for n in range(101)]}
    )


@pytest.mark.parametrize("field", ["QUEUED_AT", "STARTED_AT", "ENDED_AT"])
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_runs_are_paged_in_the_order_that_is_asked_for(
    client: FlaskClient, world: World, field: str, direction: str
) -> None:
    event = world.event()
    made = [world.run(event, f"shop-{n}", Status.RUNNING if n % 2 else Status.QUEUED) for n in range(5)]
    for number, run_id in enumerate(made[:3]):
        with world.parts.database.write() as conn:
            runs.finish(conn, run_id, Status.COMPLETED, "1", None, NOW + timedelta(seconds=3 - number))
    order, after, found = [{"field": field, "direction": direction}], None, list[str]()

    while True:
        page = data(client, RUNS, filter=FROM, order=order, after=after)["runs"]
        found += nodes(page)
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break

    whole = nodes(data(client, RUNS, first=100, filter=FROM, order=order)["runs"])
    assert (5, sorted(made), whole) == (page["totalCount"], sorted(found), found)
    if field == "ENDED_AT":
        ended = [run_id for run_id in found if run_id in made[:3]]
        assert ended == (made[:3] if direction == "DESC" else made[2::-1])


def test_a_run_is_told_whole(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    event = world.event()
    run_id = world.finished(event, Status.COMPLETED, output='{"big":12345678901234567890123}')

    run = data(
        client,
        """
        query ($id: String!, $other: ID!) {
          run(runID: $id) {
            id appID app {name} functionID function {slug} traceID queuedAt startedAt endedAt status triggerIDs
            eventName isBatch batchCreatedAt cronSchedule output hasAI defers {id} siblingDefers {id}
            deferredFrom {runID} isDeferred
          }
          functionRun(query: {functionRunId: $other}) {
            id function {slug} event {id} events {id} batchID status waitingFor {eventName} startedAt finishedAt output
            history {type} eventID cron
          }
        }
        """,
        id=run_id,
        other=run_id,
    )

    assert {
        "id": run_id,
        "appID": named_uuid("app", "shop"),
        "app": {"name": "shop"},
        "functionID": named_uuid("function", "shop-bill"),
        "function": {"slug": "shop-bill"},
        "traceID": run_id,
        "queuedAt": "2026-11-21T12:00:00.123Z",
        "startedAt": "2026-11-21T12:00:00.123Z",
        "endedAt": "2026-11-21T12:00:02.123Z",
        "status": "COMPLETED",
        "triggerIDs": [event.id],
        "eventName": "shop/sold",
        "isBatch": False,
        "batchCreatedAt": None,
        "cronSchedule": None,
        "output": '{"big":12345678901234567890123}',
        "hasAI": False,
        "defers": [],
        "siblingDefers": [],
        "deferredFrom": None,
        "isDeferred": False,
    } == run["run"]
    assert {
        "id": run_id,
        "function": {"slug": "shop-bill"},
        "event": {"id": event.id},
        "events": [{"id": event.id}],
        "batchID": None,
        "status": "COMPLETED",
        "waitingFor": None,
        "startedAt": "2026-11-21T12:00:00.123Z",
        "finishedAt": "2026-11-21T12:00:02.123Z",
        "output": '{"big":12345678901234567890123}',
        "history": [],
        "eventID": event.id,
        "cron": None,
    } == run["functionRun"]


def test_a_run_that_is_not_there_is_null_or_an_error_where_null_may_not_be(client: FlaskClient) -> None:
    assert {"run": None, "functionRun": None} == data(
        client,
        "query ($id: String!, $other: ID!) {run(runID: $id) {id} functionRun(query: {functionRunId: $other}) {id}}",
        id=NOBODY,
        other=NOBODY,
    )
    for query in ("runTrigger(runID: $id) {isBatch}", "runTrace(runID: $id) {name}"):
        assert f"there is no run {NOBODY}" == refused(client, f"query ($id: String!) {{{query}}}", id=NOBODY)
    assert 'there is no span with the outputID "x"' == refused(client, '{runTraceSpanOutputByID(outputID: "x") {data}}')


def test_a_run_of_a_batch_tells_all_of_its_events(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-many"])
    seen = [world.event("shop/seen", data=f'{{"n":{n}}}') for n in range(3)]
    run_id, batch_id = ulid(900), ulid(901)
    new = NewRun(
        run_id,
        named_uuid("function", "shop-many"),
        1,
        seen[0].id,
        "shop/seen",
        Status.RUNNING,
        NOW,
        NOW,
        batch_id=batch_id,
    )
    with world.parts.database.write() as conn:
        batches.add(conn, batch_id, [event.id for event in seen])
        runs.add(conn, [new])

    told = data(
        client,
        "query ($id: String!) {run(runID: $id) {isBatch batchCreatedAt triggerIDs}"
        " runTrigger(runID: $id) {IDs payloads isBatch batchID timestamp eventName cron}}",
        id=run_id,
    )

    ids = [event.id for event in seen]
    assert {"isBatch": True, "batchCreatedAt": "2026-11-21T12:00:00.123Z", "triggerIDs": ids} == told["run"]
    assert {
        "IDs": ids,
        "payloads": [event.wire() for event in seen],
        "isBatch": True,
        "batchID": batch_id,
        "timestamp": "2023-11-14T22:13:20.000Z",
        "eventName": "shop/seen",
        "cron": None,
    } == told["runTrigger"]


def test_a_run_of_a_schedule_tells_its_line(client: FlaskClient, world: World) -> None:
    tick = world.event("inngest/scheduled.timer", data='{"cron":"0 7 * * *"}')
    run_id = world.run(tick)

    told = data(
        client,
        "query ($id: String!) {run(runID: $id) {cronSchedule eventName} runTrigger(runID: $id) {cron eventName}}",
        id=run_id,
    )

    assert {"cronSchedule": "0 7 * * *", "eventName": None} == told["run"]
    assert {"cron": "0 7 * * *", "eventName": None} == told["runTrigger"]


def test_a_runs_history_names_its_steps(client: FlaskClient, world: World) -> None:
    run_id = world.run(world.event())
    world.steps(run_id, SaveStep("hash", "pay", "StepRun", StepStatus.RETRYING, attempts=1))
    world.history(run_id, Record("attempt failed", "hash", 0, '{"error":{"message":"no"}}'))

    query = (
        "query ($id: ID!) {functionRun(query: {functionRunId: $id}) {history {id type attempt stepID stepName result}}}"
    )
    [entry] = data(client, query, id=run_id)["functionRun"]["history"]

    assert {
        "id": f"{run_id}.0",
        "type": "attempt failed",
        "attempt": 0,
        "stepID": "hash",
        "stepName": "pay",
        "result": '{"error":{"message":"no"}}',
    } == entry

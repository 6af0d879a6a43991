"""What GraphQL tells of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.core.effect import Status
from orchestrator.store import runs
from tests.api.asking import all_pages, data, nodes, refused
from tests.api.conftest import NOW

if TYPE_CHECKING:
    from tests.api.conftest import World

NOBODY = "01J00000000000000000000000"


def test_an_event_is_told_with_what_became_of_its_runs(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill", "shop-ship"])
    event = world.event(data='{"n":12345678901234567890123}', external_id="sold-1", v="2")
    query = """
    query ($id: ID!) {
      event(query: {eventId: $id}) {
        id externalID name createdAt payload raw schema status pendingRuns totalRuns functionRuns {status}
      }
    }
    """
    none = data(client, query, id=event.id)["event"]
    world.run(event, "shop-bill", Status.QUEUED)
    one = data(client, query, id=event.id.lower())["event"]

    assert {
        "id": event.id,
        "externalID": "sold-1",
        "name": "shop/sold",
        "createdAt": "2023-11-14T22:13:20.000Z",
        "payload": '{"n":12345678901234567890123}',
        "raw": event.wire(),
        "schema": None,
        "status": "NO_FUNCTIONS",
        "pendingRuns": 0,
        "totalRuns": 0,
        "functionRuns": [],
    } == none
    assert ("RUNNING", 1, 1) == (one["status"], one["pendingRuns"], one["totalRuns"])
    assert [{"status": "QUEUED"}] == one["functionRuns"]
    assert {"event": None} == data(client, query, id=NOBODY)
    assert f"there is no event {NOBODY}" == refused(client, "query ($id: ULID!) {eventV2(id: $id) {id}}", id=NOBODY)


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ([Status.COMPLETED, Status.COMPLETED], "COMPLETED"),
        ([Status.FAILED, Status.COMPLETED], "PARTIALLY_FAILED"),
        ([Status.FAILED, Status.FAILED], "FAILED"),
    ],
)
def test_an_event_fails_as_its_runs_do(client: FlaskClient, world: World, ends: list[Status], status: str) -> None:
    event = world.event()
    for number, end in enumerate(ends):
        run_id = world.run(event, f"shop-{number}")
        with world.parts.database.write() as conn:
            runs.finish(conn, run_id, end, None, None, NOW)

    assert {"event": {"status": status}} == data(
        client, "query ($id: ID!) {event(query: {eventId: $id}) {status}}", id=event.id
    )


def test_events_are_listed_newest_first_by_pages_and_filters(client: FlaskClient, world: World) -> None:
    sold = [world.event(data=f'{{"n":{n}}}') for n in range(5)]
    world.event("inngest/function.finished")
    query = """
    query ($after: String, $filter: EventsFilter!) {
      eventsV2(first: 2, after: $after, filter: $filter) {
        totalCount edges {cursor node {id}} pageInfo {hasNextPage hasPreviousPage startCursor endCursor}
      }
    }
    """
    wanted: dict[str, object] = {"from": "2026-01-01T00:00:00Z"}

    first = data(client, query, filter=wanted)["eventsV2"]
    second = data(client, query, filter=wanted, after=first["pageInfo"]["endCursor"])["eventsV2"]

    ids = [event.id for event in reversed(sold)]
    assert (5, ids[:2], ids[2:4]) == (first["totalCount"], nodes(first), nodes(second))
    assert (True, False) == (first["pageInfo"]["hasNextPage"], first["pageInfo"]["hasPreviousPage"])
    assert (True, first["edges"][1]["cursor"]) == (
        second["pageInfo"]["hasPreviousPage"],
        first["pageInfo"]["endCursor"],
    )
    inside = data(client, query, filter=wanted | {"includeInternalEvents": True})["eventsV2"]
    assert 6 == inside["totalCount"]
    found = wanted | {"query": "event.data.n >= 2 && event.data.n < 4"}
    assert [sold[3].id, sold[2].id] == all_pages(
        lambda after: data(client, query, filter=found, after=after)["eventsV2"]
    )
    assert 2 == data(client, query, filter=found)["eventsV2"]["totalCount"]
    named = data(client, query, filter=wanted | {"eventNames": ["shop/lost"]})["eventsV2"]
    assert (0, []) == (named["totalCount"], nodes(named))
    assert [] == nodes(data(client, query, filter={"from": "2027-01-01T00:00:00Z"})["eventsV2"])


def test_events_without_pages_go_on_before_the_last_one(client: FlaskClient, world: World) -> None:
    ids = [world.event().id for _ in range(3)]

    assert {"events": [{"id": ids[1]}, {"id": ids[0]}]} == data(
        client, "query ($id: ID!) {events(query: {lastEventId: $id}) {id}}", id=ids[2]
    )


def test_the_stream_tells_what_started_what(client: FlaskClient, world: World) -> None:
    sold = world.event()
    run_id = world.run(sold)
    tick = world.event("inngest/scheduled.timer", data='{"cron":"* * * * *"}')

    stream = data(client, "{stream(query: {includeInternalEvents: true}) {id trigger type inBatch runs {id}}}")[
        "stream"
    ]

    assert [
        {"id": tick.id, "trigger": "* * * * *", "type": "CRON", "inBatch": False, "runs": []},
        {"id": sold.id, "trigger": "shop/sold", "type": "EVENT", "inBatch": False, "runs": [{"id": run_id}]},
    ] == stream
    assert {"stream": []} == data(client, '{stream(query: {before: "2026-01-01T00:00:00Z"}) {id}}')

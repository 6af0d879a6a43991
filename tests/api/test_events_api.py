"""Events over REST."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.core.effect import Status
from orchestrator.store import events

if TYPE_CHECKING:
    from tests.api.conftest import World


def test_an_event_is_shown_with_what_its_sender_said(client: FlaskClient, world: World) -> None:
    event = world.event("shop/sold", '{"n":1}', external_id="order-1", v="2")

    answer = client.get(f"/v1/events/{event.id}")

    assert {
        "internal_id": event.id,
        "account_id": "00000000-0000-4000-a000-000000000000",
        "environment_id": "00000000-0000-4000-b000-000000000000",
        "source": "",
        "source_id": None,
        "received_at": "2026-11-21T12:00:00.123Z",
        "id": "order-1",
        "name": "shop/sold",
        "data": {"n": 1},
        "user": {},
        "ts": 1_700_000_000_000,
        "v": "2",
    } == answer.get_json()["data"]
    assert {"fetched_at": "2026-11-21T12:00:00.123Z", "cached_until": None} == answer.get_json()["metadata"]


def test_a_payload_is_passed_on_to_the_letter(client: FlaskClient, world: World) -> None:
    payload = '{"id":123456789012345678901234567890,"rate":1.10,"text":"\\u00e9 é 😀"}'
    event = world.event(data=payload)

    answer = client.get(f"/v1/events/{event.id}")

    assert f'"data":{payload}' in answer.get_data(as_text=True)


def test_a_warning_of_matching_is_shown(client: FlaskClient, world: World) -> None:
    event = world.event()
    with world.parts.database.write() as conn:
        events.warn(conn, event.id, "the trigger is not boolean")

    answer = client.get(f"/v1/events/{event.id}")

    assert "the trigger is not boolean" == answer.get_json()["data"]["warning"]


def test_events_come_newest_first_and_page_by_cursor(client: FlaskClient, world: World) -> None:
    ids = [world.event().id for _ in range(5)]

    first = [event["internal_id"] for event in client.get("/v1/events?limit=2").get_json()["data"]]
    second = [event["internal_id"] for event in client.get(f"/v1/events?limit=9&cursor={first[-1]}").get_json()["data"]]

    assert list(reversed(ids)) == first + second


def test_twenty_events_are_listed_unless_asked_otherwise(client: FlaskClient, world: World) -> None:
    for _ in range(21):
        world.event()

    assert 20 == len(client.get("/v1/events").get_json()["data"])
    assert 21 == len(client.get("/v1/events?limit=100").get_json()["data"])


def test_events_are_found_by_name_and_time(client: FlaskClient, world: World) -> None:
    early, late = (world.event("a", received_at=world.clock.now() + timedelta(hours=hour)) for hour in (0, 2))
    world.event("b")

    def found(query: str) -> list[str]:
        return [event["internal_id"] for event in client.get(f"/v1/events?{query}").get_json()["data"]]

    assert [late.id, early.id] == found("name=a")
    assert [late.id] == found("received_after=2026-11-21T13:00:00Z")
    assert [early.id] == found("name=a&received_before=2026-11-21T15:00:00.000000001%2B02:00")
    assert [] == found("name=c")


def test_an_event_lists_the_runs_it_started(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill", "shop-mail"])
    event, other = world.event(), world.event()
    first, second = world.run(event, "shop-bill"), world.run(event, "shop-mail", Status.QUEUED)
    world.run(other, "shop-bill")

    answer = client.get(f"/v1/events/{event.id}/runs").get_json()["data"]

    assert [(first, "shop-bill", "Running"), (second, "shop-mail", "Scheduled")] == [
        (run["run_id"], run["function"], run["status"]) for run in answer
    ]


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/v1/events?limit=0", 400, "limit must be a whole number from 1 to 100"),
        ("/v1/events?limit=101", 400, "limit must be a whole number from 1 to 100"),
        ("/v1/events?limit=", 400, "limit must be a whole number from 1 to 100"),
        ("/v1/events?limit=1_0", 400, "limit must be a whole number from 1 to 100"),
        ("/v1/events?limit=" + "9" * 5_000, 400, "limit must be a whole number from 1 to 100"),
        ("/v1/events?cursor=abc", 400, "cursor must be the internal_id (a ULID) of an event"),
        ("/v1/events?name=", 400, "name must be a name of 1 to 512 characters"),
        ("/v1/events?name=a%00", 400, "name must be a name of 1 to 512 characters"),
        ("/v1/events?name=" + "n" * 513, 400, "name must be a name of 1 to 512 characters"),
        ("/v1/events?received_after=yesterday", 400, "received_after must be a moment such as 2026-01-31T09:30:00Z"),
        ("/v1/events?received_after=2026-01-31", 400, "received_after must be a moment"),
        ("/v1/events?received_after=2026-01-31T09:30:00", 400, "received_after must be a moment"),
        ("/v1/events?received_after=2026-01-31T09:30:00+01:00", 400, "(a + in the offset is written %2B)"),
        ("/v1/events?received_before=2026-13-31T09:30:00Z", 400, "received_before must be a moment"),
        ("/v1/events?received_before=0001-01-01T00:00:00%2B14:00", 400, "received_before must be a moment"),
        ("/v1/events?limit=0&cursor=x", 400, "; cursor must be"),
        ("/v1/events/123", 400, 'event_id must be a ULID (26 letters and digits), not "123"'),
        ("/v1/events/" + "Z" * 26, 400, "event_id must be a ULID"),
        ("/v1/events/" + "%C3%A9" * 26, 400, "event_id must be a ULID"),
        ("/v1/events/123/runs", 400, "event_id must be a ULID"),
        ("/v1/events/01J00000000000000000000000", 404, "there is no event 01J00000000000000000000000"),
        ("/v1/events/01J00000000000000000000000/runs", 404, "there is no event 01J00000000000000000000000"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(client: FlaskClient, path: str, status: int, sentence: str) -> None:
    answer = client.get(path)

    assert status == answer.status_code
    assert sentence in answer.get_json()["error"]
    assert status == answer.get_json()["status"]

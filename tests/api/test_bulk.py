"""Orders to do something to many runs: what is asked, answered and refused.  Workers carry them out."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from orchestrator.core.effect import Status
from orchestrator.ids import is_ulid, named_uuid
from orchestrator.store import jobs
from tests.api.conftest import World, ulid

PATH = "/v1/bulk"
AGAIN: dict[str, Any] = {"kind": "rerun", "filter": {"status": ["failed"]}}


@pytest.fixture
def failed(world: World) -> str:
    """A run that failed."""
    world.app(slugs=["shop-bill"])
    return world.finished(world.event(), Status.FAILED, error='{"name":"E","message":"no"}')


def jobs_of(world: World) -> list[tuple[str, str]]:
    with world.parts.database.read() as conn:
        return [(row.kind, row.payload) for row in conn.execute(jobs.jobs.select())]


def later(world: World) -> None:
    from datetime import timedelta

    world.parts.clock.advance(timedelta(seconds=10))  # type: ignore[attr-defined]


def test_a_dry_run_counts_and_orders_nothing(client: FlaskClient, world: World, failed: str) -> None:
    later(world)

    told = client.post(PATH, json=AGAIN | {"dry_run": True}).get_json()["data"]

    assert (None, "Counted", 1) == (told["id"], told["status"], told["total"])
    assert ([], []) == (jobs_of(world), client.get(PATH).get_json()["data"])


def test_an_order_is_shown_as_it_was_understood_and_is_a_job(client: FlaskClient, world: World, failed: str) -> None:
    later(world)
    filter_ = {"status": ["failed"], "function": ["shop-bill"], "app": ["shop"], "query": 'output.name == "E"'}

    told = client.post(PATH, json={"kind": "rerun", "filter": filter_, "rate": 5}).get_json()["data"]

    assert is_ulid(told["id"])
    assert {
        "id": told["id"],
        "kind": "rerun",
        "status": "Running",
        "filter": {
            "function_ids": [named_uuid("function", "shop-bill")],
            "app_ids": [named_uuid("app", "shop")],
            "status": ["failed"],
            "time_field": "queued_at",
            "since": None,
            "until": "2026-11-21T12:00:10.123Z",
            "query": 'output.name == "E"',
            "failure": None,
        },
        "total": 1,
        "done": 0,
        "failed": 0,
        "rate": 5,
        "actor": "api",
        "error": None,
        "created_at": "2026-11-21T12:00:10.123Z",
        "ended_at": None,
    } == told
    assert [("bulk", told["id"])] == jobs_of(world)
    assert told == client.get(f"{PATH}/{told['id']}").get_json()["data"]
    assert [told] == client.get(PATH).get_json()["data"]
    assert [] == client.get("/v1/cancellations").get_json()["data"]


def test_an_order_is_stopped_once(client: FlaskClient, world: World, failed: str) -> None:
    order = client.post(PATH, json=AGAIN).get_json()["data"]["id"]

    stopped = client.post(f"{PATH}/{order}/stop")
    again = client.post(f"{PATH}/{order}/stop")

    assert ("Stopped", 409, []) == (stopped.get_json()["data"]["status"], again.status_code, jobs_of(world))


def test_a_cancellation_is_an_order_like_any(client: FlaskClient, world: World, failed: str) -> None:
    told = client.post("/v1/cancellations", json={"app_id": "shop"}).get_json()["data"]

    [order] = client.get(PATH).get_json()["data"]
    stopped = client.post(f"{PATH}/{told['id']}/stop").get_json()["data"]

    assert (told["id"], "cancel", ["queued", "running"]) == (order["id"], order["kind"], order["filter"]["status"])
    assert "Stopped" == stopped["status"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "kind is missing: it must be cancel or rerun"),
        ({"kind": "delete"}, "kind must be cancel or rerun"),
        ({"kind": "rerun"}, "status is missing: say which runs are to be run again"),
        ({"kind": "cancel", "filter": {"status": ["failed"]}}, "runs that have ended cannot be cancelled"),
        ({"kind": "rerun", "filter": {"status": ["gone"]}}, "must be one of queued, running"),
        ({"kind": "rerun", "filter": {"status": "failed"}}, "must be an array"),
        (AGAIN | {"dry_run": 0}, "dry_run must be true or false"),
        (AGAIN | {"rate": 0}, "rate must be a whole number from 1 to 10000"),
        (AGAIN | {"rate": "5"}, "rate must be a whole number from 1 to 10000"),
        ({"kind": "cancel", "filter": {"since": "yesterday"}}, "must be a moment"),
        ({"kind": "cancel", "filter": {"query": "event."}}, "event."),
        ({"kind": "cancel", "filter": {"query": "x" * 5000}}, "must have at most"),
        ({"kind": "cancel", "filter": {"colour": "red"}}, "Unknown field"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_says_why(
    client: FlaskClient, world: World, body: dict[str, Any], sentence: str
) -> None:
    answer = client.post(PATH, json=body)

    assert 400 == answer.status_code
    assert sentence in answer.get_json()["error"]
    assert [] == jobs_of(world)


@pytest.mark.parametrize("filter_", [{"app": ["none"]}, {"function": ["none"]}])
def test_an_app_or_a_function_that_is_none_is_told(client: FlaskClient, filter_: dict[str, Any]) -> None:
    answer = client.post(PATH, json={"kind": "cancel", "filter": filter_})

    assert (404, True) == (answer.status_code, "there is no " in answer.get_json()["error"])


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_order_that_is_none_is_not_found(client: FlaskClient, method: str) -> None:
    path = f"{PATH}/{ulid(1)}" + ("/stop" if method == "post" else "")

    assert 404 == getattr(client, method)(path).status_code
    assert 400 == client.get(f"{PATH}/none").status_code

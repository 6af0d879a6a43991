"""Orders to cancel many runs: what is asked, what is answered, and what is refused.  Workers carry them out."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from orchestrator.ids import is_ulid, named_uuid
from orchestrator.store import jobs
from tests.api.conftest import World, ulid

PATH = "/v1/cancellations"
ORDER = {"app_id": "shop", "function_id": "bill"}


def jobs_of(world: World) -> list[tuple[str, str]]:
    with world.parts.database.read() as conn:
        return [(row.kind, row.payload) for row in conn.execute(jobs.jobs.select())]


def test_an_order_is_shown_as_it_was_understood_and_is_a_job(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    asked = ORDER | {"started_after": "2026-11-20T12:00:00Z", "started_before": None, "if": "event.data.n == 1"}

    answer = client.post(PATH, json=asked)

    told = answer.get_json()["data"]
    assert (200, True) == (answer.status_code, is_ulid(told["id"]))
    assert {
        "id": told["id"],
        "environment_id": "00000000-0000-4000-b000-000000000000",
        "app": "shop",
        "function_id": named_uuid("function", "shop-bill"),
        "function": "shop-bill",
        "started_after": "2026-11-20T12:00:00.000Z",
        "started_before": "2026-11-21T12:00:00.123Z",
        "if": "event.data.n == 1",
        "kind": "bulk_run",
        "type": "manual",
        "status": "Running",
        "cancelled": 0,
        "error": None,
        "created_at": "2026-11-21T12:00:00.123Z",
        "ended_at": None,
    } == told
    assert [("cancel_all", told["id"])] == jobs_of(world)


def test_a_function_is_named_by_its_id_in_the_app_or_by_its_slug_and_none_is_all(
    client: FlaskClient, world: World
) -> None:
    world.app(slugs=["shop-bill"])

    told = [
        client.post(PATH, json=ORDER | {"function_id": it}).get_json()["data"] for it in ("bill", "shop-bill", None)
    ]

    assert ["shop-bill", "shop-bill", None] == [it["function"] for it in told]


def test_orders_are_listed_newest_first_and_page_by_cursor(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    ids = [client.post(PATH, json=ORDER).get_json()["data"]["id"] for _ in range(3)]

    newest = client.get(f"{PATH}?limit=2").get_json()["data"]
    rest = client.get(f"{PATH}?cursor={newest[-1]['id']}").get_json()["data"]

    assert ids[::-1] == [it["id"] for it in newest + rest]


def test_a_deleted_order_is_off_the_list_and_has_no_job(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    order_id = client.post(PATH, json=ORDER).get_json()["data"]["id"]

    first, second = (client.delete(f"{PATH}/{order_id}") for _ in range(2))

    assert (200, 404) == (first.status_code, second.status_code)
    assert ([], []) == (client.get(PATH).get_json()["data"], jobs_of(world))


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"function_id": "bill"}, 400, "app_id is missing: it must be the name of an app"),
        ({"app_id": "no"}, 404, "there is no app no"),
        ({"app_id": "shop", "function_id": "no"}, 404, "the app shop has no function no"),
        ({"app_id": "shop", "function_id": "cook-fry"}, 404, "the app shop has no function cook-fry"),
        (ORDER | {"started_before": "tomorrow"}, 400, "started_before must be a moment such as"),
        (ORDER | {"started_before": "2026-11-21T12:02:00Z"}, 400, "started_before must not lie in the future"),
        (ORDER | {"started_after": "2026-11-21T12:02:00Z"}, 400, "started_after must be a moment before"),
        (ORDER | {"if": "event.data.n =="}, 400, "event.data.n =="),
        (ORDER | {"if": "x" * 4_097}, 400, "if must have at most 4096 characters"),
        (ORDER | {"app_id": "a\0"}, 400, "app_id must be a name of 1 to 512 characters"),
    ],
)
def test_a_bad_order_is_refused_with_a_sentence(
    client: FlaskClient, world: World, body: dict[str, Any], status: int, sentence: str
) -> None:
    world.app(slugs=["shop-bill"])
    world.app("cook", "http://localhost:5001/api", ["cook-fry"])

    answer = client.post(PATH, json=body)

    assert status == answer.status_code
    assert sentence in answer.get_json()["error"]
    assert [] == jobs_of(world)


@pytest.mark.parametrize(
    ("method", "path", "sentence"),
    [
        ("DELETE", f"{PATH}/abc", "cancellation_id must be a ULID"),
        ("DELETE", f"{PATH}/{ulid(1)}", f"there is no cancellation {ulid(1)}"),
        ("GET", f"{PATH}?cursor=abc", "cursor must be the id (a ULID) of a cancellation"),
    ],
)
def test_what_is_no_order_is_refused(client: FlaskClient, method: str, path: str, sentence: str) -> None:
    answer = client.open(path, method=method)

    assert answer.status_code in (400, 404)
    assert sentence in answer.get_json()["error"]

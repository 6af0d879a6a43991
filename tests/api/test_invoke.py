"""`POST /invoke/SLUG`: exactly one function is started, whatever its triggers."""

from __future__ import annotations

import orjson
import pytest
from flask.testing import FlaskClient

from orchestrator.ids import is_ulid
from orchestrator.store.tables import events
from tests.api.conftest import World


def invoked(world: World) -> list[object]:
    """The data of the events that invoke, without what the server adds."""
    with world.parts.database.read() as conn:
        rows = conn.execute(events.select().where(events.c.name == "inngest/function.invoked"))
        found = [orjson.loads(row.payload)["data"] for row in rows]
    return [{name: it for name, it in data.items() if name != "_inngest"} for data in found]


def test_a_function_is_started_with_the_data_given_and_its_run_is_told(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])

    answers = [client.post("/invoke/shop-bill", json=it) for it in ({"data": {"n": 7}}, {}, {"data": None})]

    assert [200] * 3 == [it.status_code for it in answers]
    assert all(is_ulid(it.get_json()["data"]["run_id"]) for it in answers)
    assert [{"n": 7}, {}, {}] == invoked(world)


def test_the_same_key_is_the_same_run(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])

    first, second = [client.post("/invoke/shop-bill", json={"idempotencyKey": "k"}).get_json() for _ in range(2)]

    assert (first["data"], 1) == (second["data"], len(invoked(world)))


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/invoke/none", {}, 404, "there is no function none"),
        ("/invoke/shop-bill", {"data": [1]}, 400, "data must be an object"),
        ("/invoke/shop-bill", {"idempotencyKey": ""}, 400, "idempotencyKey must be a text of 1 to 256 characters"),
        ("/invoke/shop-bill", [], 400, "must be a JSON object"),
    ],
)
def test_what_cannot_be_invoked_is_refused(
    client: FlaskClient, world: World, path: str, body: object, status: int, sentence: str
) -> None:
    world.app(slugs=["shop-bill"])

    answer = client.post(path, json=body)

    assert (status, True) == (answer.status_code, sentence in answer.get_json()["error"]), answer.get_json()
    assert [] == invoked(world)

"""`GET /v1/queue`: what there is to do, why it waits, who works, and how database and broker are."""

from __future__ import annotations

from datetime import timedelta

from flask.testing import FlaskClient

from orchestrator.ids import named_uuid
from orchestrator.store import jobs, workers
from orchestrator.store.tables import pools
from orchestrator.store.workers import Sign
from tests.api.conftest import NOW, World
from tests.api.test_jobs import dead_job

PATH = "/v1/queue"


def test_an_empty_queue_says_so(client: FlaskClient) -> None:
    found = client.get(PATH).get_json()["data"]

    assert {(0, True)} == {(it["number"], it["exact"]) for it in found["counts"].values()}
    assert {"due", "working", "parked", "held", "later", "dead"} == set(found["counts"])
    assert ([], [], [], None) == (found["functions"], found["waits"], found["workers"], found["oldest_due_at"])


def test_what_is_to_be_done_is_told_by_function_with_why_it_waits(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.run(world.event())
    dead_job(world)
    with world.parts.database.write() as conn:
        jobs.add(conn, jobs.CALL, "a", NOW - timedelta(seconds=5), run_id=run_id)
        jobs.add(conn, jobs.WAKE, "b", NOW + timedelta(days=1), run_id=run_id)
        pool = {"key": "11:x", "limit_id": "limit", "value": "ada", "used": 2, "waiting": 3, "turn": ""}
        conn.execute(pools.insert(), [pool | {"function_id": named_uuid("function", "shop-bill")}])

    found = client.get(PATH).get_json()["data"]

    line = {"function": "shop-bill", "own": None, "due": 1, "working": 0, "parked": 3, "held": 0, "later": 1}
    assert ([line], 1, "2026-11-21T11:59:55.123Z") == (found["functions"], found["sleeping"], found["oldest_due_at"])
    assert {"number": 1, "exact": True} == found["counts"]["dead"]
    [wait] = found["waits"]
    assert ("slot", "shop-bill", 3, "ada", 2) == (
        *[wait[it] for it in ("kind", "function", "waiting", "value", "used")],
    )


def test_workers_database_and_broker_are_told(client: FlaskClient, world: World) -> None:
    with world.parts.database.write() as conn:
        workers.give(conn, Sign("o", "host", 7, 100, "0.1", NOW, NOW))

    found = client.get(PATH).get_json()["data"]

    [worker] = found["workers"]
    assert ("host", 7, True, 100, 0) == (*[worker[it] for it in ("host", "pid", "alive", "executors", "working")],)
    assert found["database"]["product"].startswith("sqlite 3.")
    assert ("in process", None) == (found["broker"]["kind"], found["broker"]["reachable"])

"""Dead jobs: what they were about, why they were given up, and what an operator does with them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

from orchestrator.core.effect import Status
from orchestrator.ids import ulid_as_uuid
from orchestrator.store import audit, dead, due, jobs, losses
from tests.api.conftest import NOW, World

PATH = "/v1/jobs"


def dead_job(world: World, kind: str = jobs.MATCH, **values: Any) -> int:
    """A job that was given up."""
    with world.parts.database.write() as conn:
        job_id = jobs.add(conn, kind, f"{kind}:{next(world.numbers)}", NOW, **values).job_id
        [lease] = jobs.lease(conn, [job_id], "w", NOW, NOW)
        losses.bury(conn, lease, "ValueError: poison")
    return job_id


def test_a_dead_match_job_tells_its_events_and_why(client: FlaskClient, world: World) -> None:
    event = world.event()
    job_id = dead_job(world, payload=orjson.dumps([ulid_as_uuid(event.id)]).decode())

    [listed] = client.get(PATH, query_string={"state": "dead"}).get_json()["data"]

    expected = {
        "id": job_id,
        "kind": "match",
        "state": "dead",
        "run_id": None,
        "function": None,
        "step_id": None,
        "event_ids": [event.id],
        "crashes": 0,
        "error": "ValueError: poison",
        "run_at": "2026-11-21T12:00:00.123Z",
    }
    assert (expected, expected) == (listed, client.get(f"{PATH}/{job_id}").get_json()["data"])


def test_a_dead_job_of_a_run_names_the_run_and_its_function_and_no_payload(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.finished(world.event(), Status.FAILED, error="{}")
    dead_job(world, jobs.RESUME, run_id=run_id, step_id="s", payload='{"memo":"secret"}')

    answer = client.get(PATH)

    [job] = answer.get_json()["data"]
    assert (run_id, "shop-bill", "s", []) == (job["run_id"], job["function"], job["step_id"], job["event_ids"])
    assert "secret" not in answer.get_data(as_text=True)


def test_the_newest_come_first_and_pages_follow(client: FlaskClient, world: World) -> None:
    ids = [dead_job(world, payload="not json") for _ in range(3)]

    first = client.get(PATH, query_string={"limit": 2}).get_json()["data"]
    second = client.get(PATH, query_string={"cursor": first[-1]["id"]}).get_json()["data"]

    assert [ids[:0:-1], ids[:1]] == [[job["id"] for job in page] for page in (first, second)]


def test_jobs_that_live_are_not_among_them(client: FlaskClient, world: World) -> None:
    with world.parts.database.write() as conn:
        job_id = jobs.add(conn, jobs.MATCH, "match:1", NOW).job_id

    asked = [("GET", ""), ("POST", "/requeue"), ("DELETE", "")]
    answers = [client.open(f"{PATH}/{job_id}{below}", method=method) for method, below in asked]

    assert ([404] * 3, []) == ([it.status_code for it in answers], client.get(PATH).get_json()["data"])


def test_a_match_job_is_requeued_as_if_it_had_just_come_and_that_is_noted(client: FlaskClient, world: World) -> None:
    job_id = dead_job(world, payload="[]")

    statuses = [client.post(f"{PATH}/{job_id}/requeue").status_code for _ in range(2)]

    with world.parts.database.read() as conn:
        ready = [hint.job_id for hint in due.due(conn, world.clock.now(), world.clock.now(), 10)]
        assert ([200, 404], [job_id]) == (statuses, ready)
        assert [("job requeued", world.clock.now())] == audit.actions_on(conn, str(job_id))
        assert 0 == dead.count(conn)


def test_a_deleted_job_is_gone_and_that_is_noted(client: FlaskClient, world: World) -> None:
    job_id = dead_job(world)

    statuses = [client.delete(f"{PATH}/{job_id}").status_code for _ in range(2)]

    with world.parts.database.read() as conn:
        assert ([200, 404], 0) == (statuses, dead.count(conn))
        assert ["job deleted"] == [action for action, _ in audit.actions_on(conn, str(job_id))]


def test_a_job_of_a_run_that_completed_all_the_same_is_not_requeued(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.finished(world.event(), Status.COMPLETED, output="1")
    job_id = dead_job(world, jobs.WAKE, run_id=run_id)

    assert 409 == client.post(f"{PATH}/{job_id}/requeue").status_code


@pytest.mark.parametrize(
    ("query", "sentence"),
    [({"state": "ready"}, "must be dead"), ({"limit": "101"}, "from 1 to 100"), ({"cursor": "x"}, "whole number")],
)
def test_a_question_that_makes_no_sense_is_refused(client: FlaskClient, query: dict[str, str], sentence: str) -> None:
    answer = client.get(PATH, query_string=query)

    assert 400 == answer.status_code
    assert sentence in answer.get_json()["error"]


@pytest.mark.parametrize("number", [7, 2**63, 10**30])
def test_a_number_that_no_job_has_is_not_found(client: FlaskClient, number: int) -> None:
    assert [404] * 3 == [
        client.get(f"{PATH}/{number}").status_code,
        client.delete(f"{PATH}/{number}").status_code,
        client.post(f"{PATH}/{number}/requeue").status_code,
    ]

"""Lists of runs over REST: by filters, in orders, by pages; and the jobs of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient

from orchestrator.core.effect import Status
from orchestrator.ids import named_uuid
from orchestrator.store import jobs
from tests.api.conftest import NOW

if TYPE_CHECKING:
    from tests.api.conftest import World

NOBODY = "01J00000000000000000000000"


def listed(client: FlaskClient, **asked: Any) -> dict[str, Any]:
    answer = client.get("/v1/runs", query_string=asked)
    assert 200 == answer.status_code, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def ids(client: FlaskClient, **asked: Any) -> list[str]:
    return [run["run_id"] for run in listed(client, **asked)["data"]]


def test_a_list_shows_runs_without_their_outputs(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    event = world.event()
    run_id = world.finished(event, Status.COMPLETED, output='"done"')

    found = listed(client)

    assert [
        {
            "run_id": run_id,
            "status": "Completed",
            "app": "shop",
            "function_id": named_uuid("function", "shop-bill"),
            "function": "shop-bill",
            "function_name": "Shop-Bill",
            "function_version": 3,
            "event_id": event.id,
            "event_name": "shop/sold",
            "batch_id": None,
            "cron": None,
            "invoked_by": None,
            "queued_at": "2026-11-21T12:00:00.123Z",
            "started_at": "2026-11-21T12:00:00.123Z",
            "ended_at": "2026-11-21T12:00:02.123Z",
        }
    ] == found["data"]
    assert {"cursor": None, "has_more": False, "scanned_until": None, "error": None} == found["page"]


def test_outputs_are_there_where_they_are_asked_for(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    world.finished(world.event(), Status.COMPLETED, output='{"n":123456789012345678901}')
    world.finished(world.event(), Status.FAILED, error='{"name":"E","message":"m"}')

    answer = client.get("/v1/runs?include_output=true")

    assert '"output":{"n":123456789012345678901}' in answer.text
    assert '"output":{"name":"E","message":"m"}' in answer.text


def test_pages_follow_each_other_by_cursors(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    made = [world.finished(world.event(), Status.COMPLETED, output="1") for _ in range(5)]

    first = listed(client, limit=3)
    second = listed(client, limit=3, cursor=first["page"]["cursor"])

    assert (sorted(made, reverse=True), True, None) == (
        [run["run_id"] for page in (first, second) for run in page["data"]],
        first["page"]["has_more"],
        second["page"]["cursor"],
    )


def test_a_list_is_filtered(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    good = world.finished(world.event(data='{"n":1}'), Status.COMPLETED, output='"fine"')
    bad = world.finished(world.event(data='{"n":2}'), Status.FAILED, error='{"name":"E","message":"m"}')

    asked: list[dict[str, Any]] = [
        {"status": "failed"},
        {"status": "failed,completed", "order": "asc"},
        {"function": "shop-bill", "query": "event.data.n == 1"},
        {"app": "shop", "query": 'output.name == "E"'},
        {"event_name": "other"},
        {"since": "2026-11-21T12:00:02Z", "time_field": "ended_at", "order_by": "ended_at", "order": "asc"},
        {"until": "2026-11-21T12:00:00Z"},
    ]

    assert [[bad], [good, bad], [good], [bad], [], [good, bad], []] == [ids(client, **it) for it in asked]


@pytest.mark.parametrize(
    ("asked", "status", "sentence"),
    [
        ({"limit": "0"}, 400, "limit must be a whole number from 1 to 100"),
        ({"cursor": "nonsense"}, 400, "the cursor is none of this server's"),
        ({"status": "odd"}, 400, "status must be some of queued, running, completed"),
        ({"status": ""}, 400, "status must be 1 to 100 names"),
        ({"function": "\0"}, 400, "function must be 1 to 100 names"),
        ({"function": "nobody"}, 404, "there is no function nobody"),
        ({"app": "nobody"}, 404, "there is no app nobody"),
        ({"since": "yesterday"}, 400, "since must be a moment"),
        ({"order_by": "name"}, 400, "order_by must be one of queued_at"),
        ({"order": "up"}, 400, "order must be desc or asc"),
        ({"time_field": "x"}, 400, "time_field must be one of queued_at"),
        ({"event_name": "\0"}, 400, "event_name must be a name of 1 to 512 characters"),
        ({"query": "event."}, 400, ""),
        ({"query": "nothing == 1"}, 400, "There is no `nothing` here"),
        ({"include_output": "perhaps"}, 400, "include_output must be true or false"),
    ],
)
def test_what_cannot_be_asked_is_refused(client: FlaskClient, asked: Any, status: int, sentence: str) -> None:
    answer = client.get("/v1/runs", query_string=asked)

    assert status == answer.status_code
    assert sentence in answer.get_json()["error"]


def test_the_jobs_of_a_run_are_what_is_to_be_done_for_it(client: FlaskClient, world: World) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.finished(world.event(), Status.COMPLETED, output="1")
    with world.parts.database.write() as conn:
        call = jobs.add(conn, jobs.CALL, "c", NOW, run_id=run_id, payload="secret").job_id
        wake = jobs.add(conn, jobs.WAKE, "w", NOW.replace(hour=13), run_id=run_id, step_id="s").job_id
        jobs.add(conn, jobs.CALL, "other", NOW.replace(hour=11))

    answer = client.get(f"/v1/runs/{run_id}/jobs")

    assert "secret" not in answer.text
    assert [(str(call), "edge", 1, "ready", None), (str(wake), "sleep", 0, "ready", "s")] == [
        (job["JobID"], job["kind"], job["position"], job["Raw"]["state"], job["Raw"]["step_id"])
        for job in answer.get_json()["data"]
    ]


@pytest.mark.parametrize(("run_id", "status"), [(NOBODY, 404), ("x", 400)])
def test_no_run_has_no_jobs(client: FlaskClient, run_id: str, status: int) -> None:
    assert status == client.get(f"/v1/runs/{run_id}/jobs").status_code


def test_a_number_that_no_float_holds_can_be_searched(world: World, client: FlaskClient) -> None:
    small = world.finished(world.event(), Status.COMPLETED, '{"n":7}')
    huge = world.finished(world.event(), Status.COMPLETED, f'{{"n":{"7" * 400}}}')

    found = [client.get("/v1/runs", query_string={"query": f"output.n {it} 7"}) for it in ("==", ">")]

    assert [200, 200] == [answer.status_code for answer in found]
    assert [[small], [huge]] == [[run["run_id"] for run in answer.get_json()["data"]] for answer in found]

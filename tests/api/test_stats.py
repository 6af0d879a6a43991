"""What happened lately, over REST: counts over time, failures that are alike, and runs and orders by their kind."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient

from orchestrator.core.effect import Status
from orchestrator.core.failure import fingerprint
from orchestrator.engine.overview import LOOKS
from orchestrator.engine.tally import recount

if TYPE_CHECKING:
    from tests.api.conftest import World

FOUR = {"completed": 0, "failed": 0, "cancelled": 0, "skipped": 0}


def error(message: str) -> str:
    return json.dumps({"name": "OrderError", "message": message, "stack": "at pay (a.py:1)"})


@pytest.fixture
def shop(world: World) -> World:
    """A run that was done, and three that failed, two of them alike; counted."""
    world.app(slugs=["shop-bill"])
    world.finished(world.event(), Status.COMPLETED, "1")
    for message in ("order 1 is gone", "no money", "order 2 is gone"):
        world.finished(world.event(), Status.FAILED, error=error(message))
    world.clock.advance(timedelta(minutes=3))
    recount(world.parts.database, world.clock.now())
    return world


def data(client: FlaskClient, path: str, **query: Any) -> Any:
    answer = client.get(path, query_string=query)
    assert 200 == answer.status_code, answer.text
    return answer.get_json()["data"]


def test_stats_tell_how_many_runs_there_were_and_how_long_they_took(client: FlaskClient, shop: World) -> None:
    found = data(client, "/v1/stats", span="1h")

    total = found["total"]
    assert (4, 4, FOUR | {"completed": 1, "failed": 3}) == (total["queued"], total["started"], total["ended"])
    assert 0.75 == total["failure_rate"]
    assert 1.6 < total["run_seconds"]["median"] < 2.6
    assert total["queue_seconds"]["p95"] < 0.001
    assert (60, 60) == (found["step_seconds"], len(found["parts"]))
    assert [4] == [part["queued"] for part in found["parts"] if part["queued"]]
    [of_function] = found["functions"]
    assert ("shop-bill", 4, 4, 3) == tuple(of_function[it] for it in ("slug", "queued", "ended", "failed"))
    assert found["counted_until"] is None


@pytest.mark.parametrize("span", LOOKS)
def test_each_span_of_time_can_be_asked_for(client: FlaskClient, shop: World, span: str) -> None:
    assert 3 == data(client, "/v1/stats", span=span)["total"]["ended"]["failed"]


def test_stats_of_a_server_on_which_nothing_happened_are_empty(client: FlaskClient) -> None:
    found = data(client, "/v1/stats")

    assert (FOUR, None, []) == (found["total"]["ended"], found["total"]["failure_rate"], found["functions"])


def test_failures_that_are_alike_are_one_group_with_an_example(client: FlaskClient, shop: World) -> None:
    found = data(client, "/v1/failures")

    first, second = found["failures"]
    assert (3, 2, True) == (found["runs"], found["groups"], found["exact"])
    assert ("order # is gone", 2, "shop-bill") == (first["message"], first["runs"], first["function"])
    assert "order 2 is gone" == first["example"]["message"]
    assert "at pay (a.py:1)" == first["example"]["stack"]
    assert fingerprint(error("no money")) == second["failure"]
    assert [] == data(client, "/v1/failures", since="2027-01-01T00:00:00Z")["failures"]
    assert 1 == len(data(client, "/v1/failures", limit=1)["failures"])


def test_the_runs_of_a_group_are_listed_and_ordered_by_its_fingerprint(client: FlaskClient, shop: World) -> None:
    [group, _] = data(client, "/v1/failures")["failures"]

    runs = data(client, "/v1/runs", failure=group["failure"], function=group["function"])
    meant = {"failure": group["failure"], "function": [group["function"]], "status": ["failed"]}
    counted = client.post("/v1/bulk", json={"kind": "rerun", "filter": meant, "dry_run": True}).get_json()["data"]

    assert group["example_run_id"] in [run["run_id"] for run in runs]
    assert (2, 2, group["failure"]) == (len(runs), counted["total"], counted["filter"]["failure"])


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("/v1/stats", {"span": "1y"}, "span must be one of 1h, 24h, 7d, 30d"),
        ("/v1/failures", {"span": ""}, "span must be one of"),
        ("/v1/failures", {"since": "yesterday"}, "since must be a moment"),
        ("/v1/failures", {"limit": "0"}, "limit must be a whole number from 1 to 100"),
        ("/v1/runs", {"failure": "nonsense"}, "failure must be 16 hexadecimal digits"),
        ("/v1/runs", {"failure": "0" * 16 + "\n"}, "failure must be 16 hexadecimal digits"),
    ],
)
def test_what_cannot_be_asked_for_is_told(client: FlaskClient, path: str, query: dict[str, str], said: str) -> None:
    answer = client.get(path, query_string=query)

    assert 400 == answer.status_code
    assert said in answer.text


def test_an_order_by_a_fingerprint_that_is_none_is_refused(client: FlaskClient) -> None:
    body = {"kind": "rerun", "filter": {"status": ["failed"], "failure": "x"}}

    answer = client.post("/v1/bulk", json=body)

    assert (400, True) == (answer.status_code, "failure must be 16 hexadecimal digits" in answer.text)

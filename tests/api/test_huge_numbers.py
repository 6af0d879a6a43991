"""Whatever was taken can be shown: events, outputs and errors with a number that no float holds, too."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from orchestrator.api.app import create_app
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.core.effect import Record, SaveStep, Status, StepStatus
from tests.api.asking import data
from tests.api.conftest import World

HUGE = "7" * 400
ERROR = f'{{"name":"OvenError","message":"too hot","degrees":{HUGE}}}'
RUNS = """{
  runs(first: 9, filter: {from: "2026-01-01T00:00:00Z"}, orderBy: []) {
    edges {node {id output trace {outputID childrenSpans {name}}}}
  }
}"""
OUTPUT = "query q($id: String!) {runTraceSpanOutputByID(outputID: $id) {data error {name message}}}"


@pytest.fixture
def client(world: World) -> FlaskClient:
    return create_app(world.parts, doors=Doors(login=False)).test_client()


@pytest.fixture
def ids(world: World) -> dict[str, str]:
    world.app(slugs=["shop-bill"])
    event, second, third = (world.event(data=f'{{"n":{HUGE}}}') for _ in range(3))
    trying, failed = world.run(event), world.finished(second, Status.FAILED, error=ERROR)
    world.history(trying, Record("attempt failed", None, data=f'{{"error":{ERROR}}}'))
    done = world.finished(third, Status.COMPLETED, output=HUGE)
    world.steps(done, SaveStep("a" * 40, "one", "StepRun", StepStatus.COMPLETED, memo=f'{{"data":{HUGE}}}'))
    return {"event": event.id, "trying": trying, "failed": failed, "done": done}


@pytest.mark.parametrize("run", ["trying", "failed", "done"])
@pytest.mark.parametrize("path", ["/v1/runs/{}", "/runs/{}", "/v2/runs/{}", "/v2/runs/{}/trace", "/v0/runs/{}/actions"])
def test_a_run_is_shown(client: FlaskClient, ids: dict[str, str], run: str, path: str) -> None:
    assert 200 == client.get(path.format(ids[run])).status_code


@pytest.mark.parametrize("path", ["/events", "/events/{}", "/v1/events", "/v1/events/{}", "/v1/events/{}/waits"])
def test_an_event_is_shown(client: FlaskClient, ids: dict[str, str], path: str) -> None:
    assert 200 == client.get(path.format(ids["event"])).status_code


@pytest.mark.parametrize(
    "path", ["/runs", "/v1/runs?include_output=true", "/v2/runs?includeOutput=true", "/v1/failures"]
)
def test_it_is_listed(client: FlaskClient, ids: dict[str, str], path: str) -> None:
    assert 200 == client.get(path).status_code


def test_graphql_tells_it(client: FlaskClient, ids: dict[str, str]) -> None:
    found = [edge["node"] for edge in data(client, RUNS)["runs"]["edges"]]
    spans = {it["id"]: it["trace"]["outputID"] for it in found}

    done = data(client, OUTPUT, id=spans[ids["done"]])["runTraceSpanOutputByID"]
    failed = data(client, OUTPUT, id=spans[ids["failed"]])["runTraceSpanOutputByID"]

    assert HUGE == done["data"]
    assert {"name": "OvenError", "message": "too hot"} == failed["error"]

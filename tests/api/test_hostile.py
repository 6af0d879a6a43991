"""Whatever a client of the API sends, it gets a sentence and never a failure, on PostgreSQL, which is strict."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from orchestrator.api.access import Way
from orchestrator.api.app import create_app
from orchestrator.api.route_table import routes_of, unserved_app
from orchestrator.clock import SettableClock
from orchestrator.core.effect import SaveStep, Status, StepStatus
from orchestrator.engine.parts import Parts
from orchestrator.queue.lease import Holdings
from orchestrator.store.database import Database
from orchestrator.store.presence import Presence
from orchestrator.store.schema import upgrade
from tests.api.conftest import NOW, NoApps, NobodyListens, World
from tests.api.test_dashboard_hostile import HOSTILE
from tests.services import own_database

#: What the bodies of routes say.
MEMBERS = {
    rule: said.split()
    for rule, said in {
        "/v1/signals": "signal data",
        "/v1/bulk": "kind filter rate dry_run",
        "/v1/cancellations": "app_id function_id started_after started_before if",
        "/v1/tokens": "name scopes",
        "/v1/functions/<slug:slug>": "wait_look_back concurrency concurrency_key throttle rate_limit",
        "/v1/runs/<ulid:run_id>/rerun": "from_step",
        "/v2/runs/<ulid:run_id>/rerun": "fromStep",
        "/v2/apps/<app_id>/functions/<function_id>/invoke": "data idempotencyKey",
        "/invoke/<slug:slug>": "data idempotencyKey",
        "/v2/events": "name data id ts v user meta",
        "/v0/gql": "query variables operationName",
        "/v1/checkpoint": "run_id event steps retries request_version",
        "/v1/checkpoint/<ulid:run_id>/steps": "steps",
        "/v1/checkpoint/<ulid:run_id>/async": "qi_id steps",
    }.items()
}
FILTER = ["app", "function", "status", "query", "failure", "since", "until", "time_field"]
STEP = ["step_id", "stepId", "input"]
STARTS = ["limit", "period"]
REQUIRED = {
    "/v1/signals": {"signal": "fried"},
    "/v1/bulk": {"kind": "cancel", "dry_run": True, "filter": {}},
    "/v1/cancellations": {"app_id": "shop"},
    "/v1/tokens": {"name": "pan", "scopes": ["read"]},
    "/v0/gql": {"query": "{__typename}"},
    "/v2/events": {"name": "shop/sold"},
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with own_database("postgresql") as url:
        upgrade(url)
        database, apps = Database(url), NoApps()
        parts = Parts(database, SettableClock(NOW), NobodyListens(), Holdings(database, Presence(database)), apps, apps)
        yield World(parts, SettableClock(NOW))
        database.close()


@pytest.fixture(scope="module")
def run_id(world: World) -> str:
    world.app(slugs=["shop-bill"])
    run_id = world.finished(world.event(), Status.COMPLETED, "1")
    world.steps(run_id, SaveStep("a" * 40, "one", "StepRun", StepStatus.COMPLETED, memo='{"data":1}'))
    return run_id


@pytest.fixture(scope="module")
def client(world: World) -> FlaskClient:
    return create_app(world.parts).test_client()


def _rules(*methods: str) -> list[tuple[str, str]]:
    """The routes but those of the dashboard, and those that call an app."""
    found = [(it.method, it.path) for it in routes_of(unserved_app()) if it.access is not Way.LOGIN]
    return [it for it in found if it[0] in methods and not it[1].endswith("/syncs")]


def path_of(rule: str, run_id: str) -> str:
    named = {"app_id": "shop", "app_name": "shop", "function_id": "bill", "slug": "shop-bill", "job_id": "7"}
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda it: named.get(it[1], run_id), rule)


def failed(client: FlaskClient, method: str, path: str, body: object = None) -> bool:
    sent = json.dumps(body) if body is not None else None
    answer = client.open(path, method=method, data=sent, content_type="application/json")
    return answer.status_code >= 500 and answer.status_code != 501


@pytest.mark.parametrize(
    ("method", "rule"), [it for it in _rules("GET", "POST", "PATCH", "PUT", "DELETE") if "<" in it[1]]
)
def test_no_path_makes_a_route_fail(client: FlaskClient, run_id: str, method: str, rule: str) -> None:
    values = [quote(value.encode("utf-8", "surrogatepass"), safe="") for value in HOSTILE]
    body = None if method in ("GET", "DELETE") else {}

    paths = [re.sub(r"<[^>]+>", value, rule) for value in values]

    assert [] == [path[:80] for path in paths if failed(client, method, path, body)]


@pytest.mark.parametrize(("method", "rule"), _rules("POST", "PATCH", "PUT"))
def test_no_body_makes_a_route_fail(client: FlaskClient, run_id: str, method: str, rule: str) -> None:
    path = path_of(rule, run_id)
    values = [*HOSTILE, None, 7, -1.5, 2**70, float("nan"), True, [], {}, ["\0"], ["\ud800"], {"\0": "\0"}]

    required = REQUIRED.get(rule, {})
    bodies = [
        made
        for member, value in itertools.product(MEMBERS.get(rule, ()), values)
        for made in (required | {member: value}, required | {member: [value]}, required | {member: {"data": value}})
    ]
    for outer, inner in (("filter", FILTER), ("from_step", STEP), ("fromStep", STEP), ("throttle", STARTS)):
        if outer in MEMBERS.get(rule, ()):
            known = {"step_id": "one", "stepId": "one", "limit": 1, "period": "1m"}
            within = [{member: made} for member, value in itertools.product(inner, values) for made in (value, [value])]
            bodies += [required | {outer: {it: known[it] for it in inner if it in known} | made} for made in within]

    assert [] == [str(body)[:80] for body in bodies if failed(client, method, path, body)]

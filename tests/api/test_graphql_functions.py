"""What GraphQL tells of apps and functions, and what it changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from orchestrator.engine.limit import set_concurrency
from orchestrator.ids import named_uuid
from tests.api.asking import STEP, answered, data, declare, refused

if TYPE_CHECKING:
    from tests.api.conftest import World

NOBODY = "01J00000000000000000000000"
BILL = {
    "id": "shop-bill",
    "name": "Bill",
    "triggers": [{"event": "shop/sold", "expression": "event.data.sum > 0"}, {"cron": "0 7 * * *"}],
    "steps": STEP,
    "cancel": [{"event": "shop/returned", "timeout": "1h", "if": "async.data.id == event.data.id"}],
    "concurrency": [{"limit": 5, "key": "event.data.user", "scope": "env"}, {"limit": 2}],
    "priority": {"run": "event.data.rank"},
    "rateLimit": {"limit": 3, "period": "1m", "key": "event.data.user"},
    "debounce": {"period": "10s"},
    "throttle": {"limit": 7, "period": "1h", "burst": 2},
    "singleton": {"mode": "skip", "key": "event.data.id"},
}
FAILED = {
    "id": "shop-bill-failure",
    "name": "Bill (failure)",
    "triggers": [{"event": "inngest/function.failed"}],
    "steps": {"step": STEP["step"] | {"retries": {"attempts": 1}}},
}
BATCH = {
    "id": "shop-many",
    "name": "Many",
    "triggers": [{"event": "shop/seen"}],
    "batchEvents": {"maxSize": 9, "timeout": "30s"},
    "steps": STEP,
}


def test_an_app_is_told_with_its_functions(client: FlaskClient, world: World) -> None:
    declare(world, BILL, FAILED)

    [app] = data(
        client,
        "{apps {id externalID name sdkLanguage sdkVersion framework url error method connected functionCount"
        " autodiscovered sdkFeatureReadiness functions {slug appID app {name}}}}",
    )["apps"]

    app_id = named_uuid("app", "shop")
    assert {
        "id": app_id,
        "externalID": "shop",
        "name": "shop",
        "sdkLanguage": "py",
        "sdkVersion": "0.5.19",
        "framework": "flask",
        "url": "http://localhost:5000/api",
        "error": None,
        "method": "SERVE",
        "connected": True,
        "functionCount": 2,
        "autodiscovered": False,
        "sdkFeatureReadiness": {"checkpointing": False},
        "functions": [
            {"slug": slug, "appID": app_id, "app": {"name": "shop"}} for slug in ("shop-bill", "shop-bill-failure")
        ],
    } == app
    assert {"app": {"name": "shop"}} == data(client, "query ($id: UUID!) {app(id: $id) {name}}", id=app_id)
    assert {"apps": []} == data(client, "{apps(filter: {method: CONNECT}) {id}}")


def test_a_functions_configuration_is_told_in_parts(client: FlaskClient, world: World) -> None:
    declare(world, BILL, FAILED, BATCH)
    set_concurrency(world.parts, "shop-bill", 1, "")

    functions = data(
        client,
        """
        {
          functions {
            slug config url concurrency failureHandler {slug} triggers {type value condition}
            configuration {
              cancellations {event timeout condition} retries {value isDefault} priority
              eventsBatch {maxSize timeout key}
              concurrency {scope limit {value isPlanLimit} key} rateLimit {limit period key} debounce {period key}
              throttle {burst key limit period} singleton {mode key}
            }
          }
        }
        """,
    )["functions"]

    bill, failure, many = functions
    assert BILL == json.loads(bill["config"])
    assert (1, {"slug": "shop-bill-failure"}, None) == (
        bill["concurrency"],
        bill["failureHandler"],
        many["failureHandler"],
    )
    assert "http://localhost:5000/api?fnId=shop-bill" == bill["url"]
    assert [
        {"type": "EVENT", "value": "shop/sold", "condition": "event.data.sum > 0"},
        {"type": "CRON", "value": "0 7 * * *", "condition": None},
    ] == bill["triggers"]
    assert {
        "cancellations": [{"event": "shop/returned", "timeout": "1h", "condition": "async.data.id == event.data.id"}],
        "retries": {"value": 4, "isDefault": True},
        "priority": "event.data.rank",
        "eventsBatch": None,
        "concurrency": [
            {"scope": "ENVIRONMENT", "limit": {"value": 5, "isPlanLimit": False}, "key": "event.data.user"},
            {"scope": "FUNCTION", "limit": {"value": 1, "isPlanLimit": True}, "key": None},
        ],
        "rateLimit": {"limit": 3, "period": "1m", "key": "event.data.user"},
        "debounce": {"period": "10s", "key": None},
        "throttle": {"burst": 2, "key": None, "limit": 7, "period": "1h"},
        "singleton": {"mode": "SKIP", "key": "event.data.id"},
    } == bill["configuration"]
    assert {"value": 1, "isDefault": False} == failure["configuration"]["retries"]
    assert {"maxSize": 9, "timeout": "30s", "key": None} == many["configuration"]["eventsBatch"]


def test_what_this_server_does_not_have_is_empty_or_an_error(client: FlaskClient) -> None:
    workers = "{workerConnections(orderBy: [], filter: {}) {totalCount edges {node {id}} pageInfo {hasNextPage}}}"
    assert {"totalCount": 0, "edges": [], "pageInfo": {"hasNextPage": False}} == data(client, workers)[
        "workerConnections"
    ]
    assert {"workerConnection": None} == data(
        client, "query ($id: ULID!) {workerConnection(connectionId: $id) {id}}", id=NOBODY
    )
    for query in (
        '{debugRun(query: {functionSlug: "shop-bill"}) {debugTraces {name}}}',
        '{debugSession(query: {functionSlug: "shop-bill"}) {debugRuns {debugTraces {name}}}}',
        'mutation {createDebugSession(input: {functionSlug: "shop-bill"}) {debugRunID}}',
        f'mutation {{invokeFunction(functionSlug: "shop-bill", debugRunID: "{NOBODY}")}}',
    ):
        [error] = answered(client, query)["errors"]
        assert ("not_supported", True) == (error["extensions"]["code"], "no debug sessions" in error["message"])


@pytest.mark.parametrize(
    ("mutation", "sentence"),
    [
        ('invokeFunction(functionSlug: "shop-nothing")', "there is no function shop-nothing"),
        (f'cancelRun(runID: "{NOBODY}") {{id}}', f"there is no run {NOBODY}"),
        (f'rerun(runID: "{NOBODY}")', f"there is no run {NOBODY}"),
        (f'rerun(runID: "{NOBODY}", fromStep: {{stepID: "a", input: "7"}})', "input"),
        ('deleteApp(id: "nothing")', "there is no app nothing"),
        ('updateApp(input: {id: "nothing", url: "http://127.0.0.1:1/"}) {id}', "there is no app nothing"),
        ('createApp(input: {url: "nowhere"}) {id}', "url"),
    ],
)
def test_a_mutation_of_what_is_not_there_is_an_error(client: FlaskClient, mutation: str, sentence: str) -> None:
    assert sentence in refused(client, f"mutation {{{mutation}}}")


def test_what_is_given_to_an_invoked_function_is_bounded_as_events_are(client: FlaskClient, world: World) -> None:
    declare(world, BILL)
    invoke = 'mutation ($data: Map) {invokeFunction(functionSlug: "shop-bill", data: $data)}'
    deep: dict[str, object] = {}
    for _ in range(300):
        deep = {"a": deep}

    assert "data has 600011 bytes, the limit is 524288 bytes" in refused(client, invoke, data={"a": "x" * 600_003})
    assert "data is nested deeper than the limit of 256 levels" in refused(client, invoke, data=deep)
    assert "Map must be an object" in refused(client, invoke, data=[])
    inline = 'mutation {invokeFunction(functionSlug: "shop-bill", data: {big: 12345678901234567890123})}'
    assert {"invokeFunction": True} == data(client, inline)
    [event] = data(client, "{events(query: {}) {name payload}}")["events"]
    assert '{"big":12345678901234567890123,"_inngest":{"fn_id": "shop-bill", "type": "api"}}' == event["payload"]

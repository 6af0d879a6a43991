"""The second generation of the REST API: its shapes, its pages, its errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from orchestrator.api.app import create_app
from orchestrator.core.effect import SaveStep, Status, StepStatus
from orchestrator.core.scope import Scope
from orchestrator.engine.tokens import create, revoke
from orchestrator.store.tables import audit, events

if TYPE_CHECKING:
    from tests.api.conftest import World

ID = "01J00000000000000000000000"
INVOKE = "/v2/apps/shop/functions/bill/invoke"


def get(client: FlaskClient, path: str) -> Any:
    answer = client.get(path)
    assert 200 == answer.status_code, answer.get_json()
    return answer.get_json()


def errors(answer: Any) -> tuple[int, str, str]:
    """The status, the code and the sentence of a refusal; it must have nothing else."""
    said = answer.get_json()
    [error] = said.pop("errors")
    assert ({}, {"code", "message"}) == (said, set(error))
    return answer.status_code, error["code"], error["message"]


# Runs.


def test_a_run_is_shown_as_tools_expect_it(world: World, client: FlaskClient) -> None:
    world.app(slugs=["shop-bill"])
    event = world.event()
    run_id = world.finished(event, Status.COMPLETED, '{"paid":7}')

    run = get(client, f"/v2/runs/{run_id}")["data"]

    assert {
        "id": run_id,
        "function": {"id": "bill", "name": "Shop-Bill"},
        "app": {"id": "shop"},
        "status": "COMPLETED",
        "queuedAt": "2026-11-21T12:00:00.123Z",
        "startedAt": "2026-11-21T12:00:00.123Z",
        "endedAt": "2026-11-21T12:00:02.123Z",
        "durationMs": "2000",
        "trigger": {"eventIds": [event.id], "eventName": "shop/sold"},
        "output": {"paid": 7},
    } == run


def test_a_failed_run_has_its_error_as_output_and_what_is_not_known_is_left_out(
    world: World, client: FlaskClient
) -> None:
    failed = world.finished(world.event(), Status.FAILED, error='{"name":"Error","message":"no"}')
    queued = world.run(world.event(), status=Status.QUEUED)

    shown = [get(client, f"/v2/runs/{run_id}")["data"] for run_id in (failed, queued)]

    assert {"name": "Error", "message": "no"} == shown[0]["output"]
    assert {"id", "function", "app", "status", "queuedAt", "trigger"} == set(shown[1])


def test_runs_are_listed_page_by_page(world: World, client: FlaskClient) -> None:
    ids = [world.run(world.event()) for _ in range(3)]

    first = get(client, "/v2/runs?limit=2")
    second = get(client, f"/v2/runs?limit=2&cursor={first['page']['cursor']}")

    assert ids[::-1] == [run["id"] for run in first["data"] + second["data"]]
    assert ({"hasMore": False, "limit": 2}, True) == (second["page"], first["page"]["hasMore"])
    assert {"fetchedAt", "cachedUntil"} == set(first["metadata"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=COMPLETED", ["done"]),
        ("status=RUNNING,COMPLETED", ["live", "done"]),
        ("timeField=endedAt&from=2026-11-21T12:00:01Z", ["done"]),
        ("until=2026-11-21T12:00:00Z", []),
        ("order=asc", ["done", "live"]),
        ("appId=shop", ["live", "done"]),
        ("query=event.data.n == 7", ["done"]),
    ],
)
def test_runs_are_filtered(world: World, client: FlaskClient, query: str, found: list[str]) -> None:
    world.app(slugs=["shop-bill"])
    names = {world.finished(world.event(data='{"n":7}'), Status.COMPLETED, "1"): "done"}
    names[world.run(world.event())] = "live"

    runs = get(client, f"/v2/runs?{query}")["data"]

    assert found == [names[run["id"]] for run in runs]
    assert all("output" not in run for run in runs)


def test_a_list_brings_the_outputs_on_demand(world: World, client: FlaskClient) -> None:
    event = world.event()
    world.finished(event, Status.COMPLETED, "12")

    found = [get(client, f"{path}?includeOutput=true")["data"] for path in ("/v2/runs", f"/v2/events/{event.id}/runs")]

    assert [[12], [12]] == [[run["output"] for run in runs] for runs in found]


def test_the_runs_of_a_function_and_of_an_event_are_listed(world: World, client: FlaskClient) -> None:
    world.app(slugs=["shop-bill", "shop-ship"])
    event = world.event()
    ids = [world.run(event, slug) for slug in ("shop-bill", "shop-ship")]

    of_function = get(client, "/v2/apps/shop/functions/ship/runs")["data"]
    of_event = [get(client, f"/v2/events/{event.id}/runs?limit=1{more}") for more in ("", f"&cursor={ids[0]}")]

    assert [ids[1]] == [run["id"] for run in of_function]
    assert [[ids[0]], [ids[1]]] == [[run["id"] for run in page["data"]] for page in of_event]
    assert [True, False] == [page["page"]["hasMore"] for page in of_event]


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/v2/runs?limit=101", "limit"),
        ("/v2/runs?status=running", "status"),
        ("/v2/runs?from=yesterday", "from"),
        ("/v2/runs?cursor=x", "cursor"),
        ("/v2/runs?query=(", "expression"),
        ("/v2/runs?includeOutput=perhaps", "includeOutput"),
        ("/v2/runs?timeField=seenAt", "timeField"),
        ("/v2/runs/7", "run_id"),
        ("/v2/keys/events?cursor=x", "cursor"),
    ],
)
def test_a_bad_request_is_told_in_the_shape_of_the_family(client: FlaskClient, path: str, word: str) -> None:
    status, _code, sentence = errors(client.get(path))

    assert (400, True) == (status, word in sentence), sentence


def test_what_is_not_there_is_told_in_the_same_shape(client: FlaskClient) -> None:
    paths = (f"/v2/runs/{ID}", f"/v2/runs/{ID}/trace", f"/v2/events/{ID}/runs", "/v2/apps/shop", "/v2/nowhere")

    told = [errors(client.get(path))[:2] for path in paths]

    assert [(404, "not_found")] * len(paths) == told
    assert (405, "method_not_allowed") == errors(client.put("/v2/runs"))[:2]


def test_a_trace_is_a_tree_of_spans(world: World, client: FlaskClient) -> None:
    run_id = world.run(world.event())
    world.steps(run_id, SaveStep("a", "charge", "StepRun", StepStatus.COMPLETED, memo='{"data":1}'))

    root = get(client, f"/v2/runs/{run_id}/trace")["data"]["rootSpan"]

    [step] = root["children"]
    assert ("charge", "COMPLETED", "a", "StepRun") == (step["name"], step["status"], step["stepId"], step["stepOp"])
    assert ("RUNNING", [], []) == (root["status"], root["metadata"], step["children"])


def test_a_run_is_cancelled_once(world: World, client: FlaskClient) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.run(world.event())

    first, second = (client.post(f"/v2/runs/{run_id}/cancel") for _ in range(2))

    assert (200, "CANCELLED") == (first.status_code, first.get_json()["data"]["status"])
    assert (409, "run_already_ended") == errors(second)[:2]


def test_a_run_is_run_again(world: World, client: FlaskClient) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.finished(world.event(), Status.FAILED, error="{}")

    again = client.post(f"/v2/runs/{run_id}/rerun").get_json()["data"]["runId"]

    assert "QUEUED" == get(client, f"/v2/runs/{again}")["data"]["status"]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ("{", 400, "not JSON"),
        ("[]", 400, "object"),
        ('{"fromStep":7}', 400, "fromStep"),
        ('{"fromStep":{}}', 400, "stepId"),
        ('{"fromStep":{"stepId":"a","input":{}}}', 400, "input"),
        ('{"fromStep":{"stepId":"nothing"}}', 404, "no step nothing"),
    ],
)
def test_a_rerun_that_cannot_be_is_refused(
    world: World, client: FlaskClient, body: str, status: int, word: str
) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.finished(world.event(), Status.COMPLETED, "1")

    told = errors(client.post(f"/v2/runs/{run_id}/rerun", data=body))

    assert (status, True) == (told[0], word in told[2]), told


# Apps and functions.


def test_apps_and_functions_are_shown_as_tools_expect_them(world: World, client: FlaskClient) -> None:
    world.app(slugs=["shop-bill"])

    app = get(client, "/v2/apps/shop")["data"]
    function = get(client, "/v2/apps/shop/functions/bill")

    assert ("shop", "SERVE", 1, "http://localhost:5000/api") == (
        app["id"],
        app["method"],
        app["functionCount"],
        app["latestSync"]["url"],
    )
    assert [app] == get(client, "/v2/apps")["data"]
    assert get(client, "/v2/apps/shop/functions")["data"] == [function["data"]]
    assert (404, "not_found") == errors(client.get("/v2/apps/shop/functions/other"))[:2]


def test_apps_are_listed_page_by_page(world: World, client: FlaskClient) -> None:
    for name in ("c", "a", "b"):
        world.app(name, f"http://localhost/{name}")

    first = get(client, "/v2/apps?limit=2")
    second = get(client, f"/v2/apps?limit=2&cursor={first['page']['cursor']}")

    assert ["a", "b", "c"] == [app["id"] for app in first["data"] + second["data"]]


def test_a_list_goes_on_after_an_app_that_was_removed_between_its_pages(world: World, client: FlaskClient) -> None:
    for name in ("cafe", "grill", "shop"):
        world.app(name, url=f"http://localhost:5000/{name}")
    first = get(client, "/v2/apps?limit=2")
    assert 200 == client.delete("/fn/remove?url=http://localhost:5000/grill").status_code

    second = get(client, f"/v2/apps?limit=2&cursor={first['page']['cursor']}")

    assert ["cafe", "grill"] == [it["id"] for it in first["data"]]
    assert ["shop"] == [it["id"] for it in second["data"]]


def test_a_function_is_invoked_once_for_each_key(world: World, client: FlaskClient) -> None:
    world.app(slugs=["shop-bill"])
    bodies: list[Any] = [{"data": {"n": 1}, "idempotencyKey": "k"}] * 2 + [{"idempotencyKey": "l"}, {}]

    ids = [client.post(INVOKE, json=body).get_json()["data"]["runId"] for body in bodies]
    world.clock.advance(timedelta(hours=25))
    later = client.post(INVOKE, json=bodies[0]).get_json()["data"]["runId"]

    assert (4, True) == (len({*ids, later}), ids[0] == ids[1])
    with world.parts.database.read() as conn:
        payloads = conn.execute(select(events.c.payload).order_by(events.c.id)).scalars().all()
    assert 4 == len(payloads)
    assert f'"run_id": "{ids[0]}"' in payloads[0]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ('{"data":7}', "data"),
        ('{"data":{"a":NaN}}', "JSON"),
        ('{"idempotencyKey":""}', "idempotencyKey"),
        ('{"idempotencyKey":7}', "idempotencyKey"),
        ("7", "object"),
    ],
)
def test_an_invocation_that_cannot_be_is_refused(world: World, client: FlaskClient, body: str, word: str) -> None:
    world.app(slugs=["shop-bill"])

    status, _, sentence = errors(client.post(INVOKE, data=body))

    assert (400, True) == (status, word in sentence), sentence


def test_an_app_that_is_not_reached_is_a_sync_that_failed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.errors import TransportError

    class Nobody:
        def request(self, *_args: object, **_keywords: object) -> Any:
            raise TransportError("nobody answers at http://localhost:1")

    world.app()
    client = create_app(replace(world.parts, http=Nobody())).test_client()

    answers = [client.post("/v2/apps/shop/syncs", json=body) for body in ({}, {"url": "http://localhost:1"})]

    shown = [answer.get_json()["data"] for answer in answers]
    assert [("error", "shop"), ("error", None)] == [(it["status"], it.get("appId")) for it in shown]
    assert "nobody answers" in shown[0]["error"]
    assert (404, "not_found") == errors(client.post("/v2/apps/other/syncs"))[:2]
    assert (400, "invalid_request") == errors(client.post("/v2/apps/shop/syncs", json={"url": "shop"}))[:2]


# Events, account, keys.


def test_an_event_is_sent_and_stored(client: FlaskClient) -> None:
    event_id = client.post("/v2/events", json={"name": "shop/sold", "data": {"n": 1}}).get_json()["data"]["eventId"]

    assert {"n": 1} == get(client, f"/v1/events/{event_id}")["data"]["data"]


@pytest.mark.parametrize(
    ("body", "status"),
    [("[]", 400), ('[{"name":"a"}]', 400), ("{}", 400), ("", 400), ('{"name":"inngest/x"}', 400)],
)
def test_what_is_no_event_is_refused(client: FlaskClient, body: str, status: int) -> None:
    assert status == errors(client.post("/v2/events", data=body))[0]


def test_account_environment_and_health_are_told(client: FlaskClient) -> None:
    [env] = get(client, "/v2/envs")["data"]

    assert {"status": "ok"} == get(client, "/v2/health")["data"]
    assert {"id", "name", "email"} == set(get(client, "/v2/account")["data"])
    assert ("dev", "TEST") == (env["name"], env["type"])


def test_event_keys_are_the_tokens_that_may_send_and_count(world: World, client: FlaskClient) -> None:
    kept = [create(world.parts, name, scopes)[0] for name, scopes in (("a", [Scope.EVENTS]), ("b", list(Scope)))]
    create(world.parts, "reader", [Scope.READ])
    revoke(world.parts, create(world.parts, "former", [Scope.EVENTS])[0].id)

    first = get(client, "/v2/keys/events?limit=1")
    second = get(client, f"/v2/keys/events?limit=1&cursor={first['page']['cursor']}")

    found = first["data"] + second["data"]
    assert {token.id for token in kept} == {key["id"] for key in found}
    assert not second["page"]["hasMore"]


def test_signing_keys_are_told_by_the_beginnings_of_their_hashes(world: World) -> None:
    settings = replace(world.parts.settings, signing_keys=("signkey-test-12345678", "abcd"))
    client = create_app(replace(world.parts, settings=settings), server_kind="cloud").test_client()

    keys = get(client, "/v2/keys/signing")["data"]

    assert [("signing key", "b2ed9921…"), ("fallback signing key", "123d4c7e…")] == [
        (key["name"], key["key"]) for key in keys
    ]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v2/envs"), ("GET", "/v2/env/webhooks"), ("POST", f"/v2/runs/{ID}/scores"), ("GET", "/v2/sessions")],
)
def test_what_is_not_served_says_so(client: FlaskClient, method: str, path: str) -> None:
    status, code, sentence = errors(client.open(path, method=method))

    assert (501, "not_implemented") == (status, code)
    assert sentence.startswith("not served here: ")


def test_the_longer_prefix_answers_alike(world: World, client: FlaskClient) -> None:
    run_id = world.run(world.event())

    shown = [get(client, f"{prefix}/runs/{run_id}")["data"] for prefix in ("/v2", "/api/v2")]

    assert shown[0] == shown[1]
    assert (404, "not_found") == errors(client.get("/api/v2/nowhere"))[:2]


def test_the_audit_names_who_cancelled_reran_and_invoked(world: World, client: FlaskClient) -> None:
    world.app(slugs=["shop-bill"])
    run_id = world.run(world.event())

    asked: list[Callable[[], Any]] = [
        lambda: client.post(f"/v2/runs/{run_id}/cancel"),
        lambda: client.post(f"/v2/runs/{run_id}/rerun"),
        lambda: client.post(INVOKE),
    ]
    statuses = [ask().status_code for ask in asked]

    with world.parts.database.read() as conn:
        rows = [(row.action, row.actor) for row in conn.execute(select(audit).order_by(audit.c.id))]
    assert [200] * 3 == statuses
    assert [("run cancelled", "api"), ("run rerun", "api"), ("function invoked", "api")] == rows

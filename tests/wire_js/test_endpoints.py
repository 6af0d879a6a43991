"""Durable endpoints, with the official TypeScript SDK over real HTTP: a test per rule."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ids import new_ulid
from tests.wire.harness import Embedded, Server, until
from tests.wire.production import ProductionServer
from tests.wire_js.endpoints import EndpointApp, fetch

pytestmark = pytest.mark.timeout(300)

STEP = {"op": "StepRun", "id": "a" * 40, "displayName": "made by hand", "data": 1}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One for all tests here; a failed attempt is repeated after a second."""
    embedded = Embedded(retry_interval="1s")
    yield embedded
    embedded.stop()


@pytest.fixture(scope="module")
def app(node: None, server: Server) -> Iterator[EndpointApp]:
    made = EndpointApp(server)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def own(node: None) -> Iterator[EndpointApp]:
    """An app on a server of its own, whose clock may be moved."""
    embedded = Embedded()
    made = EndpointApp(embedded)
    made.start()
    yield made
    made.kill()
    embedded.stop()


def names(run: dict[str, Any]) -> list[str]:
    return [step["name"] for step in run["steps"]]


def new_run(**changes: object) -> dict[str, Any]:
    """What an SDK sends that has begun a run, made by hand."""
    data = {"domain": "http://127.0.0.1:1", "path": "/by-hand", "method": "GET", "query_params": "", "body": ""}
    event = {"name": "inngest/http.request", "data": data | changes.pop("data", {})}  # type: ignore[operator]
    return {"run_id": new_ulid(), "event": event, "steps": [], "retries": 3, "request_version": 2} | changes


def test_an_endpoint_without_steps_answers_itself_and_its_run_is_kept(server: Server, app: EndpointApp):
    told = app.ask("/plain")

    run = server.run_ended(app.run_of("/plain"))
    assert (200, {"hello": "world"}, []) == (told.status, told.body, app.repeated("/plain"))
    assert ("Completed", '{"hello":"world"}') == (run["status"], run["output"]["body"])
    assert f"127.0.0.1:{app.port}-GET /plain" == run["function"]


def test_steps_are_memoised_while_the_request_lasts(server: Server, app: EndpointApp):
    told = app.ask("/steps")

    run = server.run_ended(app.run_of("/steps"))
    assert (["one", "two"], f"http://127.0.0.1:{app.port}/steps") == (told.body, told.url)
    assert ("Completed", ["one", "two"]) == (run["status"], names(run))
    assert (["one", "two"], []) == (app.ran("/steps"), app.repeated("/steps"))


def test_what_must_wait_goes_on_by_repeating_the_request_and_the_client_gets_the_answer(
    server: Server, app: EndpointApp
):
    told = app.ask("/nap")

    run_id = app.run_of("/nap")
    assert (200, {"before": "before", "after": "after"}) == (told.status, told.body)
    assert f"{server.url}/v1/http/runs/{run_id}/output" == told.url.partition("?")[0]
    assert "application/json" == {name.lower(): value for name, value in told.headers.items()}["content-type"]
    assert ["before", "after"] == app.ran("/nap")
    assert ["before", "nap", "after"] == names(server.run(run_id))


def test_the_body_of_the_request_is_repeated_too(app: EndpointApp):
    told = app.ask("/echo?a=1&b=x%26y", {"deep": [1, {"ü": None}]})

    assert {"echoed": {"deep": [1, {"ü": None}]}} == told.body
    assert [("POST", "?a=1&b=x%26y")] == [(it["method"], it["query"]) for it in app.repeated("/echo")]


def test_parallel_steps_run_once_each(app: EndpointApp):
    told = app.ask("/group")

    assert (["x", "y", "z"], ["x", "y", "z"]) == (told.body, sorted(app.ran("/group")))


def test_a_step_that_fails_is_tried_again_by_the_server(server: Server, app: EndpointApp):
    told = app.ask("/flaky")

    assert (200, 2) == (told.status, told.body)
    assert "Completed" == server.run(app.run_of("/flaky"))["status"]


def test_a_failure_while_the_request_lasts_is_the_endpoints_own_answer(server: Server, app: EndpointApp):
    told = app.ask("/doomed")

    assert (400, "never") == (told.status, told.body["message"])
    assert "Running" == server.run(app.run_of("/doomed"))["status"]


def test_whoever_waits_is_told_of_a_failure_without_its_traceback(server: Server, app: EndpointApp):
    told = app.ask("/doomed-later")

    assert (500, "NonRetriableError: never") == (told.status, told.body["error"])
    assert "endpoints.js" not in str(told.body)
    assert "endpoints.js" in server.run(app.run_of("/doomed-later"))["output"]["stack"]


def test_a_run_whose_app_fell_silent_is_taken_over_and_its_steps_are_not_repeated(own: EndpointApp):
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(own.ask, "/gated")
        until(lambda: own.ran("/gated") == ["first"], "the first step")
        run_id = own.run_of("/gated")
        until(lambda: names(own.server.run(run_id)) == ["first"], "its memo")
        own.kill()
        assert asked.exception(30) is not None
    own.start()
    own.open()
    own.server.skip(timedelta(minutes=6))

    run = own.server.run_ended(run_id)

    assert ("Completed", ["first", "second"], ["second"]) == (run["status"], names(run), own.ran("/gated"))


def test_what_an_app_reports_of_a_run_that_was_taken_over_is_refused(server: Server):
    begun = new_run(steps=[{"op": "StepPlanned", "id": "b" * 40, "displayName": "later"}])
    assert 200 == server.request("POST", "/v1/checkpoint", begun)[0]

    status, answer = server.request("POST", f"/v1/checkpoint/{begun['run_id']}/steps", {"steps": [STEP]})

    assert (409, "conflict") == (status, answer["code"])


def test_a_run_that_is_begun_twice_is_one(server: Server):
    body = new_run(steps=[STEP])

    answers = [server.request("POST", "/v1/checkpoint", body) for _ in range(2)]

    assert [200, 200] == [status for status, _ in answers]
    assert answers[0][1]["data"]["fn_id"] == answers[1][1]["data"]["fn_id"]
    assert ["made by hand"] == names(server.run(body["run_id"]))


def test_the_id_of_another_functions_run_is_refused(server: Server):
    body = new_run()
    server.request("POST", "/v1/checkpoint", body)

    status, answer = server.request("POST", "/v1/checkpoint", new_run(run_id=body["run_id"], data={"path": "/other"}))

    assert (409, "conflict") == (status, answer["code"])


def test_a_cancelled_run_is_told_to_the_sdk_and_to_whoever_waits(server: Server):
    begun = server.request("POST", "/v1/checkpoint", new_run())[1]["data"]
    run_id = begun["run_id"]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(fetch, f"{server.url}/v1/checkpoint/{run_id}/output?token={begun['token']}")
        server.request("DELETE", f"/v1/runs/{run_id}")

        assert 410 == waiting.result().status
    assert 409 == server.request("POST", f"/v1/checkpoint/{run_id}/steps", {"steps": [STEP]})[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"run_id": "x"}, "run_id must be a ULID"),
        ({"run_id": None}, "the report cannot be read"),
        ({"event": {"name": "other", "data": {"domain": "", "path": "", "method": ""}}}, "event.name must be"),
        ({"event": {"name": "inngest/http.request", "data": []}}, "event.data cannot be read"),
        ({"data": {"domain": "ftp://a"}}, "event.data.domain must be http://"),
        ({"data": {"domain": "http://"}}, "event.data.domain must be http://"),
        ({"data": {"domain": "http://a/b"}}, "event.data.domain must be http://"),
        ({"data": {"domain": "http://a:x"}}, "event.data.domain must be http://"),
        ({"data": {"path": "x"}}, "event.data.path must start with /"),
        ({"data": {"path": "/ü"}}, "event.data: the URL must have"),
        ({"data": {"path": "/" + "x" * 2100}}, "event.data: "),
        ({"data": {"method": "BREW"}}, "event.data.method must be one of"),
        ({"data": {"fn": "f" * 300}}, "event.data: the names"),
        ({"retries": 101}, "retries must be a whole number"),
        ({"steps": [STEP] * 1001}, "steps has 1001 steps"),
        ({"steps": [1]}, "the report cannot be read"),
    ],
)
def test_a_bad_report_is_told_in_a_sentence(server: Server, changes: dict[str, object], sentence: str):
    status, answer = server.request("POST", "/v1/checkpoint", new_run(**changes))

    assert (400, "invalid_request") == (status, answer["code"])
    assert sentence in answer["error"]


def test_reports_of_unknown_runs_are_refused(server: Server):
    assert (
        404 == server.request("POST", f"/v1/checkpoint/{new_ulid()}/steps", {"steps": [{"op": "Sleep", "id": "s"}]})[0]
    )
    assert 404 == fetch(f"{server.url}/v1/http/runs/{new_ulid()}/output?token=x").status
    assert 400 == fetch(f"{server.url}/v1/http/runs/x/output?token=x").status


def test_however_many_wait_others_are_answered(server: Server):
    begun = server.request("POST", "/v1/checkpoint", new_run())[1]["data"]
    url = f"{server.url}/v1/http/runs/{begun['run_id']}/output?token={begun['token']}"
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(fetch, url) for _ in range(40)]  # more than there are threads
        assert 200 == server.request("GET", "/v1/apps")[0]
        server.request("DELETE", f"/v1/runs/{begun['run_id']}")

        assert {410} == {it.result().status for it in waiting}


def test_in_production_requests_are_signed_and_outputs_need_their_own_token(node: None, tmp_path: Path):
    server = ProductionServer(tmp_path)
    app = EndpointApp(server)
    app.start()
    try:
        told = app.ask("/nap")
        run_id = app.run_of("/nap")
        other = server.request("POST", "/v1/checkpoint", new_run())[1]["data"]
        url = f"{server.url}/v1/http/runs/{run_id}/output"

        assert {"before": "before", "after": "after"} == told.body
        assert "unsigned" not in app.repeated("/nap")[0]["headers"]["x-inngest-signature"]
        for token in ("", "x", other["token"], other["token"] + "x"):
            assert (401, "unauthorized") == ((refused := fetch(f"{url}?token={token}")).status, refused.body["code"])
        assert 401 == server.ask("POST", "/v1/checkpoint", None, new_run())[0]
        assert 401 == server.ask("POST", f"/v1/checkpoint/{run_id}/steps", None, {"steps": []})[0]
    finally:
        app.kill()
        server.stop()

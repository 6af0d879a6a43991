"""Requests that the server makes for apps: `step.ai.infer` of the official Python SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import inngest
import pytest
from inngest.experimental import ai

from tests.wire.harness import App, Embedded, Server, until
from tests.wire.production import ProductionApp, ProductionServer
from tests.wire.provider import Provider, Said

KEY = "sk-this-is-secret"
CHAT = {"choices": [{"message": {"content": "hello"}}], "usage": {"total_tokens": 7}}


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider(Said(200, CHAT))
    yield made
    made.stop()


def openai(provider: Provider) -> ai.BaseAdapter:
    return ai.openai.Adapter(auth_key=KEY, base_url=f"{provider.url}/v1", model="gpt-x")


def serve(app: App, adapter: ai.BaseAdapter, **options: Any) -> None:
    """Serve a function that asks the provider, and tells what it got or what went wrong."""

    @app.function("ask", "ask/it", **options)
    def ask(ctx: inngest.ContextSync) -> object:
        try:
            return ctx.step.ai.infer("ask", adapter=adapter, body={"messages": [{"role": "user", "content": "hi"}]})
        except inngest.StepError as error:
            return {"name": error.name, "message": error.message, "stack": error.stack}

    app.serve([ask])


def test_an_ai_step_gets_the_answer_of_the_provider(server: Server, app: App, provider: Provider):
    serve(app, openai(provider))

    run = server.ended(server.send("ask/it"))

    assert ("Completed", CHAT) == (run["status"], run["output"])
    [got] = provider.got
    assert ("POST", "/v1/chat/completions") == (got.method, got.path)
    assert ("application/json", f"Bearer {KEY}") == (got.headers["content-type"], got.headers["authorization"])
    assert {"messages": [{"role": "user", "content": "hi"}], "model": "gpt-x"} == json.loads(got.body)
    [step] = run["steps"]
    assert ("ask", "AIGateway", "Completed", CHAT) == (step["name"], step["op"], step["status"], step["output"])


def test_the_app_is_not_called_while_the_provider_thinks(server: Server, app: App, provider: Provider):
    provider.open.clear()
    serve(app, openai(provider))

    event = server.send("ask/it")
    until(lambda: provider.got, "the request to the provider")
    [run] = server.runs_of(event)
    assert "Planned" == server.run(run["run_id"])["steps"][0]["status"]
    assert 1 == len(app.calls(run["run_id"]))
    provider.open.set()

    assert "Completed" == server.ended(event)["status"]
    assert 2 == len(app.calls(run["run_id"]))


def test_the_provider_s_key_goes_where_its_format_wants_it(server: Server, app: App, provider: Provider):
    adapter = ai.anthropic.Adapter(auth_key=KEY, base_url=f"{provider.url}/v1", model="claude-x")
    serve(app, adapter)

    assert "Completed" == server.ended(server.send("ask/it"))["status"]

    [got] = provider.got
    assert ("/v1/messages", KEY, "2023-06-01") == (got.path, got.headers["x-api-key"], got.headers["anthropic-version"])
    assert "authorization" not in got.headers


def test_a_provider_that_is_busy_is_asked_again_and_the_answer_is_memoised(
    server: Server, app: App, provider: Provider
):
    provider.say[:] = [Said(503, "busy"), Said(429, "slow down", {"Retry-After": "120"}), Said(200, CHAT)]
    serve(app, openai(provider))

    event = server.send("ask/it")
    [run] = server.runs_of(event)
    server.failed(run["run_id"], 1)
    server.skip(timedelta(seconds=46))
    server.failed(run["run_id"], 2)
    server.skip(timedelta(seconds=46))
    assert 2 == len(provider.got), "it asked for two minutes"
    server.skip(timedelta(seconds=75))

    assert CHAT == server.ended(event)["output"]
    assert 3 == len(provider.got)
    assert 3 == server.run(run["run_id"])["steps"][0]["attempts"]


def test_a_provider_that_keeps_refusing_is_an_error_that_the_function_may_catch(
    server: Server, app: App, provider: Provider
):
    provider.say[:] = [Said(405, "no such method")]
    serve(app, openai(provider), retries=0)

    run = server.ended(server.send("ask/it"))

    message = "Error making AI request: unsuccessful status code: 405"
    expected = {"name": "AIGatewayError", "message": message, "stack": "no such method"}
    assert ("Completed", expected) == (run["status"], run["output"])


def test_a_provider_that_cannot_be_reached_is_an_error_that_the_function_may_catch(server: Server, app: App):
    gone = Provider()
    gone.stop()
    gone._http.server_close()
    serve(app, openai(gone), retries=0)

    run = server.ended(server.send("ask/it"))

    assert "AIGatewayError" == run["output"]["name"]
    assert "refused" in run["output"]["message"]


def test_an_answer_that_is_not_json_is_an_error(server: Server, app: App, provider: Provider):
    provider.say[:] = [Said(200, "<html>")]
    serve(app, openai(provider), retries=0)

    assert "is not JSON" in server.ended(server.send("ask/it"))["output"]["message"]


def test_steps_beside_an_ai_step_run_meanwhile_and_all_are_joined(server: Server, app: App, provider: Provider):
    @app.function("both", "both/it")
    def both(ctx: inngest.ContextSync) -> object:
        ask = lambda name: ctx.step.ai.infer(name, adapter=openai(provider), body={"n": name})  # noqa: E731
        return ctx.group.parallel((lambda: ask("one"), lambda: ctx.step.run("run", lambda: "ran"), lambda: ask("two")))

    app.serve([both])

    run = server.ended(server.send("both/it"))

    assert ("Completed", [CHAT, "ran", CHAT]) == (run["status"], run["output"])
    assert 2 == len(provider.got)


def test_a_cancelled_run_takes_no_answer_any_more(server: Server, app: App, provider: Provider):
    provider.open.clear()
    serve(app, openai(provider))
    event = server.send("ask/it")
    until(lambda: provider.got, "the request to the provider")
    [run] = server.runs_of(event)

    assert 200 == server.request("DELETE", f"/v1/runs/{run['run_id']}")[0]
    provider.open.set()

    ended = server.run_ended(run["run_id"])
    assert ("Cancelled", 1) == (ended["status"], len(app.calls(run["run_id"])))
    assert "Completed" not in {step["status"] for step in ended["steps"]}


def test_the_secrets_of_a_request_are_shown_nowhere(
    server: Server, app: App, provider: Provider, capfd: pytest.CaptureFixture[str]
):
    provider.open.clear()
    provider.say[:] = [Said(503, "busy"), Said(200, CHAT)]
    serve(app, openai(provider))
    event = server.send("ask/it")
    [run] = server.runs_of(event)
    path = f"/v1/runs/{run['run_id']}"

    shown = [json.dumps(server.request("GET", path)[1])]
    provider.open.set()
    server.failed(run["run_id"], 1)
    shown.append(json.dumps(server.request("GET", path)[1]))
    server.skip(timedelta(seconds=46))
    server.ended(event)
    shown.append(json.dumps(server.request("GET", path)[1]))
    shown.append(json.dumps(server.request("GET", f"/v1/events/{event}/runs")[1]))
    shown += [*capfd.readouterr()]

    assert [KEY in got.headers["authorization"] for got in provider.got] == [True, True]
    assert [False] * len(shown) == [KEY in text for text in shown]


def test_production_makes_no_request_to_addresses_inside(tmp_path: Path, provider: Provider):
    """The app's own network is allowed, the provider's is not: apps must not make the server a door to it."""
    server = ProductionServer(tmp_path, allowed_networks="127.0.0.1/32")
    app = ProductionApp(server.url, "inside", server.keys)
    try:
        metadata = ai.openai.Adapter(auth_key=KEY, base_url="http://169.254.169.254/v1", model="gpt-x")
        serve(app, metadata)
        server.sync(app.url)

        run = server.ended(server.send("ask/it"))

        assert "AIGatewayError" == run["output"]["name"]
        assert "metadata address" in run["output"]["message"]
        assert 1 == run["steps"][0]["attempts"], "it is not tried again"
    finally:
        app.stop()
        server.stop()


def test_a_provider_that_never_answers_is_given_up_in_time(tmp_path: Path, provider: Provider):
    server = Embedded(fetch_timeout="1s")
    app = App(server.url, "impatient")
    provider.open.clear()
    try:
        serve(app, openai(provider), retries=0)

        run = server.ended(server.send("ask/it"))

        assert "did not answer in full within" in run["output"]["message"]
    finally:
        provider.open.set()
        app.stop()
        server.stop()

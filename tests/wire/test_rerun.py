"""Reruns over REST, with the official Python SDK over real HTTP and in process: a test per rule."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import inngest
import pytest

from tests.wire.harness import App, Server, until

pytestmark = pytest.mark.every_driver


def again(server: Server, run: dict[str, Any], **from_step: object) -> dict[str, Any]:
    body = {"from_step": from_step} if from_step else {}
    status, answer = server.request("POST", f"/v1/runs/{run['run_id']}/rerun", body)
    assert 200 == status, answer
    return server.run_ended(answer["data"]["run_id"])


def test_a_failed_run_is_run_again_and_goes_well_once_its_cause_is_gone(server: Server, app: App):
    broken = [True]

    @app.function("frail", "again/frail", retries=0)
    def frail(ctx: inngest.ContextSync) -> object:
        if broken:
            raise ValueError("no")
        return ctx.event.data

    app.serve([frail])
    failed = server.ended(server.send("again/frail", {"n": 7}))
    broken.clear()

    new = again(server, failed)

    assert ("Failed", "Completed", {"n": 7}) == (failed["status"], new["status"], new["output"])
    assert (failed["run_id"], failed["event_id"]) == (new["original_run_id"], new["event_id"])
    assert [new["run_id"]] == server.run(failed["run_id"])["reruns"]


def test_from_a_step_steps_sleeps_and_waits_before_it_are_not_done_again(server: Server, app: App):
    bodies = Counter[str]()

    def body(name: str) -> str:
        bodies[name] += 1
        return name

    @app.function("long", "again/long")
    def long(ctx: inngest.ContextSync) -> object:
        ctx.step.run("first", body, "first")
        ctx.step.sleep("nap", timedelta(days=1))
        ctx.step.run("second", body, "second")
        return ctx.step.run("third", body, "third")

    app.serve([long])
    event_id = server.send("again/long")
    [run] = server.runs_of(event_id)
    server.step(run["run_id"], "nap", "Sleeping")
    server.skip(timedelta(days=1, seconds=1))
    run = server.run_ended(run["run_id"])

    new = again(server, run, step_id="third")

    assert ("Completed", {"first": 1, "second": 1, "third": 2}) == (new["status"], bodies)
    assert ["first", "nap", "second", "third"] == [step["name"] for step in new["steps"]]


@pytest.mark.over_http("functions in process take another input")
def test_the_python_sdk_takes_no_other_input_and_the_refusal_says_so(server: Server, app: App):
    @app.function("one", "again/one")
    def one(ctx: inngest.ContextSync) -> object:
        return ctx.step.run("only", lambda: 1)

    app.serve([one])
    run = server.ended(server.send("again/one"))

    body = {"from_step": {"step_id": "only", "input": [1]}}
    status, answer = server.request("POST", f"/v1/runs/{run['run_id']}/rerun", body)

    assert (409, True) == (status, "(py) has no way to give a step another input" in answer["error"])


def test_the_handler_of_a_failure_is_run_again_with_the_same_failure(server: Server, app: App):
    heard = []

    @app.function("mourner", "inngest/function.failed")
    def mourner(ctx: inngest.ContextSync) -> object:
        heard.append(ctx.event.data["run_id"])
        return ctx.event.data["run_id"]

    @app.function("frail", "again/frail", retries=0)
    def frail(ctx: inngest.ContextSync) -> object:
        raise ValueError("no")

    app.serve([mourner, frail])
    failed = server.ended(server.send("again/frail"))
    handled = _handling(server, failed["run_id"])

    new = again(server, handled)

    assert (failed["run_id"], [failed["run_id"]] * 2) == (new["output"], heard)


def _handling(server: Server, run_id: str) -> dict[str, Any]:
    """The run that a run's failure started."""

    def look() -> dict[str, Any] | None:
        events = server.request("GET", "/v1/events?name=inngest/function.failed")[1]["data"]
        found = [event["internal_id"] for event in events if event["data"]["run_id"] == run_id]
        return server.runs_of(found[0])[0] if found else None

    return server.run_ended(until(look, "the failure's handler")["run_id"])


def test_what_cannot_be_run_again_is_told(server: Server):
    unknown = "0" * 26

    answers = [
        server.request("POST", f"/v1/runs/{unknown}/rerun", {}),
        server.request("POST", f"/v1/runs/{unknown}/rerun"),
        server.request("POST", "/v1/runs/none/rerun", {}),
        server.request("POST", f"/v1/runs/{unknown}/rerun", {"from_step": {"step_id": "x", "input": {"n": 1}}}),
        server.request("POST", f"/v1/runs/{unknown}/rerun", {"from_step": {}}),
        server.request("POST", f"/v1/runs/{unknown}/rerun", []),
    ]

    assert [404, 404, 400, 400, 400, 400] == [status for status, _ in answers], answers

"""REST v2 as tools use it, with an app on the official SDK: invoked, looked at, run again, cancelled, synced."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import inngest

from tests.wire.harness import App, Server, until


def data(server: Server, method: str, path: str, body: object = None) -> Any:
    status, answer = server.request(method, f"/v2{path}", body)
    assert 200 == status, answer
    return answer["data"]


def ended(server: Server, run_id: str) -> Any:
    """The run once it is over.  One that was ordered is there a moment after its id."""

    def look() -> Any:
        status, answer = server.request("GET", f"/v2/runs/{run_id}")
        return answer["data"] if status == 200 and "endedAt" in answer["data"] else None

    return until(look, f"the end of run {run_id}")


def serve_double(app: App) -> None:
    @app.function("double", "never/sent")
    def double(ctx: inngest.ContextSync) -> object:
        return {"answer": ctx.step.run("twice", lambda: ctx.event.data["q"] * 2)}

    app.serve([double])


def test_a_function_is_invoked_and_its_run_has_the_id_that_was_promised(server: Server, app: App):
    serve_double(app)
    path = f"/apps/{app.app_id}/functions/double/invoke"

    first = data(server, "POST", path, {"data": {"q": 21}, "idempotencyKey": "once"})["runId"]
    again = data(server, "POST", path, {"data": {"q": 21}, "idempotencyKey": "once"})["runId"]
    run = ended(server, first)

    assert (first, "COMPLETED", {"answer": 42}) == (again, run["status"], run["output"])
    assert ({"id": "double", "name": "double"}, app.app_id) == (run["function"], run["app"]["id"])
    assert [first] == [it["id"] for it in data(server, "GET", f"/apps/{app.app_id}/functions/double/runs")]


def test_a_run_has_a_trace_and_is_run_again_from_a_step(server: Server, app: App):
    serve_double(app)
    invoke = f"/apps/{app.app_id}/functions/double/invoke"
    run_id = ended(server, data(server, "POST", invoke, {"data": {"q": 4}})["runId"])["id"]

    [step] = data(server, "GET", f"/runs/{run_id}/trace")["rootSpan"]["children"]
    again = data(server, "POST", f"/runs/{run_id}/rerun", {"fromStep": {"stepId": step["stepId"]}})["runId"]

    assert ("twice", "COMPLETED", "StepRun") == (step["name"], step["status"], step["stepOp"])
    assert ({"answer": 8}, True) == (ended(server, again)["output"], again != run_id)


def test_an_event_is_sent_and_the_run_it_started_is_cancelled(server: Server, app: App):
    @app.function("sleeper", "v2/go")
    def sleeper(ctx: inngest.ContextSync) -> None:
        ctx.step.sleep("rest", timedelta(hours=1))

    app.serve([sleeper])
    event_id = data(server, "POST", "/events", {"name": "v2/go"})["eventId"]
    [run] = until(lambda: data(server, "GET", f"/events/{event_id}/runs"), "the run of the event")

    cancelled = data(server, "POST", f"/runs/{run['id']}/cancel")
    second = server.request("POST", f"/v2/runs/{run['id']}/cancel")

    assert "CANCELLED" == cancelled["status"]
    assert (409, "run_already_ended") == (second[0], second[1]["errors"][0]["code"])


def test_an_app_is_synced_by_hand_and_its_function_is_shown(server: Server, app: App):
    serve_double(app)

    synced = data(server, "POST", f"/apps/{app.app_id}/syncs")
    shown = data(server, "GET", f"/apps/{app.app_id}")
    [function] = data(server, "GET", f"/apps/{app.app_id}/functions")

    assert ("duplicate", app.app_id) == (synced["status"], synced["appId"])
    assert (1, "py", "flask") == (
        shown["functionCount"],
        shown["latestSync"]["sdkLanguage"],
        shown["latestSync"]["framework"],
    )
    assert ("double", [{"type": "EVENT", "value": "never/sent"}]) == (function["id"], function["triggers"])

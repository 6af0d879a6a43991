"""The end of a run is told: to listeners, to failure handlers, to those who cancel."""

from __future__ import annotations

import threading
from datetime import timedelta

import inngest
import pytest

from tests.wire.harness import App, Server, until_attempts

pytestmark = pytest.mark.every_driver


@pytest.mark.each_broker
def test_the_end_of_a_run_is_an_event_that_functions_can_listen_to(server: Server, app: App):
    @app.function("ender", "loop/ends", retries=0)
    def ender(ctx: inngest.ContextSync) -> object:
        if ctx.event.data.get("fail"):
            raise ValueError("sad")
        return "good"

    heard = []

    @app.function("listener", "inngest/function.finished", expression=f"event.data.function_id == '{app.app_id}-ender'")
    def listener(ctx: inngest.ContextSync) -> object:
        heard.append(ctx.event)
        return None

    app.serve([ender, listener])
    good = server.ended(server.send("loop/ends"))
    until_attempts(heard, 1)
    bad = server.ended(server.send("loop/ends", {"fail": True}))
    until_attempts(heard, 2)

    assert (good["run_id"], "good") == (heard[0].data["run_id"], heard[0].data["result"])
    assert {"status": "Completed"} == heard[0].data["_inngest"]
    assert (bad["run_id"], "sad") == (heard[1].data["run_id"], heard[1].data["error"]["message"])
    assert "loop/ends" == heard[1].data["event"]["name"]


@pytest.mark.each_broker
def test_a_failure_handler_gets_the_event_and_the_error(server: Server, app: App):
    heard = []

    def on_failure(ctx: inngest.ContextSync) -> object:
        heard.append(ctx.event)
        return None

    @app.function("failer", "loop/fails", retries=0, on_failure=on_failure)
    def failer(ctx: inngest.ContextSync) -> object:
        raise ValueError("oh no")

    app.serve([failer])
    run = server.ended(server.send("loop/fails", {"n": 1}))
    until_attempts(heard, 1)

    data = heard[0].data
    assert ("inngest/function.failed", run["run_id"]) == (heard[0].name, data["run_id"])
    assert ("oh no", {"n": 1}) == (data["error"]["message"], data["event"]["data"])


@pytest.mark.each_broker
def test_cancelling_a_sleeping_run_ends_it_and_tells_so(server: Server, app: App):
    heard = []

    @app.function("canceller", "loop/cancel")
    def canceller(ctx: inngest.ContextSync) -> object:
        ctx.step.sleep("long", timedelta(hours=3))
        return "never"

    @app.function("mourner", "inngest/function.cancelled")
    def mourner(ctx: inngest.ContextSync) -> object:
        heard.append(ctx.event.data["run_id"])
        return None

    app.serve([canceller, mourner])
    [run] = server.runs_of(server.send("loop/cancel"))
    server.step(run["run_id"], "long", "Sleeping")

    assert 200 == server.request("DELETE", f"/v1/runs/{run['run_id']}")[0]
    server.skip(timedelta(hours=4))

    assert "Cancelled" == server.run_ended(run["run_id"])["status"]
    until_attempts(heard, 1)
    assert (1, [run["run_id"]]) == (len(app.calls(run["run_id"])), heard)


@pytest.mark.each_broker
def test_cancelling_during_a_call_ignores_its_answer(server: Server, app: App):
    entered, leave = threading.Event(), threading.Event()

    @app.function("busy", "loop/busy")
    def busy(ctx: inngest.ContextSync) -> object:
        def slow() -> None:
            entered.set()
            leave.wait(10)

        ctx.step.run("slow", slow)
        return "never"

    app.serve([busy])
    [run] = server.runs_of(server.send("loop/busy"))
    assert entered.wait(10)
    assert 200 == server.request("DELETE", f"/v1/runs/{run['run_id']}")[0]
    leave.set()

    ended = server.run_ended(run["run_id"])
    assert ("Cancelled", []) == (ended["status"], ended["steps"])

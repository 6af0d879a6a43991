"""Cancelling many runs at once, with the official Python SDK over real HTTP: a test per rule."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import inngest
import pytest

from tests.wire.harness import DEADLINE, App, Server, until

pytestmark = pytest.mark.every_driver


def a_sleeper(app: App, name: str) -> inngest.Function:
    @app.function(name, f"many/{name}")
    def sleeper(ctx: inngest.ContextSync) -> object:
        ctx.step.sleep("nap", timedelta(days=1))
        return "woken"

    return sleeper


def sleeping(server: Server, name: str, **data: object) -> str:
    [run] = server.runs_of(server.send(name, data))
    server.step(run["run_id"], "nap", "Sleeping")
    return run["run_id"]


def cancel(server: Server, **order: object) -> dict[str, Any]:
    """Order it, and wait until it is done."""
    status, answer = server.request("POST", "/v1/cancellations", order)
    assert 200 == status, answer

    def look() -> dict[str, Any] | None:
        listed = server.request("GET", "/v1/cancellations")[1]["data"]
        [found] = [it for it in listed if it["id"] == answer["data"]["id"]]
        return found if found["status"] == "Completed" else None

    return until(look, "the cancellation")


def test_the_runs_that_are_meant_are_cancelled_each_tells_so_and_others_go_on(server: Server, app: App):
    heard = []

    @app.function("mourner", "inngest/function.cancelled")
    def mourner(ctx: inngest.ContextSync) -> None:
        heard.append(ctx.event.data["run_id"])

    app.serve([a_sleeper(app, "meant"), a_sleeper(app, "other"), mourner])
    meant = [sleeping(server, "many/meant", user=1) for _ in range(5)]
    others = [sleeping(server, "many/meant", user=2), sleeping(server, "many/other", user=1)]

    done = cancel(server, app_id=app.app_id, function_id="meant", **{"if": "event.data.user == 1"})

    ended = [server.run(run_id) for run_id in meant]
    assert (5, {"Cancelled"}) == (done["cancelled"], {run["status"] for run in ended})
    assert {f"cancellation {done['id']}"} == {entry["data"]["reason"] for run in ended for entry in run["history"]}
    until(lambda: len(heard) >= 5, "the events of the cancelled runs")
    server.skip(timedelta(days=1, seconds=1))
    assert {"Completed"} == {server.run_ended(run_id)["status"] for run_id in others}
    assert (sorted(meant), [1] * 5) == (sorted(heard), [len(app.calls(run_id)) for run_id in meant])


def test_runs_at_work_and_runs_queued_for_later_are_cancelled_too(server: Server, app: App):
    entered, leave = threading.Event(), threading.Event()

    @app.function("busy", "many/busy")
    def busy(ctx: inngest.ContextSync) -> str:
        entered.set()
        assert leave.wait(DEADLINE)
        return "late"

    app.serve([busy])
    [at_work] = server.runs_of(server.send("many/busy"))
    assert entered.wait(DEADLINE)
    an_hour_on = int((server.clock.now() + timedelta(hours=1)).timestamp() * 1000)
    [later] = server.runs_of(server.send("many/busy", ts=an_hour_on))

    done = cancel(server, app_id=app.app_id)
    leave.set()

    assert 2 == done["cancelled"]
    assert ["Cancelled"] * 2 == [server.run(run["run_id"])["status"] for run in (at_work, later)]


def test_a_run_that_invoked_a_cancelled_one_is_told(server: Server, app: App):
    sleeper = a_sleeper(app, "child")

    @app.function("parent", "many/parent", retries=0)
    def parent(ctx: inngest.ContextSync) -> object:
        try:
            return ctx.step.invoke("call", function=sleeper)
        except inngest.StepError as error:
            return error.name

    app.serve([sleeper, parent])
    [run] = server.runs_of(server.send("many/parent"))
    server.step(run["run_id"], "call", "Waiting")
    until(lambda: len(app.requests) >= app.either(3, 2), "the child's call")

    def cancelled() -> bool:
        return cancel(server, app_id=app.app_id, function_id="child")["cancelled"] == 1

    until(cancelled, "the child's cancelling")

    assert "InngestInvokeCancelledError" == server.run_ended(run["run_id"])["output"]

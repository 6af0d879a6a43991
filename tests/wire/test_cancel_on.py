"""Cancelling events of a function, with the official Python SDK over real HTTP and in process: a test per rule."""

from __future__ import annotations

import threading
from datetime import timedelta

import inngest
import pytest

from tests.wire.harness import App, Server, until

pytestmark = pytest.mark.every_driver


def a_sleeper(app: App, name: str, *cancels: inngest.Cancel) -> inngest.Function:
    @app.function(name, f"cancels/{name}", cancel=list(cancels))
    def sleeper(ctx: inngest.ContextSync) -> object:
        ctx.step.sleep("nap", timedelta(days=1))
        return "woken"

    return sleeper


def sleeping(server: Server, event_id: str) -> str:
    [run] = server.runs_of(event_id)
    server.step(run["run_id"], "nap", "Sleeping")
    return run["run_id"]


def test_an_event_cancels_the_runs_it_is_meant_for_and_no_others(server: Server, app: App):
    condition = "event.data.order == async.data.order"
    app.serve([a_sleeper(app, "meant", inngest.Cancel(event="cancels/order.cancelled", if_exp=condition))])
    one, other = (sleeping(server, server.send("cancels/meant", {"order": n})) for n in (1, 2))

    event_id = server.send("cancels/order.cancelled", {"order": 1})

    ended = server.run_ended(one)
    assert ("Cancelled", 1) == (ended["status"], len(app.calls(one)))
    [told] = [entry["data"]["reason"] for entry in ended["history"] if entry["kind"] == "cancelled"]
    assert f"event cancels/order.cancelled ({event_id})" == told
    server.skip(timedelta(days=1, seconds=1))
    assert "Completed" == server.run_ended(other)["status"]


def test_an_event_older_than_the_one_that_started_the_run_does_not_cancel_it(server: Server, app: App):
    app.serve([a_sleeper(app, "older", inngest.Cancel(event="cancels/older.stop"))])
    server.send("cancels/older.stop")

    run_id = sleeping(server, server.send("cancels/older"))

    assert "Running" == server.run(run_id)["status"]


def test_after_its_timeout_a_cancelling_event_is_not_listened_for(server: Server, app: App):
    cancel = inngest.Cancel(event="cancels/brief.stop", timeout=timedelta(minutes=5))
    app.serve([a_sleeper(app, "brief", cancel)])
    run_id = sleeping(server, server.send("cancels/brief"))

    server.skip(timedelta(minutes=6))
    server.send("cancels/brief.stop")
    server.skip(timedelta(days=1))

    assert "Completed" == server.run_ended(run_id)["status"]


def test_what_is_in_flight_when_the_run_is_cancelled_is_ignored(server: Server, app: App):
    began, gate = threading.Event(), threading.Event()

    @app.function("flight", "cancels/flight", cancel=[inngest.Cancel(event="cancels/flight.stop")])
    def flight(ctx: inngest.ContextSync) -> object:
        def body() -> int:
            began.set()
            return 1 if gate.wait(20) else 0

        ctx.step.run("first", body)
        return ctx.step.run("second", lambda: 2)

    app.serve([flight])
    [run] = server.runs_of(server.send("cancels/flight"))
    assert began.wait(20)
    server.send("cancels/flight.stop")
    ended = server.run_ended(run["run_id"])
    gate.set()

    assert ("Cancelled", []) == (ended["status"], ended["steps"])
    until(lambda: "Cancelled" == server.run(run["run_id"])["status"], "it stays so")
    assert 1 == len(app.calls(run["run_id"]))


def test_the_end_by_an_event_is_told_as_events(server: Server, app: App):
    seen = []

    @app.function("watch", "inngest/function.cancelled")
    def watch(ctx: inngest.ContextSync) -> None:
        seen.append(ctx.event.data["run_id"])

    app.serve([a_sleeper(app, "told", inngest.Cancel(event="cancels/told.stop")), watch])
    run_id = sleeping(server, server.send("cancels/told"))
    server.send("cancels/told.stop")

    until(lambda: run_id in seen, "the event of the cancelled run")


def test_a_run_that_has_ended_is_not_cancelled(server: Server, app: App):
    @app.function("quick", "cancels/quick", cancel=[inngest.Cancel(event="cancels/quick.stop")])
    def quick(ctx: inngest.ContextSync) -> object:
        return ctx.step.run("one", lambda: 1)

    app.serve([quick])
    ended = server.ended(server.send("cancels/quick"))
    server.send("cancels/quick.stop")

    assert ("Completed", 1) == (ended["status"], server.run(ended["run_id"])["output"])

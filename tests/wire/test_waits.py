"""step.wait_for_event, with the official Python SDK over real HTTP and in process: a test per rule."""

from __future__ import annotations

import threading
from datetime import timedelta

import inngest
import pytest

from tests.wire.harness import App, Server, until

pytestmark = pytest.mark.every_driver

HOUR = timedelta(hours=1)


def a_waiter(app: App, name: str, **options: object) -> inngest.Function:
    """A function that waits for `<name>.answer` and returns its data."""

    @app.function(name, f"waits/{name}")
    def waiter(ctx: inngest.ContextSync) -> object:
        asked = {"event": f"waits/{name}.answer", "timeout": HOUR} | options
        found = ctx.step.wait_for_event("wait", **asked)
        return found.data if found is not None else "nothing came"

    return waiter


def waiting(server: Server, event_id: str) -> str:
    """The id of the event's run, which waits by now."""
    [run] = server.runs_of(event_id)
    server.step(run["run_id"], "wait", "Waiting")
    return run["run_id"]


def test_a_wait_is_resumed_by_the_first_event_of_its_name_and_returns_it(server: Server, app: App):
    @app.function("plain", "waits/plain")
    def plain(ctx: inngest.ContextSync) -> object:
        found = ctx.step.wait_for_event("wait", event="waits/answer", timeout=HOUR)
        return [found.name, found.id, found.data] if found is not None else None

    app.serve([plain])
    run_id = waiting(server, server.send("waits/plain"))
    calls = len(app.calls(run_id))
    server.send("waits/other", {"n": 1})
    server.send("waits/answer", {"n": 2}, id="answer-1")

    ended = server.run_ended(run_id)
    assert ("Completed", ["waits/answer", "answer-1", {"n": 2}]) == (ended["status"], ended["output"])
    assert (1, 2) == (calls, len(app.calls(run_id)))
    [step] = ended["steps"]
    assert ("WaitForEvent", "Completed") == (step["op"], step["status"])


@pytest.mark.each_broker
def test_a_condition_compares_the_runs_event_with_the_one_that_came(server: Server, app: App):
    app.serve([a_waiter(app, "cond", if_exp="event.data.user == async.data.user && async.data.n > 1")])
    run_id = waiting(server, server.send("waits/cond", {"user": "ada"}))

    server.send("waits/cond.answer", {"user": "bob", "n": 5})
    server.send("waits/cond.answer", {"user": "ada", "n": 1})
    server.send("waits/cond.answer", {"user": "ada", "n": 2})

    assert {"user": "ada", "n": 2} == server.run_ended(run_id)["output"]


def test_of_many_waiting_runs_only_the_one_that_is_meant_goes_on(server: Server, app: App):
    app.serve([a_waiter(app, "many", if_exp="event.data.user == async.data.user")])
    runs = {user: waiting(server, server.send("waits/many", {"user": user})) for user in ("a", "b", 3, None)}

    server.send("waits/many.answer", {"user": 3.0})

    assert {"user": 3} == server.run_ended(runs[3])["output"]
    assert ["Running"] * 3 == [server.run(runs[user])["status"] for user in ("a", "b", None)]


def test_a_condition_without_an_equality_is_tried_for_every_event(server: Server, app: App):
    app.serve([a_waiter(app, "scan", if_exp="async.data.n > event.data.n")])
    run_id = waiting(server, server.send("waits/scan", {"n": 10}))

    server.send("waits/scan.answer", {"n": 9})
    server.send("waits/scan.answer", {"n": 11})

    assert {"n": 11} == server.run_ended(run_id)["output"]


def test_one_event_resumes_every_run_that_waits_for_it(server: Server, app: App):
    app.serve([a_waiter(app, "all")])
    runs = [waiting(server, server.send("waits/all")) for _ in range(3)]

    server.send("waits/all.answer", {"n": 1})

    assert [{"n": 1}] * 3 == [server.run_ended(run_id)["output"] for run_id in runs]


@pytest.mark.each_broker
def test_when_nothing_comes_in_time_the_wait_returns_none(server: Server, app: App):
    app.serve([a_waiter(app, "late")])
    run_id = waiting(server, server.send("waits/late"))
    server.skip(HOUR - timedelta(minutes=1))
    assert "Running" == server.run(run_id)["status"]

    server.skip(timedelta(minutes=2))

    ended = server.run_ended(run_id)
    assert ("nothing came", "Completed") == (ended["output"], ended["steps"][0]["status"])
    server.send("waits/late.answer")
    assert "nothing came" == server.run(run_id)["output"]


def test_the_event_that_started_a_run_does_not_resume_it(server: Server, app: App):
    @app.function("own", "waits/own")
    def own(ctx: inngest.ContextSync) -> object:
        found = ctx.step.wait_for_event("wait", event="waits/own", timeout=HOUR)
        return found.data["n"] if found is not None else None

    app.serve([own])
    run_id = waiting(server, server.send("waits/own", {"n": 1}))
    server.send("waits/own", {"n": 2})

    assert 2 == server.run_ended(run_id)["output"]


def test_two_waits_at_once_may_be_resumed_by_one_event_and_are_discovered_together(server: Server, app: App):
    @app.function("two", "waits/two")
    def two(ctx: inngest.ContextSync) -> object:
        found = ctx.group.parallel(
            (
                lambda: ctx.step.wait_for_event("one", event="waits/two.answer", timeout=HOUR),
                lambda: ctx.step.wait_for_event("other", event="waits/two.answer", timeout=HOUR),
                lambda: ctx.step.run("beside", lambda: 3),
            )
        )
        return [found[0].data["n"], found[1].data["n"], found[2]]

    app.serve([two])
    [run] = server.runs_of(server.send("waits/two"))
    for name, status in (("one", "Waiting"), ("other", "Waiting"), ("beside", "Completed")):
        server.step(run["run_id"], name, status)
    server.send("waits/two.answer", {"n": 1})

    assert [1, 1, 3] == server.run_ended(run["run_id"])["output"]


def test_a_condition_that_cannot_be_compiled_fails_the_run_and_says_where(server: Server, app: App):
    app.serve([a_waiter(app, "bad", if_exp="async.data.n ==")])

    ended = server.ended(server.send("waits/bad"))

    assert ("Failed", "InvalidExpression") == (ended["status"], ended["output"]["name"])
    assert 'wait "wait"' in ended["output"]["message"]


def test_a_cancelled_run_waits_no_more(server: Server, app: App):
    app.serve([a_waiter(app, "stop")])
    run_id = waiting(server, server.send("waits/stop"))

    server.request("DELETE", f"/v1/runs/{run_id}")
    server.send("waits/stop.answer")

    ended = server.run_ended(run_id)
    assert ("Cancelled", 1) == (ended["status"], len(app.calls(run_id)))


def test_an_event_before_the_wait_is_missed_unless_the_function_looks_back(server: Server, app: App):
    """With look-back the oldest event since the run's start that satisfies the wait is taken."""
    gate = threading.Event()
    began = []

    @app.function("race", "waits/race")
    def race(ctx: inngest.ContextSync) -> object:
        began.append(ctx.run_id)
        ctx.step.run("slow", lambda: gate.wait(20))
        found = ctx.step.wait_for_event(
            "wait", event="waits/race.answer", if_exp="event.data.user == async.data.user", timeout=HOUR
        )
        return found.data["n"] if found is not None else "nothing came"

    def early(user: str, n: int) -> str:
        gate.clear()
        count = len(began)
        [run] = server.runs_of(server.send("waits/race", {"user": user}))
        until(lambda: len(began) > count, "the first call")
        server.send("waits/race.answer", {"user": "bob", "n": 0})
        matched = server.send("waits/race.answer", {"user": user, "n": n})
        until(lambda: server.request("GET", f"/v1/events/{matched}")[0] == 200, "the event")
        gate.set()
        return run["run_id"]

    app.serve([race])
    slug = f"{app.app_id}-race"
    missed = early("ada", 1)
    server.step(missed, "wait", "Waiting")
    status, told = server.request("PATCH", f"/v1/functions/{slug}", {"wait_look_back": True})
    assert (200, True) == (status, told["data"]["wait_look_back"])

    assert 2 == server.run_ended(early("eve", 2))["output"]
    assert "Running" == server.run(missed)["status"]

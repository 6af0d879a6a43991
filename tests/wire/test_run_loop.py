"""The run loop: steps, sleeps, outputs and triggers, with the official Python SDK over real HTTP and in process."""

from __future__ import annotations

import time
from datetime import timedelta

import inngest
import pytest

from orchestrator.queue.sweep import GRACE
from tests.wire.harness import App, Server

pytestmark = pytest.mark.every_driver


@pytest.mark.each_broker
def test_a_function_without_steps_runs_once_and_its_output_is_kept(server: Server, app: App):
    @app.function("plain", "loop/plain")
    def plain(ctx: inngest.ContextSync) -> object:
        return {"hello": ctx.event.data["who"], "id": ctx.event.id}

    app.serve([plain])
    event_id = server.send("loop/plain", {"who": "Zoë"}, id="plain-1")

    run = server.ended(event_id)
    assert ("Completed", {"hello": "Zoë", "id": "plain-1"}) == (run["status"], run["output"])
    assert 1 == len(app.calls(run["run_id"]))


@pytest.mark.each_broker
@pytest.mark.over_http("in process nobody tells anybody")
def test_an_event_is_told_of_before_a_sweep_would_find_it(server: Server, app: App):
    begun = []

    @app.function("told", "loop/told")
    def told(ctx: inngest.ContextSync) -> object:
        return begun.append(time.monotonic())

    app.serve([told])
    sent = []
    for _ in range(5):
        sent.append(time.monotonic())
        server.ended(server.send("loop/told"))

    # A sweep leaves to a broker what is not a second old.
    assert min(at - before for at, before in zip(begun, sent, strict=True)) < GRACE.total_seconds() * 0.9


@pytest.mark.over_http("it is about the requests")
def test_a_call_says_which_attempt_it_is_and_a_chain_grows_by_a_step_a_call(server: Server, app: App):
    @app.function("said", "loop/said")
    def said(ctx: inngest.ContextSync) -> object:
        return sum(ctx.step.run("step", lambda: 1) for _ in range(3))

    app.serve([said])
    run = server.ended(server.send("loop/said"))

    calls = app.calls(run["run_id"])
    assert [0, 1, 2, 3] == [len(call.body["ctx"]["stack"]["stack"]) for call in calls]
    assert [0, 1, 2, 3] == [call.body["ctx"]["stack"]["current"] for call in calls]
    assert [-1, 2, 2, 2] == [call.body["version"] for call in calls]
    call = calls[0]
    assert (0, 5, False) == (
        call.body["ctx"]["attempt"],
        call.body["ctx"]["max_attempts"],
        call.body["ctx"]["disable_immediate_execution"],
    )


@pytest.mark.each_broker
def test_steps_run_once_each_and_are_memoised_in_order(server: Server, app: App):
    ran = []

    @app.function("chain", "loop/chain")
    def chain(ctx: inngest.ContextSync) -> object:
        first = ctx.step.run("first", lambda: ran.append("first") or 1)
        second = ctx.step.run("second", lambda: ran.append("second") or first + 1)
        return ctx.step.run("third", lambda: ran.append("third") or second + 1)

    app.serve([chain])
    run = server.ended(server.send("loop/chain"))

    assert (["first", "second", "third"], 3) == (ran, run["output"])
    told = [(step["name"], step["status"], step["attempts"], step["output"]) for step in run["steps"]]
    assert [("first", "Completed", 1, 1), ("second", "Completed", 1, 2), ("third", "Completed", 1, 3)] == told
    assert app.either(4, 1) == len(app.calls(run["run_id"]))


def test_a_loop_of_fifty_steps_with_one_id_runs_each_round_once(server: Server, app: App):
    ran = []

    @app.function("loop", "loop/fifty")
    def loop(ctx: inngest.ContextSync) -> object:
        return sum(ctx.step.run("round", lambda n=n: ran.append(n) or n) for n in range(50))

    app.serve([loop])
    run = server.ended(server.send("loop/fifty"))

    assert (list(range(50)), sum(range(50)), 50) == (ran, run["output"], len(run["steps"]))


@pytest.mark.each_broker
def test_a_sleep_takes_its_time_and_no_call(server: Server, app: App):
    @app.function("sleeper", "loop/sleep")
    def sleeper(ctx: inngest.ContextSync) -> object:
        ctx.step.run("before", lambda: 1)
        ctx.step.sleep("nap", timedelta(days=2))
        return ctx.step.run("after", lambda: "woken")

    app.serve([sleeper])
    [run] = server.runs_of(server.send("loop/sleep"))
    nap = server.step(run["run_id"], "nap", "Sleeping")
    calls_before = len(app.calls(run["run_id"]))

    server.skip(timedelta(days=2, seconds=1))

    ended = server.run_ended(run["run_id"])
    assert "woken" == ended["output"]
    assert app.either((2, 4), (1, 2)) == (calls_before, len(app.calls(run["run_id"])))
    assert nap["wake_at"] is not None


@pytest.mark.each_broker
def test_a_short_sleep_ends_within_milliseconds_of_its_time(server: Server, app: App):
    @app.function("nap", "loop/nap")
    def nap(ctx: inngest.ContextSync) -> object:
        ctx.step.sleep("nap", timedelta(milliseconds=300))
        return "woken"

    app.serve([nap])
    run = server.ended(server.send("loop/nap"))

    [step] = run["steps"]
    assert ("woken", "Completed", "Sleep") == (run["output"], step["status"], step["op"])


@pytest.mark.parametrize(
    "output",
    [None, True, 0, -1.5, "", 'naïve 😀 \u2028 \\ " \x00', [], {"a": {"b": [1, None]}}, 2**53 + 1, 2**70],
    ids=repr,
)
def test_an_output_comes_back_as_it_was(server: Server, app: App, output: object):
    @app.function("echo", "loop/echo")
    def echo(ctx: inngest.ContextSync) -> object:
        memo = ctx.step.run("echo", lambda: output)
        assert memo == output
        return memo

    app.serve([echo])
    run = server.ended(server.send("loop/echo"))

    assert ("Completed", output) == (run["status"], run["output"])
    assert output == run["steps"][0]["output"]


def test_an_output_of_a_megabyte_passes(server: Server, app: App):
    text = "x" * (1024 * 1024) + "ä😀"

    @app.function("large", "loop/large")
    def large(ctx: inngest.ContextSync) -> object:
        return ctx.step.run("large", lambda: text)

    app.serve([large])

    assert text == server.ended(server.send("loop/large"))["output"]


@pytest.mark.over_http("in process nothing is sent")
def test_a_state_too_large_for_one_request_is_fetched_by_the_app(server: Server, app: App):
    @app.function("hoard", "loop/hoard")
    def hoard(ctx: inngest.ContextSync) -> object:
        parts = [ctx.step.run("part", lambda n=n: str(n) * (2 * 1024 * 1024)) for n in range(3)]
        return [part[:1] for part in parts] + [ctx.event.data["who"]]

    app.serve([hoard])
    run = server.ended(server.send("loop/hoard", {"who": "me"}))

    assert ["0", "1", "2", "me"] == run["output"]
    assert [False, False, True, True] == [call.body["use_api"] for call in app.calls(run["run_id"])]


def test_a_step_output_over_the_limit_fails_the_run_with_step_size_and_limit(server: Server, app: App):
    @app.function("huge", "loop/huge")
    def huge(ctx: inngest.ContextSync) -> object:
        return ctx.step.run("huge", lambda: "x" * (5 * 1024 * 1024))

    app.serve([huge])
    run = server.ended(server.send("loop/huge"))

    assert "Failed" == run["status"]
    assert all(word in run["output"]["message"] for word in ("huge", "4194304"))


@pytest.mark.each_broker
def test_an_event_with_a_future_time_starts_its_run_then(server: Server, app: App):
    @app.function("future", "loop/future")
    def future(ctx: inngest.ContextSync) -> object:
        return "started"

    app.serve([future])
    at = server.clock.now() + timedelta(hours=5)
    [run] = server.runs_of(server.send("loop/future", ts=int(at.timestamp() * 1000)))
    assert (run["status"], []) == ("Scheduled", app.calls(run["run_id"]))

    server.skip(timedelta(hours=5, seconds=1))

    assert "started" == server.run_ended(run["run_id"])["output"]


def test_the_same_event_id_starts_a_function_once_a_day(server: Server, app: App):
    @app.function("once", "loop/once")
    def once(ctx: inngest.ContextSync) -> object:
        return ctx.run_id

    app.serve([once])
    first = server.send("loop/once", id="order-1")
    second = server.send("loop/once", id="order-1")
    server.ended(first)
    server.skip(timedelta(hours=25))
    third = server.send("loop/once", id="order-1")

    assert (first, False) == (second, third == first)
    assert [1, 1] == [len(server.runs_of(event_id)) for event_id in (first, third)]


def test_a_trigger_expression_decides_and_wildcards_match(server: Server, app: App):
    @app.function("big", "loop/amount.paid", expression="event.data.amount > 100")
    def big(ctx: inngest.ContextSync) -> object:
        return "big"

    @app.function("any", "loop/amount.*")
    def every(ctx: inngest.ContextSync) -> object:
        return "any"

    app.serve([big, every])
    small = server.runs_of(server.send("loop/amount.paid", {"amount": 5}), 1)
    large = server.runs_of(server.send("loop/amount.paid", {"amount": 500}), 2)

    assert (1, 2) == (len(small), len(large))
    assert {"any", "big"} == {server.run_ended(run["run_id"])["output"] for run in large}

"""The run loop, with the official Python SDK over real HTTP and with functions in process: a test per rule."""

from __future__ import annotations

import threading
from datetime import timedelta

import inngest
import pytest

from tests.wire.harness import App, Server, until

pytestmark = pytest.mark.every_driver


def test_a_function_without_steps_runs_once_and_its_output_is_kept(server: Server, app: App):
    @app.function("plain", "loop/plain")
    def plain(ctx: inngest.ContextSync) -> object:
        return {"hello": ctx.event.data["who"], "id": ctx.event.id}

    app.serve([plain])
    event_id = server.send("loop/plain", {"who": "Zoë"}, id="plain-1")

    run = server.ended(event_id)
    assert ("Completed", {"hello": "Zoë", "id": "plain-1"}) == (run["status"], run["output"])
    assert 1 == len(app.calls(run["run_id"]))


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


def test_a_short_sleep_ends_within_milliseconds_of_its_time(server: Server, app: App):
    @app.function("nap", "loop/nap")
    def nap(ctx: inngest.ContextSync) -> object:
        ctx.step.sleep("nap", timedelta(milliseconds=300))
        return "woken"

    app.serve([nap])
    run = server.ended(server.send("loop/nap"))

    [step] = run["steps"]
    assert ("woken", "Completed", "Sleep") == (run["output"], step["status"], step["op"])


def test_a_failing_step_is_tried_again_by_the_back_off_table(server: Server, app: App):
    attempts = []

    @app.function("flaky", "loop/flaky")
    def flaky(ctx: inngest.ContextSync) -> object:
        def body() -> str:
            attempts.append(ctx.attempt)
            if len(attempts) < 3:
                raise ValueError(f"not yet {len(attempts)}")
            return "at last"

        return ctx.step.run("try", body)

    app.serve([flaky])
    [run] = server.runs_of(server.send("loop/flaky"))
    first = server.step(run["run_id"], "try", "Retrying")
    assert (1, "not yet 1") == (first["attempts"], first["error"]["message"])
    server.skip(timedelta(seconds=14))
    assert 1 == len(attempts)
    server.skip(timedelta(seconds=31))

    server.failed(run["run_id"], 2)
    server.skip(timedelta(seconds=61))
    ended = server.run_ended(run["run_id"])

    assert ("at last", [0, 1, 2]) == (ended["output"], attempts)
    [step] = ended["steps"]
    assert ("Completed", 3, None) == (step["status"], step["attempts"], step["error"])


def test_a_step_out_of_attempts_can_be_caught_by_the_function(server: Server, app: App):
    @app.function("catcher", "loop/catch", retries=0)
    def catcher(ctx: inngest.ContextSync) -> object:
        try:
            ctx.step.run("bad", _raise)
        except inngest.StepError as error:
            return f"caught {error.name}: {error.message}"
        return "not caught"

    app.serve([catcher])
    run = server.ended(server.send("loop/catch"))

    assert ("Completed", "caught ValueError: no") == (run["status"], run["output"])
    [step] = run["steps"]
    assert ("Failed", "no") == (step["status"], step["error"]["message"])


def test_a_step_out_of_attempts_that_nobody_catches_fails_the_run(server: Server, app: App):
    @app.function("thrower", "loop/throw", retries=0)
    def thrower(ctx: inngest.ContextSync) -> object:
        ctx.step.run("bad", _raise)
        return "never"

    app.serve([thrower])
    run = server.ended(server.send("loop/throw"))

    assert ("Failed", "no", "ValueError") == (run["status"], run["output"]["message"], run["output"]["name"])
    assert "_raise" in run["output"]["stack"]


def test_a_function_error_is_tried_again_with_the_memoised_steps(server: Server, app: App):
    ran = []

    @app.function("late", "loop/late")
    def late(ctx: inngest.ContextSync) -> object:
        ctx.step.run("once", lambda: ran.append("step"))
        if ctx.attempt == 0:
            raise ValueError("first attempt")
        return ctx.attempt

    app.serve([late])
    [run] = server.runs_of(server.send("loop/late"))
    server.failed(run["run_id"], 1)
    server.skip(timedelta(seconds=46))

    ended = server.run_ended(run["run_id"])
    assert (1, ["step"]) == (ended["output"], ran)


def test_retry_after_is_kept(server: Server, app: App):
    @app.function("later", "loop/later")
    def later(ctx: inngest.ContextSync) -> object:
        if ctx.attempt == 0:
            raise inngest.RetryAfterError("busy", timedelta(hours=1))
        return "done"

    app.serve([later])
    [run] = server.runs_of(server.send("loop/later"))
    server.failed(run["run_id"], 1)
    server.skip(timedelta(minutes=58))
    assert 1 == len(app.calls(run["run_id"]))
    server.skip(timedelta(minutes=3))

    assert "done" == server.run_ended(run["run_id"])["output"]


@pytest.mark.parametrize("in_step", [True, False])
def test_a_non_retriable_error_fails_the_run_at_once(server: Server, app: App, in_step: bool):
    def give_up() -> None:
        raise inngest.NonRetriableError("never again")

    @app.function("giver", f"loop/give-up-{in_step}")
    def giver(ctx: inngest.ContextSync) -> object:
        return ctx.step.run("bad", give_up) if in_step else give_up()

    app.serve([giver])
    run = server.ended(server.send(f"loop/give-up-{in_step}"))

    assert ("Failed", "never again") == (run["status"], run["output"]["message"])
    # The SDK ends the function itself; in process it is told of the step's failure, and may catch it.
    assert app.either(1, 2 if in_step else 1) == len(app.calls(run["run_id"]))


def test_the_last_attempt_fails_the_run_and_tells_what_happened(server: Server, app: App):
    @app.function("doomed", "loop/doomed", retries=1)
    def doomed(ctx: inngest.ContextSync) -> object:
        raise ValueError(f"attempt {ctx.attempt}")

    app.serve([doomed])
    [run] = server.runs_of(server.send("loop/doomed"))
    server.failed(run["run_id"], 1)
    server.skip(timedelta(seconds=46))

    ended = server.run_ended(run["run_id"])
    assert ("Failed", "attempt 1") == (ended["status"], ended["output"]["message"])


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
    _until_attempts(heard, 1)
    bad = server.ended(server.send("loop/ends", {"fail": True}))
    _until_attempts(heard, 2)

    assert (good["run_id"], "good") == (heard[0].data["run_id"], heard[0].data["result"])
    assert {"status": "Completed"} == heard[0].data["_inngest"]
    assert (bad["run_id"], "sad") == (heard[1].data["run_id"], heard[1].data["error"]["message"])
    assert "loop/ends" == heard[1].data["event"]["name"]


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
    _until_attempts(heard, 1)

    data = heard[0].data
    assert ("inngest/function.failed", run["run_id"]) == (heard[0].name, data["run_id"])
    assert ("oh no", {"n": 1}) == (data["error"]["message"], data["event"]["data"])


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
    _until_attempts(heard, 1)
    assert (1, [run["run_id"]]) == (len(app.calls(run["run_id"])), heard)


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


def _raise() -> None:
    raise ValueError("no")


def _until_attempts(seen: list[object], count: int) -> None:
    until(lambda: len(seen) >= count, f"{count} of {seen}")

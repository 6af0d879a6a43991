"""step.invoke, with the official Python SDK over real HTTP and in process: a test per rule."""

from __future__ import annotations

from datetime import timedelta

import inngest
import pytest

from tests.wire.harness import App, Server, until

pytestmark = pytest.mark.every_driver


def a_caller(app: App, name: str, function_id: str, **options: object) -> inngest.Function:
    """A function that invokes another one, and returns what came of it."""

    @app.function(name, f"invoke/{name}")
    def caller(ctx: inngest.ContextSync) -> object:
        try:
            asked = {"function_id": function_id, "app_id": app.app_id, "data": {"q": ctx.event.data.get("q")}}
            return ["got", ctx.step.invoke_by_id("call", **(asked | options))]
        except inngest.StepError as error:
            return [error.name, error.message]

    return caller


def waiting(server: Server, event_id: str) -> str:
    [run] = server.runs_of(event_id)
    server.step(run["run_id"], "call", "Waiting")
    return run["run_id"]


def child_of(server: Server, parent: str) -> str:
    """The id of the run that was invoked for this one."""

    def look() -> str | None:
        for event in server.request("GET", "/v1/events?name=inngest/function.invoked")[1]["data"]:
            if event["data"]["_inngest"]["correlation_id"].startswith(parent):
                runs = server.request("GET", f"/v1/events/{event['internal_id']}/runs")[1]["data"]
                return runs[0]["run_id"] if runs else None
        return None

    return until(look, f"the run invoked by {parent}")


@pytest.mark.each_broker
def test_an_invoked_function_gets_the_data_and_gives_its_result(server: Server, app: App):
    @app.function("double", "invoke/never")
    def double(ctx: inngest.ContextSync) -> object:
        return {"name": ctx.event.name, "answer": ctx.step.run("twice", lambda: ctx.event.data["q"] * 2)}

    app.serve([double, a_caller(app, "caller", "double")])
    run = server.ended(server.send("invoke/caller", {"q": 21}))

    assert ["got", {"name": "inngest/function.invoked", "answer": 42}] == run["output"]
    [step] = run["steps"]
    assert ("InvokeFunction", "Completed", "call") == (step["op"], step["status"], step["name"])


def test_the_event_of_an_invoke_names_who_asked_and_the_end_tells_it_again(server: Server, app: App):
    ends = []

    @app.function("silent", "invoke/never")
    def silent(ctx: inngest.ContextSync) -> object:
        return None

    @app.function("ends", "inngest/function.finished")
    def watch(ctx: inngest.ContextSync) -> None:
        ends.append(ctx.event.data)

    app.serve([silent, watch, a_caller(app, "told", "silent")])
    run = server.ended(server.send("invoke/told"))
    [event] = server.request("GET", "/v1/events?name=inngest/function.invoked")[1]["data"]

    [step] = run["steps"]
    about = event["data"]["_inngest"]
    assert (["got", None], None) == (run["output"], event["data"]["q"])
    assert (f"{app.app_id}-silent", f"{run['run_id']}.{step['id']}", "call") == (
        about["fn_id"],
        about["correlation_id"],
        about["name"],
    )
    assert (run["function_id"], 1) == (about["source_fn_id"], about["source_fn_v"])
    until(lambda: about["correlation_id"] in [end.get("correlation_id") for end in ends], "the end of the child")


def test_only_the_function_that_is_named_is_started(server: Server, app: App):
    ran = []

    @app.function("one", "invoke/only.one")
    def one(ctx: inngest.ContextSync) -> object:
        ran.append("one")

    @app.function("two", "invoke/only.one")
    def two(ctx: inngest.ContextSync) -> object:
        ran.append("two")

    app.serve([one, two, a_caller(app, "only", "two")])
    server.ended(server.send("invoke/only"))

    assert ["two"] == ran


def test_the_failure_of_the_invoked_function_is_an_error_of_the_step(server: Server, app: App):
    @app.function("fails", "invoke/never", retries=0)
    def fails(ctx: inngest.ContextSync) -> object:
        raise ValueError("no such order")

    app.serve([fails, a_caller(app, "unlucky", "fails")])
    run = server.ended(server.send("invoke/unlucky"))

    assert ["ValueError", "no such order"] == run["output"]
    [step] = run["steps"]
    assert ("Failed", "ValueError: no such order") == (step["status"], step["error"]["error"])


def test_a_function_that_does_not_exist_is_an_error_at_once(server: Server, app: App):
    app.serve([a_caller(app, "lost", "nobody")])

    run = server.ended(server.send("invoke/lost"))

    assert ["Error", f"could not find function with ID: {app.app_id}-nobody"] == run["output"]


def test_an_invoke_that_takes_too_long_is_an_error_and_the_child_goes_on(server: Server, app: App):
    @app.function("slow", "invoke/never")
    def slow(ctx: inngest.ContextSync) -> object:
        ctx.step.sleep("nap", timedelta(days=1))
        return "late"

    app.serve([slow, a_caller(app, "hurried", "slow", timeout=timedelta(minutes=5))])
    run_id = waiting(server, server.send("invoke/hurried"))
    child = child_of(server, run_id)
    server.step(child, "nap", "Sleeping")
    server.skip(timedelta(minutes=6))

    ended = server.run_ended(run_id)
    assert ["InngestInvokeTimeoutError", "Timed out waiting for invoked function to complete"] == ended["output"]
    server.skip(timedelta(days=1))
    assert "late" == server.run_ended(child)["output"]


def test_the_cancelling_of_the_child_is_an_error_of_the_step(server: Server, app: App):
    @app.function("sleepy", "invoke/never")
    def sleepy(ctx: inngest.ContextSync) -> object:
        ctx.step.sleep("nap", timedelta(days=1))

    app.serve([sleepy, a_caller(app, "patient", "sleepy")])
    run_id = waiting(server, server.send("invoke/patient"))
    child = child_of(server, run_id)
    server.request("DELETE", f"/v1/runs/{child}")

    ended = server.run_ended(run_id)
    assert ["InngestInvokeCancelledError", f"the invoked run {child} was cancelled"] == ended["output"]


def test_functions_of_other_apps_can_be_invoked(server: Server, app: App):
    other = app.another(f"{app.app_id}-other")

    @other.function("far", "invoke/never")
    def far(ctx: inngest.ContextSync) -> object:
        return "from afar"

    try:
        other.serve([far])
        app.serve([a_caller(app, "across", "far", app_id=other.app_id)])
        assert ["got", "from afar"] == server.ended(server.send("invoke/across"))["output"]
    finally:
        other.stop()


def test_many_functions_invoked_at_once_are_all_waited_for(server: Server, app: App):
    @app.function("square", "invoke/never")
    def square(ctx: inngest.ContextSync) -> object:
        return ctx.event.data["n"] ** 2

    @app.function("sum", "invoke/sum")
    def total(ctx: inngest.ContextSync) -> object:
        def ask(n: int):
            return lambda: ctx.step.invoke(f"call {n}", function=square, data={"n": n})

        return sum(ctx.group.parallel(tuple(ask(n) for n in range(10))))

    app.serve([square, total])

    assert sum(n * n for n in range(10)) == server.ended(server.send("invoke/sum"))["output"]

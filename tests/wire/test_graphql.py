"""GraphQL about real runs of the official Python SDK: what its own tests ask, and the whole trace."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import inngest

from tests.wire.graphql import Helper, ask
from tests.wire.harness import App, Server, until

SPAN = """
fragment Span on RunTraceSpan {
    name status attempts stepOp stepID stepType outputID isRoot parentSpanID spanID duration queuedAt startedAt endedAt
    stepInfo {
        __typename
        ... on InvokeStepInfo {triggeringEventID functionID timeout returnEventID runID timedOut}
        ... on SleepStepInfo {sleepUntil}
        ... on WaitForEventStepInfo {eventName expression timeout foundEventID timedOut}
        ... on RunStepInfo {type}
        ... on WaitForSignalStepInfo {signal timeout timedOut}
    }
}
"""
TRACE = (
    SPAN
    + """
query ($id: String!) {
    run(runID: $id) {
        id status trace(preview: true) {...Span childrenSpans {...Span childrenSpans {...Span}}}
    }
}
"""
)


def trace_of(server: Server, run_id: str) -> Any:
    return ask(server, TRACE, id=run_id)["run"]["trace"]


OF_FUNCTION = """
query ($id: UUID!) {
    runs(filter: {from: "2026-01-01T00:00:00Z", functionIDs: [$id]}, orderBy: []) {edges {node {id eventName}}}
}
"""


def spans(root: Any) -> list[tuple[str, str, str | None]]:
    """Name, status and kind of what lies below a span."""
    return [(span["name"], span["status"], span["stepOp"]) for span in root["childrenSpans"]]


def infos(root: Any) -> dict[str, dict[str, Any]]:
    """The `stepInfo` of what lies below a span, by its name."""
    return {span["name"]: span["stepInfo"] for span in root["childrenSpans"]}


def test_the_sdks_helper_finds_a_run_by_its_event_and_waits_for_its_end(server: Server, app: App) -> None:
    @app.function("done", "gql/done")
    def done(ctx: inngest.ContextSync) -> object:
        return {"sum": ctx.step.run("one", lambda: 1) + ctx.step.run("two", lambda: [2])[0]}

    app.serve([done])
    helper, event_id = Helper(server), server.send("gql/done", {"who": "Zoë", "big": 2**60}, id="done-1")
    [run_id] = helper.run_ids(event_id)

    run = helper.ended(run_id, "COMPLETED")

    assert {"sum": 3} == json.loads(run["output"])
    assert ("done-1", "gql/done", {"who": "Zoë", "big": 2**60}) == tuple(
        run["event"][it] for it in ("id", "name", "data")
    )
    assert {"data": 1} == helper.step_output(run_id, "one")
    assert {"data": [2]} == helper.step_output(run_id, "two")


def test_a_failed_run_has_the_sdks_error_for_its_output_and_so_has_its_step(server: Server, app: App) -> None:
    @app.function("fails", "gql/fails", retries=0)
    def fails(ctx: inngest.ContextSync) -> object:
        def body() -> None:
            raise ValueError("no such thing")

        return ctx.step.run("bad", body)

    app.serve([fails])
    helper = Helper(server)
    [run_id] = helper.run_ids(server.send("gql/fails"))

    run = helper.ended(run_id, "FAILED")

    error = json.loads(run["output"])
    assert ("ValueError", "no such thing") == (error["name"], error["message"])
    step = helper.step_output(run_id, "bad")
    assert (None, "ValueError", "no such thing") == (step["data"], step["error"]["name"], step["error"]["message"])
    assert "Traceback" in step["error"]["stack"]


def test_a_cancelled_run_is_cancelled_and_has_no_output(server: Server, app: App) -> None:
    @app.function("sleeper", "gql/sleeper")
    def sleeper(ctx: inngest.ContextSync) -> None:
        ctx.step.sleep("nap", timedelta(days=1))

    app.serve([sleeper])
    helper = Helper(server)
    [run_id] = helper.run_ids(server.send("gql/sleeper"))
    server.step(run_id, "nap", "Sleeping")

    mutation = "mutation ($id: ULID!) {cancelRun(runID: $id) {id status finishedAt}}"
    cancelled = ask(server, mutation, id=run_id)["cancelRun"]

    assert (run_id, "CANCELLED") == (cancelled["id"], cancelled["status"])
    assert cancelled["finishedAt"]
    assert None is helper.ended(run_id, "CANCELLED")["output"]
    assert [("nap", "CANCELLED", "SLEEP")] == spans(trace_of(server, run_id))
    assert cancelled == ask(server, mutation, id=run_id)["cancelRun"]


def test_a_runs_end_and_its_output_show_in_the_same_instant(server: Server, app: App) -> None:
    @app.function("ends", "gql/ends")
    def ends(ctx: inngest.ContextSync) -> object:
        return ctx.event.data["n"]

    app.serve([ends])
    helper, seen, stop = Helper(server), list[tuple[str, str | None]](), threading.Event()
    known = list[str]()

    def poll() -> None:
        while not stop.is_set():
            for run_id in list(known):
                found = helper.look(run_id)
                seen.append((found["status"], found["output"]))

    pollers = [threading.Thread(target=poll) for _ in range(2)]
    for poller in pollers:
        poller.start()
    for n in range(15):
        [run_id] = helper.run_ids(server.send("gql/ends", {"n": n}))
        known[:] = [run_id]
        helper.ended(run_id, "COMPLETED")
    stop.set()
    for poller in pollers:
        poller.join()

    assert {status for status, _ in seen} <= {"QUEUED", "RUNNING", "COMPLETED"}
    assert [] == [it for it in seen if (it[0] == "COMPLETED") != (it[1] is not None)]


def test_a_trace_tells_what_each_step_was_and_what_it_waited_for(server: Server, app: App) -> None:
    @app.function("child", "gql/never")
    def child(ctx: inngest.ContextSync) -> object:
        return "from the child"

    @app.function("parent", "gql/parent")
    def parent(ctx: inngest.ContextSync) -> object:
        ctx.step.run("first", lambda: {"a": 1})
        ctx.step.sleep("nap", timedelta(milliseconds=10))
        ctx.step.wait_for_event(
            "news", event="gql/news", if_exp="event.data.n == async.data.n", timeout=timedelta(hours=1)
        )
        ctx.step.wait_for_event("nothing", event="gql/nothing", timeout=timedelta(hours=1))
        return ctx.step.invoke("asked", function=child, data={"b": 2})

    app.serve([child, parent])
    [run] = server.runs_of(server.send("gql/parent", {"n": 7}))
    run_id = run["run_id"]
    server.step(run_id, "news", "Waiting")
    waiting = trace_of(server, run_id)
    news_id = server.send("gql/news", {"n": 7})
    server.step(run_id, "nothing", "Waiting")
    server.skip(timedelta(hours=2))
    server.run_ended(run_id)

    root = trace_of(server, run_id)

    done = [
        ("first", "RUN"),
        ("nap", "SLEEP"),
        ("news", "WAIT_FOR_EVENT"),
        ("nothing", "WAIT_FOR_EVENT"),
        ("asked", "INVOKE"),
    ]
    assert [(name, "COMPLETED", op) for name, op in done] == spans(root)
    assert [
        ("first", "COMPLETED", "RUN"),
        ("nap", "COMPLETED", "SLEEP"),
        ("news", "WAITING", "WAIT_FOR_EVENT"),
    ] == spans(waiting)
    assert ("RUNNING", None) == (waiting["status"], waiting["outputID"])
    assert None is infos(waiting)["news"]["timedOut"]
    told, news = infos(root), infos(root)["news"]
    assert {"__typename": "RunStepInfo", "type": "StepRun"} == told["first"]
    assert "SleepStepInfo" == told["nap"]["__typename"]
    assert ("gql/news", news_id, False) == (news["eventName"], news["foundEventID"], news["timedOut"])
    assert (None, True) == (told["nothing"]["foundEventID"], told["nothing"]["timedOut"])
    asked = told["asked"]
    assert (f"{app.app_id}-child", False) == (asked["functionID"], asked["timedOut"])
    assert ["from the child"] == [
        json.loads(ask(server, "query ($id: String!) {run(runID: $id) {output}}", id=asked["runID"])["run"]["output"])
    ]
    assert [None] == [span["outputID"] for span in root["childrenSpans"] if span["name"] == "nap"]
    assert (True, None) == (root["isRoot"], root["parentSpanID"])
    assert {root["spanID"]} == {span["parentSpanID"] for span in root["childrenSpans"]}


def test_a_step_that_was_tried_again_has_a_span_for_each_try(server: Server, app: App) -> None:
    @app.function("flaky", "gql/flaky", retries=3)
    def flaky(ctx: inngest.ContextSync) -> object:
        def body() -> str:
            if ctx.attempt < 2:
                raise ValueError(f"not yet {ctx.attempt}")
            return "now"

        return ctx.step.run("try", body)

    app.serve([flaky])
    [run] = server.runs_of(server.send("gql/flaky"))
    for attempt in range(2):
        server.failed(run["run_id"], attempt + 1)
        server.skip(timedelta(hours=2))
    server.run_ended(run["run_id"])

    [step] = trace_of(server, run["run_id"])["childrenSpans"]

    assert ("try", "COMPLETED", 2) == (step["name"], step["status"], step["attempts"])
    tries = [("Attempt 0", "FAILED"), ("Attempt 1", "FAILED"), ("Attempt 2", "COMPLETED")]
    assert tries == [(it["name"], it["status"]) for it in step["childrenSpans"]]
    query = "query ($id: String!) {runTraceSpanOutputByID(outputID: $id) {data error {message name}}}"
    told = [ask(server, query, id=it["outputID"])["runTraceSpanOutputByID"] for it in step["childrenSpans"]]
    assert ["not yet 0", "not yet 1"] == [it["error"]["message"] for it in told[:2]]
    assert {"data": '"now"', "error": None} == told[2]


def test_parallel_steps_are_all_in_the_trace(server: Server, app: App) -> None:
    @app.function("wide", "gql/wide")
    def wide(ctx: inngest.ContextSync) -> object:
        return ctx.group.parallel(tuple(lambda n=n: ctx.step.run(f"s{n}", lambda: n) for n in range(5)))

    app.serve([wide])
    helper = Helper(server)
    [run_id] = helper.run_ids(server.send("gql/wide"))
    run = helper.ended(run_id, "COMPLETED")

    assert [0, 1, 2, 3, 4] == json.loads(run["output"])
    assert [(f"s{n}", "COMPLETED", "RUN") for n in range(5)] == spans(trace_of(server, run_id))


def test_a_function_can_be_invoked_and_a_run_be_run_again_from_a_step(server: Server, app: App) -> None:
    calls = list[str]()

    @app.function("twice", "gql/twice")
    def twice(ctx: inngest.ContextSync) -> object:
        first = ctx.step.run("first", lambda: calls.append("first") or len(calls))
        return [first, ctx.step.run("second", lambda: calls.append("second") or ctx.event.data.get("n"))]

    app.serve([twice])
    invoke = "mutation ($slug: String!, $data: Map) {invokeFunction(functionSlug: $slug, data: $data)}"
    assert {"invokeFunction": True} == ask(server, invoke, slug=f"{app.app_id}-twice", data={"n": 5})

    by_slug = "query ($slug: String!) {functionBySlug(query: {functionSlug: $slug}) {id}}"
    found = ask(server, by_slug, slug=f"{app.app_id}-twice")["functionBySlug"]

    def look() -> Any:
        return ask(server, OF_FUNCTION, id=found["id"])["runs"]["edges"]

    [edge] = until(look, "the invoked run")
    run_id, helper = edge["node"]["id"], Helper(server)
    assert [1, 5] == json.loads(helper.ended(run_id, "COMPLETED")["output"])

    again = ask(server, 'mutation ($id: ULID!) {rerun(runID: $id, fromStep: {stepID: "second"})}', id=run_id)["rerun"]

    assert "inngest/function.invoked" == edge["node"]["eventName"]
    assert [1, 5] == json.loads(helper.ended(again, "COMPLETED")["output"])
    assert ["first", "second", "second"] == calls


def test_an_app_is_added_by_its_url_and_taken_out_of_service(server: Server, app: App) -> None:
    @app.function("kept", "gql/kept")
    def kept(ctx: inngest.ContextSync) -> None:
        return None

    app.serve([kept], sync=False)
    made = ask(
        server,
        "mutation ($url: String!) {createApp(input: {url: $url}) {id name connected error functions {slug}}}",
        url=app.url,
    )["createApp"]

    slug = f"{app.app_id}-kept"
    assert (app.app_id, True, None, [{"slug": slug}]) == tuple(
        made[it] for it in ("name", "connected", "error", "functions")
    )
    moved = ask(
        server,
        "mutation ($id: String!, $url: String!) {updateApp(input: {id: $id, url: $url}) {id url}}",
        id=made["id"],
        url=app.url.replace("127.0.0.1", "localhost"),
    )["updateApp"]
    assert (made["id"], app.url.replace("127.0.0.1", "localhost")) == (moved["id"], moved["url"])

    assert {"deleteApp": made["id"]} == ask(server, "mutation ($id: String!) {deleteApp(id: $id)}", id=made["id"])

    assert {"apps": [], "functions": []} == ask(server, "{apps {id} functions {id}}")

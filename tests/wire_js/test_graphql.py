"""GraphQL about real runs of the official TypeScript SDK, asked as the SDK's test harness asks.

Each rule holds with checkpointing and without it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.wire.graphql import ask
from tests.wire.harness import Server, until
from tests.wire_js.harness import NodeApp

# The first test may have to wait for the SDK to be installed.
pytestmark = pytest.mark.timeout(300)

_TRACE = """
query ($runId: String!) {
  run(runID: $runId) {
    status
    trace(preview: true) {
      status
      outputID
    }
  }
}
"""
_OUTPUT = """
query ($traceID: String!) {
  runTraceSpanOutputByID(outputID: $traceID) {
    data
    error {
      message
      name
    }
  }
}
"""
_METADATA = """
fragment TraceMetadataFields on RunTraceSpan {
  name
  stepID
  spanID
  metadata {
    scope
    kind
    values
    updatedAt
  }
}

query ($runId: String!) {
  run(runID: $runId) {
    trace(preview: true) {
      ...TraceMetadataFields
      childrenSpans {
        ...TraceMetadataFields
        childrenSpans {
          ...TraceMetadataFields
        }
      }
    }
  }
}
"""


@pytest.fixture(scope="module", params=[False, None], ids=["plain", "checkpointing"])
def app(request: pytest.FixtureRequest, make_app: Callable[..., NodeApp]) -> NodeApp:
    return make_app(checkpointing=request.param)


def started(server: Server, app: NodeApp, function: str) -> str:
    """Send the function's event; returns the id of the run it starts."""
    [run] = server.runs_of(app.send(function))
    return run["run_id"]


def result(server: Server, run_id: str) -> dict[str, Any]:
    """Wait for the run's end as the harness does; returns its `data` or its `error`."""

    def look() -> dict[str, Any] | None:
        run = ask(server, _TRACE, runId=run_id)["run"]
        trace = run["trace"]
        return run if trace["status"] in ("COMPLETED", "FAILED") else None

    trace = until(look, f"the end of run {run_id}")["trace"]
    assert trace["outputID"], trace
    span = ask(server, _OUTPUT, traceID=trace["outputID"])["runTraceSpanOutputByID"]
    return {"error": span["error"]} if span["error"] else {"data": json.loads(span["data"])}


def names(root: Any) -> list[str]:
    return [span["name"] for span in root["childrenSpans"]]


def test_the_harness_gets_the_result_of_a_run(server: Server, app: NodeApp) -> None:
    run_id = started(server, app, "chain")

    assert {"data": 5} == result(server, run_id)
    assert "5" == ask(server, "query ($id: String!) {run(runID: $id) {output}}", id=run_id)["run"]["output"]


def test_a_run_without_a_result_has_a_null_for_it(server: Server, app: NodeApp) -> None:
    assert {"data": None} == result(server, started(server, app, "nothing"))


def test_the_harness_gets_the_error_of_a_run_and_the_run_shows_it_as_the_sdk_sent_it(
    server: Server, app: NodeApp
) -> None:
    run_id = started(server, app, "uncaught")

    assert {"error": {"message": "broken", "name": "TypeError"}} == result(server, run_id)
    run = ask(server, "query ($id: String!) {run(runID: $id) {status output}}", id=run_id)["run"]
    error = json.loads(run["output"])
    assert ("FAILED", "TypeError", "broken") == (run["status"], error["name"], error["message"])


def test_the_spans_of_a_run_are_its_steps_in_their_order(server: Server, app: NodeApp) -> None:
    run_id = started(server, app, "chain")
    result(server, run_id)

    root = ask(server, _METADATA, runId=run_id)["run"]["trace"]

    assert ["first", "second", "third", "fourth", "fifth"] == names(root)
    assert None is root["stepID"]
    assert 6 == len({root["spanID"], *(span["spanID"] for span in root["childrenSpans"])})
    assert all(span["stepID"] and span["metadata"] == [] for span in root["childrenSpans"])


def test_a_step_that_was_tried_again_has_a_span_for_each_try(server: Server, app: NodeApp) -> None:
    run_id = started(server, app, "flaky_step")
    for attempt in range(2):
        server.failed(run_id, attempt + 1)
        app.skip(timedelta(hours=2))

    assert {"data": "attempt 2"} == result(server, run_id)
    root = ask(server, _METADATA, runId=run_id)["run"]["trace"]
    [step] = root["childrenSpans"]
    assert ("try", ["Attempt 0", "Attempt 1", "Attempt 2"]) == (step["name"], names(step))


def test_steps_side_by_side_and_a_caught_error_are_in_the_trace(server: Server, app: NodeApp) -> None:
    parallel, caught = started(server, app, "parallel"), started(server, app, "caught")

    assert {"data": "a+b+c!"} == result(server, parallel)
    assert {"data": "TypeError: broken"} == result(server, caught)

    root = ask(server, _METADATA, runId=parallel)["run"]["trace"]
    assert ["before", ["a", "b", "c"], "after", "end"] == [names(root)[0], sorted(names(root)[1:4]), *names(root)[4:]]
    query = "query ($id: String!) {run(runID: $id) {trace {childrenSpans {name status stepOp outputID}}}}"
    spans = ask(server, query, id=caught)["run"]["trace"]["childrenSpans"]
    told = [("good", "COMPLETED", "RUN"), ("bad", "FAILED", "RUN"), ("mend", "COMPLETED", "RUN")]
    assert told == [(span["name"], span["status"], span["stepOp"]) for span in spans]
    bad = ask(server, _OUTPUT, traceID=spans[1]["outputID"])["runTraceSpanOutputByID"]
    assert {"data": None, "error": {"message": "broken", "name": "TypeError"}} == bad


def test_what_a_run_deferred_is_told_with_it_and_with_the_runs_that_came_of_it(server: Server, app: NodeApp) -> None:
    [run] = server.runs_of(app.send("defers"))
    run_id = run["run_id"]
    server.step(run_id, "nap", "Sleeping")
    defers = (
        "query ($id: String!) {run(runID: $id) {isDeferred deferredFrom {runID} defers {functionSlug status input}}}"
    )
    before = ask(server, defers, id=run_id)["run"]
    app.skip(timedelta(hours=1, seconds=1))
    server.run_ended(run_id)

    run = ask(server, defers, id=run_id)["run"]

    slug = f"{app.app_id}-afterwards"
    assert (False, None) == (run["isDeferred"], run["deferredFrom"])
    assert [(slug, "SCHEDULED", {"n": 0}), (slug, "SCHEDULED", {"n": -2})] == told(before["defers"])
    assert [(slug, "STARTED", {"n": 0}), (slug, "ABORTED", {"n": -2}), (slug, "STARTED", {"n": 99})] == told(
        run["defers"]
    )
    [first, second] = until(lambda: of_deferral(server, run_id), "the deferred runs")
    assert {"runID": run_id, "functionSlug": f"{app.app_id}-defers", "run": {"id": run_id}} == first["deferredFrom"]
    assert [True, True] == [first["isDeferred"], second["isDeferred"]]
    assert [[-2, 99], [-2, 0]] == [
        sorted(json.loads(it["input"])["n"] for it in one["siblingDefers"])
        for one in sorted([first, second], key=lambda one: json.loads(one["n"][0])["data"]["n"])
    ]


def told(defers: list[dict[str, Any]]) -> list[tuple[str, str, object]]:
    return [(it["functionSlug"], it["status"], json.loads(it["input"])) for it in defers]


def of_deferral(server: Server, run_id: str) -> list[Any] | None:
    """The two runs that a run deferred, once they are there."""
    query = """
    {
      runs(filter: {from: "2026-01-01T00:00:00Z", isDeferred: true}, orderBy: []) {
        edges {
          node {
            id isDeferred deferredFrom {runID functionSlug run {id}} siblingDefers {input}
          }
        }
      }
    }
    """
    found = [edge["node"] for edge in ask(server, query)["runs"]["edges"]]
    mine = [it for it in found if it["deferredFrom"]["runID"] == run_id]
    payloads = "query ($id: String!) {runTrigger(runID: $id) {payloads}}"
    for it in mine:
        it["n"] = ask(server, payloads, id=it["id"])["runTrigger"]["payloads"]
    return mine if len(mine) == 2 else None

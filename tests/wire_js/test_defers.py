"""Deferred functions of the official TypeScript SDK: they start when the run that deferred them has ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.wire.harness import Server, until
from tests.wire_js.harness import NodeApp

# The first test may have to wait for the SDK to be installed.
pytestmark = pytest.mark.timeout(300)

LATER = "inngest/deferred.schedule"


@pytest.fixture(scope="module", params=[False, None], ids=["plain", "checkpointing"])
def app(request: pytest.FixtureRequest, make_app: Callable[..., NodeApp]) -> NodeApp:
    return make_app(checkpointing=request.param)


def asleep(server: Server, app: NodeApp, **data: object) -> str:
    """Start a run that defers functions, and wait until it sleeps; returns its id."""
    [run] = server.runs_of(app.send("defers", data))
    server.step(run["run_id"], "nap", "Sleeping")
    return str(run["run_id"])


def started(server: Server, run_id: str) -> list[dict[str, Any]]:
    """The data of the events by which a run started what it had deferred."""
    events = server.request("GET", f"/v1/events?name={LATER}&limit=100")[1]["data"]
    mine = [it["data"] for it in events if it["data"]["_inngest"]["parent_run_id"] == run_id]
    return sorted(mine, key=lambda data: data["n"])


def test_what_a_run_defers_is_started_when_it_has_ended_and_not_before(server: Server, app: NodeApp):
    run_id = asleep(server, app)
    before = started(server, run_id)

    app.skip(timedelta(hours=1, seconds=1))
    run = server.run_ended(run_id)

    assert ([], "Completed") == (before, run["status"])
    assert [0, 99] == [data["n"] for data in started(server, run_id)]
    about = started(server, run_id)[0]["_inngest"]
    assert (f"{app.app_id}-afterwards", f"{app.app_id}-defers") == (about["fn_slug"], about["parent_fn_slug"])


def test_a_deferred_function_runs_with_what_was_given_to_it(server: Server, app: NodeApp):
    run_id = asleep(server, app)
    app.skip(timedelta(hours=1, seconds=1))
    server.run_ended(run_id)
    events = server.request("GET", f"/v1/events?name={LATER}&limit=100")[1]["data"]
    [event] = [it for it in events if it["data"]["_inngest"]["parent_run_id"] == run_id and it["data"]["n"] == 99]

    run = server.ended(event["internal_id"])

    assert ("Completed", 99) == (run["status"], run["output"]["n"])
    assert ["deferred"] == app.ran(run["run_id"])


def test_a_function_that_defers_is_not_slowed_down_nor_told_twice(server: Server, app: NodeApp):
    run_id = asleep(server, app, count=3)
    app.skip(timedelta(hours=1, seconds=1))
    server.run_ended(run_id)

    told = [set(call.body["defers"]) for call in app.calls(run_id)]
    assert 4 == len(told[-1]) - (len(told[-1]) > 4), "three, and the one that is dropped; perhaps the last one"
    refused = [it for it in app.checkpoints(run_id) if it.status != 200]
    assert ["one", "two"] == app.ran(run_id)
    assert [] == refused


def test_what_is_dropped_is_not_started(server: Server, app: NodeApp):
    run_id = asleep(server, app, how="drop at once")
    app.skip(timedelta(hours=1, seconds=1))
    server.run_ended(run_id)

    assert [0, 99] == [data["n"] for data in started(server, run_id)]


def test_a_run_that_fails_starts_what_it_deferred_all_the_same(server: Server, app: NodeApp):
    run_id = asleep(server, app, how="fail")
    app.skip(timedelta(hours=1, seconds=1))
    run = server.run_ended(run_id)

    assert ("Failed", "no") == (run["status"], run["output"]["message"])
    assert [0] == [data["n"] for data in started(server, run_id)]


def test_a_failed_attempt_keeps_what_it_deferred_and_dropped(server: Server, app: NodeApp):
    run_id = asleep(server, app, how="try again")
    app.skip(timedelta(hours=1, seconds=1))
    server.failed(run_id, 1)
    app.skip(timedelta(seconds=46))
    run = server.run_ended(run_id)

    assert "Completed" == run["status"]
    assert [0, 99] == [data["n"] for data in started(server, run_id)]


def test_a_cancelled_run_starts_nothing(server: Server, app: NodeApp):
    run_id = asleep(server, app)

    server.request("DELETE", f"/v1/runs/{run_id}")
    server.run_ended(run_id)

    assert [] == started(server, run_id)


def test_at_most_twenty_are_started(server: Server, app: NodeApp):
    run_id = asleep(server, app, count=25)
    app.skip(timedelta(hours=1, seconds=1))
    server.run_ended(run_id)

    until(lambda: started(server, run_id), "the deferred functions")
    assert 20 == len(started(server, run_id))

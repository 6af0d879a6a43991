"""Time-outs of a function, with the official Python SDK over real HTTP: a test per rule."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import inngest
import pytest

from tests.wire.harness import DEADLINE, App, Embedded, Server, until

pytestmark = pytest.mark.every_driver

MINUTES = timedelta(minutes=1)


def why(run: dict[str, object]) -> str:
    [reason] = [entry["data"]["reason"] for entry in run["history"] if entry["kind"] == "cancelled"]
    return str(reason)


def test_a_run_that_takes_longer_than_its_function_lets_it_is_cancelled_and_tells_so(server: Server, app: App):
    heard = []

    @app.function("long", "timeouts/long", timeouts=inngest.Timeouts(finish=5 * MINUTES))
    def long(ctx: inngest.ContextSync) -> object:
        ctx.step.sleep("nap", timedelta(days=1))
        return "never"

    @app.function("mourner", "inngest/function.cancelled")
    def mourner(ctx: inngest.ContextSync) -> object:
        heard.append(ctx.event.data["run_id"])
        return None

    app.serve([long, mourner])
    [run] = server.runs_of(server.send("timeouts/long"))
    server.step(run["run_id"], "nap", "Sleeping")
    server.skip(4 * MINUTES)
    assert "Running" == server.run(run["run_id"])["status"]
    server.skip(2 * MINUTES)

    ended = server.run_ended(run["run_id"])
    assert ("Cancelled", "not finished within 5m (timeouts.finish)") == (ended["status"], why(ended))
    until(lambda: run["run_id"] in heard, "the event of the cancelled run")


def test_the_answer_of_a_call_that_outlasts_the_time_is_ignored(server: Server, app: App):
    entered, leave = threading.Event(), threading.Event()

    @app.function("busy", "timeouts/busy", timeouts=inngest.Timeouts(finish=5 * MINUTES))
    def busy(ctx: inngest.ContextSync) -> object:
        entered.set()
        assert leave.wait(DEADLINE)
        return "late"

    app.serve([busy])
    [run] = server.runs_of(server.send("timeouts/busy"))
    assert entered.wait(DEADLINE)
    server.skip(6 * MINUTES)
    ended = server.run_ended(run["run_id"])
    leave.set()

    assert ("Cancelled", {}) == (ended["status"], ended["output"])


def test_a_run_that_ends_in_time_is_not_touched(server: Server, app: App):
    @app.function("quick", "timeouts/quick", timeouts=inngest.Timeouts(start=MINUTES, finish=MINUTES))
    def quick(ctx: inngest.ContextSync) -> object:
        return ctx.step.run("one", lambda: 1)

    app.serve([quick])
    run = server.ended(server.send("timeouts/quick"))
    server.skip(2 * MINUTES)

    assert ("Completed", 1) == (run["status"], run["output"])
    assert "Completed" == server.run(run["run_id"])["status"]


@pytest.fixture
def narrow() -> Iterator[tuple[Server, App]]:
    """A server that makes one call at a time, and its app."""
    server = Embedded(queue_workers=1)
    app = App(server.url, "narrow")
    yield server, app
    app.stop()
    server.stop()


def test_a_run_that_waits_too_long_for_a_worker_is_never_called(narrow: tuple[Server, App]):
    server, app = narrow
    entered, leave = threading.Event(), threading.Event()

    @app.function("hog", "timeouts/hog")
    def hog(ctx: inngest.ContextSync) -> None:
        entered.set()
        assert leave.wait(DEADLINE)

    @app.function("waits", "timeouts/waits", timeouts=inngest.Timeouts(start=5 * MINUTES))
    def waits(ctx: inngest.ContextSync) -> str:
        return "called"

    app.serve([hog, waits])
    server.send("timeouts/hog")
    assert entered.wait(DEADLINE)
    [late] = server.runs_of(server.send("timeouts/waits"))
    server.skip(6 * MINUTES)
    [timely] = server.runs_of(server.send("timeouts/waits"))
    leave.set()

    ended = server.run_ended(late["run_id"])
    assert ("Cancelled", "not started within 5m (timeouts.start)") == (ended["status"], why(ended))
    assert [] == app.calls(late["run_id"])
    assert "called" == server.run_ended(timely["run_id"])["output"]

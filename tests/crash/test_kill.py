"""`orchestrator dev --persist` killed with -9 at any moment loses nothing and repeats no completed step."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import inngest
import pytest

from tests.crash.process import DevProcess
from tests.wire.harness import App, request, until

#: What a sender sees of a server that dies while answering.
GONE = (OSError, http.client.HTTPException)

pytestmark = pytest.mark.timeout(180)


class Shop:
    """An app with one function of each kind, which counts how often each step's body ran to its end."""

    def __init__(self, server_url: str) -> None:
        self.app = App(server_url, "crash")
        self.bodies = Counter[str]()
        self.entered, self.leave = threading.Event(), threading.Event()
        self.finished_at = 0.0
        functions = [
            self.app.function(name, f"crash/{name}")(getattr(self, name)) for name in ("two", "nap", "slow", "later")
        ]
        self.app.serve(functions, sync=False)

    def two(self, ctx: inngest.ContextSync) -> object:
        one = ctx.step.run("one", lambda: self.body("one"))
        return one + ctx.step.run("two", lambda: self.body("two"))

    def nap(self, ctx: inngest.ContextSync) -> object:
        ctx.step.run("before", lambda: self.body("before"))
        ctx.step.sleep("nap", timedelta(seconds=2))
        return ctx.step.run("after", lambda: self.body("after"))

    def later(self, ctx: inngest.ContextSync) -> object:
        ctx.step.run("early", lambda: self.body("early"))
        ctx.step.sleep("nap", timedelta(hours=1))
        return ctx.step.run("late", lambda: self.body("late"))

    def slow(self, ctx: inngest.ContextSync) -> object:
        ctx.step.run("before", lambda: self.body("before"))

        def wait() -> int:
            self.entered.set()
            assert self.leave.wait(30)
            return self.body("slow")

        return ctx.step.run("slow", wait)

    def body(self, name: str) -> int:
        self.bodies[name] += 1
        self.finished_at = time.monotonic()
        return 1

    def sync(self) -> None:
        assert 200 == request("PUT", self.app.url, {})[0]


@pytest.fixture
def shop(server: DevProcess) -> Iterator[Shop]:
    made = Shop(server.url)
    yield made
    made.app.stop()


def test_an_event_answered_with_200_has_its_run_though_the_server_dies_at_once(server: DevProcess, shop: Shop):
    server.start()
    shop.sync()
    event_id = server.send("crash/two")
    server.kill()

    server.start()
    ready_at = time.monotonic()

    assert ("Completed", 2) == (server.ended(event_id)["status"], server.ended(event_id)["output"])
    assert shop.finished_at - ready_at < 1.0


def test_a_sleep_goes_on_while_the_server_is_dead(server: DevProcess, shop: Shop):
    server.start()
    shop.sync()
    event_id = server.send("crash/nap")
    until(lambda: shop.bodies["before"], "the step before the sleep")
    time.sleep(0.3)  # into the sleep: nothing tells from outside when its commit was
    server.kill()

    server.start()

    assert "Completed" == server.ended(event_id)["status"]
    assert {"before": 1, "after": 1} == shop.bodies


def test_a_call_in_flight_when_the_server_dies_is_made_again_and_completed_steps_are_not(
    server: DevProcess, shop: Shop
):
    server.start()
    shop.sync()
    event_id = server.send("crash/slow")
    assert shop.entered.wait(10)
    server.kill()
    shop.leave.set()

    server.start()
    ready_at = time.monotonic()

    assert "Completed" == server.ended(event_id)["status"]
    assert (1, 2) == (shop.bodies["before"], shop.bodies["slow"])
    assert shop.finished_at - ready_at < 1.0


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_death_around_any_commit_of_a_run_of_two_steps_changes_nothing(tmp_path: Path, moment: str):
    """Enumerated: the server dies around commit 1, 2, 3 ... after the event came in, until a run needs no more."""
    deaths = 0
    for commit in range(1, 50):
        server = DevProcess(_fresh(tmp_path, commit))
        shop = Shop(server.url)
        server.start(kill_at=commit, moment=moment)
        shop.sync()
        event_id, sent = _send(server), 1
        if event_id is None:  # died before the answer: the event may be there or not, and the sender tries again
            assert server.died()
            server.start()
            event_id, sent = server.send("crash/two"), 2
        elif _survives(server, event_id):
            server.kill()  # Not by a signal that it heeds: what it writes at its end might be the commit to die at.
            shop.app.stop()
            break
        else:
            assert server.died()
            server.start()
        run = server.ended(event_id)
        deaths += 1
        assert ("Completed", 2) == (run["status"], run["output"]), f"commit {commit}"
        _check_bodies(shop, moment, sent)
        server.stop()
        shop.app.stop()

    assert deaths >= 5


def test_an_order_to_cancel_many_runs_is_carried_out_though_the_server_dies_on_the_way(server: DevProcess, shop: Shop):
    server.start()
    shop.sync()
    nappers = [server.send("crash/later") for _ in range(120)]
    for event_id in nappers:
        until(lambda event_id=event_id: server.asleep(event_id), "all runs to be asleep", server.log)
    server.kill()
    server.start(kill_at=4)  # after the event, the order and its lease: with the first 100 runs
    server.send("crash/nobody-listens")
    with suppress(*GONE):
        request("POST", f"{server.url}/v1/cancellations", {"app_id": "crash", "function_id": "later"})
    assert server.died()

    server.start()
    orders = f"{server.url}/v1/cancellations"
    if not request("GET", orders)[1]["data"]:  # died before it was taken
        request("POST", orders, {"app_id": "crash", "function_id": "later"})
    until(lambda: request("GET", orders)[1]["data"][0]["status"] == "Completed", "the end of the order", server.log)

    [done] = request("GET", orders)[1]["data"]
    assert len(nappers) == done["cancelled"]
    assert {"Cancelled"} == {server.ended(event_id)["status"] for event_id in nappers}
    assert {"early": len(nappers)} == shop.bodies


def _fresh(tmp_path: Path, commit: int) -> Path:
    folder = tmp_path / str(commit)
    folder.mkdir()
    return folder / "state"


def _send(server: DevProcess) -> str | None:
    try:
        return server.send("crash/two")
    except GONE:
        return None


def _survives(server: DevProcess, event_id: str) -> bool:
    try:
        server.ended(event_id)
    except GONE:
        return False
    time.sleep(0.2)  # a death right after the last commit, which the reader may have seen
    return server.alive()


def _check_bodies(shop: Shop, moment: str, sent: int) -> None:
    """After a commit no step may have run twice; before it, at most the one step whose result it was to keep.

    An event that was sent twice, because the first sending had no answer, may have two runs.
    """
    repeated = [name for name, count in shop.bodies.items() if count > sent]
    assert all(count <= sent + (moment == "before") for count in shop.bodies.values()), shop.bodies
    assert len(repeated) <= 1, shop.bodies

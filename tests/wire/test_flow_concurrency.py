"""Limits on concurrency, measured by the app itself: never more at once than a limit allows, and nobody left behind."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import inngest
import pytest

from tests.wire.harness import App, Server, until

pytestmark = pytest.mark.every_driver

#: How long a call stays where it is counted.
SPAN = 0.02


class Gauge:
    """Counts what is inside at once, by name, and remembers the most and the total of each."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = Counter[str]()
        self.most = Counter[str]()
        self.total = Counter[str]()

    @contextmanager
    def inside_of(self, *names: str) -> Iterator[None]:
        with self.lock:
            for name in names:
                self.inside[name] += 1
                self.total[name] += 1
                self.most[name] = max(self.most[name], self.inside[name])
        try:
            yield
        finally:
            with self.lock:
                self.inside.subtract(names)

    def work(self, *names: str, span: float = SPAN) -> str:
        with self.inside_of(*names):
            time.sleep(span)
        return "done"


def limit(count: int, key: str | None = None, scope: str | None = None) -> inngest.Concurrency:
    return inngest.Concurrency(limit=count, key=key, scope=scope)  # type: ignore[arg-type]


def send_all(server: Server, name: str, data: list[dict[str, object]]) -> list[str]:
    return [server.send(name, it) for it in data]


def all_ended(server: Server, event_ids: list[str]) -> None:
    for event_id in event_ids:
        assert "Completed" == server.ended(event_id)["status"]


def test_no_more_calls_run_at_once_than_a_limit_allows_and_all_runs_end(server: Server, app: App):
    gauge = Gauge()

    @app.function("two", "c/two", concurrency=[limit(2)])
    def two(ctx: inngest.ContextSync) -> str:
        ctx.step.run("a", lambda: gauge.work("two", span=0.005))
        return ctx.step.run("b", lambda: gauge.work("two", span=0.005))

    app.serve([two])
    all_ended(server, send_all(server, "c/two", [{}] * 200))

    assert (2, 400) == (gauge.most["two"], gauge.total["two"])


def test_each_value_of_a_key_has_slots_of_its_own(server: Server, app: App):
    gauge = Gauge()

    @app.function("keyed", "c/keyed", concurrency=[limit(1, "event.data.user"), limit(3)])
    def keyed(ctx: inngest.ContextSync) -> str:
        user = ctx.event.data["user"]
        return ctx.step.run("a", lambda: gauge.work("all", f"user {user}"))

    app.serve([keyed])
    all_ended(server, send_all(server, "c/keyed", [{"user": at % 5} for at in range(100)]))

    assert {1} == {gauge.most[f"user {user}"] for user in range(5)}
    assert (3, 100) == (gauge.most["all"], gauge.total["all"])


@pytest.mark.parametrize("scope", ["env", "account"])
def test_a_shared_key_counts_the_calls_of_several_functions_and_apps(server: Server, app: App, scope: str):
    gauge = Gauge()
    other = app.another(f"{app.app_id}-other")

    def work(ctx: inngest.ContextSync) -> str:
        return ctx.step.run("a", lambda: gauge.work("api"))

    shared = [limit(2, '"api"', scope)]
    app.serve(
        [
            app.function("one", "c/one", concurrency=shared)(work),
            app.function("two", "c/two", concurrency=shared)(work),
        ]
    )
    other.serve([other.function("three", "c/three", concurrency=shared)(work)])
    all_ended(server, [server.send(f"c/{name}") for name in ("one", "two", "three") * 20])
    other.stop()

    assert (2, 60) == (gauge.most["api"], gauge.total["api"])


def test_parallel_steps_of_one_run_are_counted_each(server: Server, app: App):
    gauge = Gauge()

    @app.function("fan", "c/fan", concurrency=[limit(2)])
    def fan(ctx: inngest.ContextSync) -> list[str]:
        return list(
            ctx.group.parallel(
                tuple(
                    (lambda at=at: ctx.step.run(f"s{at}", lambda: gauge.work("step")))  # type: ignore[misc]
                    for at in range(8)
                )
            )
        )

    app.serve([fan])
    all_ended(server, send_all(server, "c/fan", [{}, {}]))

    assert (2, 16) == (gauge.most["step"], gauge.total["step"])


def test_a_sleeping_run_holds_no_slot(server: Server, app: App):
    gauge = Gauge()

    @app.function("sleepy", "c/sleepy", concurrency=[limit(1)])
    def sleepy(ctx: inngest.ContextSync) -> str:
        ctx.step.sleep("nap", timedelta(hours=1))
        return ctx.step.run("a", lambda: gauge.work("awake"))

    app.serve([sleepy])
    event_ids = send_all(server, "c/sleepy", [{}] * 5)
    for event_id in event_ids:
        [run] = server.runs_of(event_id)
        server.step(run["run_id"], "nap", "Sleeping")
    server.skip(timedelta(hours=1))
    all_ended(server, event_ids)

    assert (1, 5) == (gauge.most["awake"], gauge.total["awake"])


def test_a_failed_attempt_gives_its_slot_back_while_it_waits_for_the_next(server: Server, app: App):
    gauge = Gauge()
    failed = defaultdict[str, int](int)

    @app.function("flaky", "c/flaky", concurrency=[limit(1)])
    def flaky(ctx: inngest.ContextSync) -> str:
        failed[ctx.run_id] += 1
        if ctx.event.data["fails"] and failed[ctx.run_id] == 1:
            raise RuntimeError("not yet")
        return gauge.work("call")

    app.serve([flaky])
    first = server.send("c/flaky", {"fails": True})
    [run] = server.runs_of(first)
    server.failed(run["run_id"], 1)
    assert "Completed" == server.ended(server.send("c/flaky", {"fails": False}))["status"]
    server.skip(timedelta(minutes=2))

    assert "Completed" == server.ended(first)["status"]


class Door:
    """A function body that stays inside until it is let out."""

    def __init__(self) -> None:
        self.out = threading.Event()
        self.inside = list[str]()

    def __call__(self, ctx: inngest.ContextSync) -> str:
        self.inside.append(ctx.run_id)
        self.out.wait(60)
        return "done"


def parked(server: Server, event_id: str) -> dict[str, Any]:
    """Wait until the event's run waits for a slot."""
    [run] = server.runs_of(event_id)

    def look() -> dict[str, Any] | None:
        found = server.run(run["run_id"])
        return found if [wait["kind"] for wait in found["waits"]] == ["slot"] else None

    return until(look, "a run that waits for a slot", lambda: str(server.run(run["run_id"])))


def test_a_run_whose_slot_is_taken_is_queued_and_says_by_whom(server: Server, app: App):
    door = Door()
    app.serve([app.function("one", "c/one", concurrency=[limit(1, "event.data.user")])(door)])
    first = server.send("c/one", {"user": "ann"})
    until(lambda: door.inside, "the first call")
    waiting = server.send("c/one", {"user": "ann"})

    told = parked(server, waiting)
    door.out.set()
    all_ended(server, [first, waiting])

    [wait] = told["waits"]
    assert "Scheduled" == told["status"]
    assert 'it waits for a slot: 1 of 1 calls with event.data.user = "ann" are at work' in told["waiting"]
    assert door.inside[:1] == wait["details"]["run_ids"]
    assert None is server.run(told["run_id"])["waiting"]


def test_a_limit_can_be_changed_while_calls_wait_for_it(server: Server, app: App):
    door = Door()
    app.serve([app.function("live", "c/live", concurrency=[limit(1)])(door)])
    event_ids = send_all(server, "c/live", [{}] * 4)
    until(lambda: door.inside, "the first call")
    slug = f"/v1/functions/{app.app_id}-live"

    status, told = server.request("PATCH", slug, {"concurrency": 3})
    until(lambda: len(door.inside) == 3, "two more calls")
    parked(server, next(it for it in event_ids if server.runs_of(it)[0]["run_id"] not in door.inside))
    assert 3 == len(door.inside)
    door.out.set()
    all_ended(server, event_ids)

    assert (200, 3, 1) == (status, told["data"]["concurrency"][0]["limit"], told["data"]["concurrency"][0]["declared"])
    assert 400 == server.request("PATCH", slug, {"concurrency": 0})[0]
    assert 400 == server.request("PATCH", slug, {"concurrency": 3, "concurrency_key": "nonsense"})[0]
    assert 404 == server.request("PATCH", "/v1/functions/nobody", {"concurrency": 3})[0]


def test_a_function_without_a_limit_can_be_given_one(server: Server, app: App):
    gauge = Gauge()

    @app.function("free", "c/free")
    def free(ctx: inngest.ContextSync) -> str:
        return gauge.work("free")

    app.serve([free])
    server.request("PATCH", f"/v1/functions/{app.app_id}-free", {"concurrency": 1})
    all_ended(server, send_all(server, "c/free", [{}] * 10))
    limited = gauge.most["free"]
    server.request("PATCH", f"/v1/functions/{app.app_id}-free", {"concurrency": None})
    all_ended(server, send_all(server, "c/free", [{}] * 3))

    assert (1, 13) == (limited, gauge.total["free"])


@pytest.mark.over_http("the form in which the SDK would declare it")
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the SDK has no word for this form yet
def test_a_limit_on_whole_runs_counts_a_run_from_its_start_to_its_end(server: Server, app: App):
    gauge = Gauge()
    begun = list[str]()

    @app.function("whole", "c/whole")
    def whole(ctx: inngest.ContextSync) -> str:
        if ctx.run_id not in begun:
            begun.append(ctx.run_id)
        # The app's own clock is not the one that is moved: later runs have to sleep longer by it.
        ctx.step.sleep("nap", timedelta(hours=1 + begun.index(ctx.run_id)))
        return ctx.step.run("a", lambda: gauge.work("awake"))

    whole.get_config = with_option(whole.get_config, {"fn": [{"limit": 1}]})  # type: ignore[method-assign]
    app.serve([whole])
    event_ids = send_all(server, "c/whole", [{}] * 3)
    for count in range(1, 4):
        until(lambda count=count: len(begun) == count, f"the start of run {count}")  # type: ignore[misc]
        [*_, present] = begun
        server.step(present, "nap", "Sleeping")
        assert count == len(begun)
        server.skip(timedelta(hours=1))
        server.run_ended(present)

    all_ended(server, event_ids)
    assert 3 == gauge.total["awake"]


def with_option(get_config: Any, concurrency: object) -> Any:
    """A function's declaration with this concurrency."""

    def changed(*args: Any, **options: Any) -> Any:
        found = get_config(*args, **options)
        made = found.main.model_copy(update={"concurrency": concurrency})
        return type(found)(main=made, on_failure=found.on_failure)

    return changed

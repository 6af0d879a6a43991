"""Rate limits, idempotency, debounce, batches, singletons, throttles, priority and pauses, as the app sees them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import inngest
import pytest

from tests.wire.harness import App, Server, request, until

pytestmark = pytest.mark.every_driver

#: What may take long on a busy machine; nothing is asserted about how long it takes.
PATIENCE = 60.0


class Seen:
    """What the app was called with, and when."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.data: list[Any] = []
        self.times: list[float] = []

    def note(self, data: Any) -> None:
        with self.lock:
            self.data.append(data)
            self.times.append(time.monotonic())

    def wait(self, count: int) -> None:
        until(lambda: len(self.data) >= count, f"{count} calls", lambda: str(self.data), PATIENCE)


def noting(app: App, name: str, seen: Seen, **options: Any) -> inngest.Function[Any]:
    """A function that notes its event."""

    @app.function(name, f"flow/{name}", **options)
    def note(ctx: inngest.ContextSync) -> object:
        seen.note(dict(ctx.event.data))
        return "noted"

    return note


def matched(app: App, event: str) -> tuple[Seen, inngest.Function[Any]]:
    """What tells that an event was matched: a function that is called for each."""
    seen = Seen()

    @app.function("watch", event)
    def watch(ctx: inngest.ContextSync) -> None:
        seen.note(dict(ctx.event.data))

    return seen, watch


def statuses(server: Server, event_ids: list[str]) -> Counter[str]:
    """The statuses of the events' runs, once each event has one and none is to begin."""

    def look() -> Counter[str] | None:
        found = Counter(run["status"] for it in event_ids for run in server.runs_of(it))
        return found if not {"Scheduled", "Running"} & set(found) else None

    return until(look, "the end of all runs", deadline=PATIENCE)


def send(server: Server, name: str, count: int, of: Callable[[int], object] = lambda n: {"n": n}) -> list[str]:
    return [server.send(f"flow/{name}", of(number)) for number in range(count)]


def test_a_rate_limited_function_is_called_exactly_so_often(server: Server, app: App) -> None:
    seen = Seen()
    limit = inngest.RateLimit(limit=4, period=timedelta(hours=1), key="event.data.customer")
    app.serve([noting(app, "rate", seen, rate_limit=limit)])

    event_ids = send(server, "rate", 24, lambda n: {"customer": n % 2})

    assert {"Completed": 8, "Skipped": 16} == statuses(server, event_ids)
    assert {0: 4, 1: 4} == Counter(data["customer"] for data in seen.data)
    runs = [(str(number % 2), run) for number, it in enumerate(event_ids) for run in server.runs_of(it)]
    key, skipped = next((key, run) for key, run in runs if run["status"] == "Skipped")
    [entry] = server.run(skipped["run_id"])["history"]
    assert ("skipped", "rate limit", key) == (entry["kind"], entry["data"]["reason"], entry["data"]["key"])
    server.skip(timedelta(hours=1))
    assert {"Completed": 4, "Skipped": 1} == statuses(server, send(server, "rate", 5, lambda n: {"customer": 0}))


def test_an_idempotency_key_is_used_once_a_day(server: Server, app: App) -> None:
    seen = Seen()
    app.serve([noting(app, "once", seen, idempotency="event.data.order")])

    first = statuses(server, send(server, "once", 6, lambda n: {"order": n % 3}))
    server.skip(timedelta(hours=24))
    second = statuses(server, send(server, "once", 3, lambda n: {"order": n}))

    assert ({"Completed": 3, "Skipped": 3}, {"Completed": 3}) == (first, second)
    assert {0: 2, 1: 2, 2: 2} == Counter(data["order"] for data in seen.data)


def test_a_debounced_function_is_called_once_with_the_last_event(server: Server, app: App) -> None:
    seen = Seen()
    debounce = inngest.Debounce(period=timedelta(seconds=30), key="event.data.user")
    known, watch = matched(app, "flow/calm")
    app.serve([noting(app, "calm", seen, debounce=debounce), watch])

    send(server, "calm", 20, lambda n: {"user": n % 2, "n": n})
    known.wait(20)
    early = list(seen.data)
    server.skip(timedelta(seconds=31))
    seen.wait(2)

    assert [] == early
    assert [{"user": 0, "n": 18}, {"user": 1, "n": 19}] == sorted(seen.data, key=lambda data: data["user"])


def test_a_debounce_ends_by_itself_at_its_time(server: Server, app: App) -> None:
    seen = Seen()
    app.serve([noting(app, "soon", seen, debounce=inngest.Debounce(period=timedelta(seconds=1)))])

    began = time.monotonic()
    server.send_all("flow/soon", [{"n": number} for number in range(3)])
    seen.wait(1)

    assert [{"n": 2}] == seen.data
    assert seen.times[0] - began >= 1


def test_a_batch_has_the_size_that_is_asked_for_and_the_rest_comes_in_time(server: Server, app: App) -> None:
    seen = Seen()

    @app.function("many", "flow/many", batch_events=inngest.Batch(max_size=10, timeout=timedelta(seconds=60)))
    def many(ctx: inngest.ContextSync) -> object:
        numbers = [event.data["n"] for event in ctx.events]
        seen.note(numbers)
        return ctx.step.run("sum", lambda: sum(numbers))

    known, watch = matched(app, "flow/many")
    app.serve([many, watch])
    event_ids = send(server, "many", 25)
    known.wait(25)
    until(lambda: len(set(map(tuple, seen.data))) == 2, "two full batches", deadline=PATIENCE)
    server.skip(timedelta(seconds=61))
    until(lambda: len(set(map(tuple, seen.data))) == 3, "the rest", deadline=PATIENCE)

    slug = f"{app.app_id}-many"
    found = {run["run_id"]: run["function"] for event_id in event_ids for run in server.runs_of(event_id, 2)}
    runs = [run_id for run_id, function in found.items() if function == slug]
    assert ["Completed"] * 3 == [server.run_ended(run_id)["status"] for run_id in runs]
    batches = {tuple(numbers) for numbers in seen.data}
    assert [5, 10, 10] == sorted(map(len, batches))
    assert list(range(25)) == sorted(number for numbers in batches for number in numbers)
    assert {sum(numbers) for numbers in batches} == {server.run(run_id)["output"] for run_id in runs}


@pytest.mark.over_http("in process nothing is too large for a request")
def test_a_batch_too_large_for_a_request_is_fetched_by_the_sdk(server: Server, app: App) -> None:
    seen = Seen()

    @app.function("large", "flow/large", batch_events=inngest.Batch(max_size=12, timeout=timedelta(seconds=60)))
    def large(ctx: inngest.ContextSync) -> object:
        seen.note(sorted(len(event.data["text"]) for event in ctx.events))
        return len(ctx.events)

    app.serve([large])
    [event_id, *_] = send(server, "large", 12, lambda n: {"text": "x" * (400_000 + n)})

    run = server.ended(event_id)
    assert ("Completed", 12) == (run["status"], run["output"])
    assert [400_000 + n for n in range(12)] == seen.data[0]
    assert app.calls(run["run_id"])[0].body["use_api"]


def test_of_a_singleton_that_skips_one_run_is_active(server: Server, app: App) -> None:
    gate, active, most = threading.Event(), Counter[str](), []

    @app.function("alone", "flow/alone", singleton=inngest.Singleton(mode="skip", key="event.data.key"))
    def alone(ctx: inngest.ContextSync) -> object:
        key = str(ctx.event.data["key"])
        active[key] += 1
        most.append(active[key])
        gate.wait(PATIENCE)
        active[key] -= 1
        return key

    app.serve([alone])
    [first] = send(server, "alone", 1, lambda n: {"key": "a"})
    server.runs_of(first)
    rest = send(server, "alone", 4, lambda n: {"key": "a"})
    [other] = send(server, "alone", 1, lambda n: {"key": "b"})
    for event_id in rest:
        server.runs_of(event_id)
    gate.set()

    assert {"Completed": 2} == statuses(server, [first, other])
    assert {"Skipped": 4} == statuses(server, rest)
    [run], [winner] = server.runs_of(rest[0]), server.runs_of(first)
    [entry] = server.run(run["run_id"])["history"]
    assert winner["run_id"] == entry["data"]["run_id"]
    assert 1 == max(most)
    assert {"Completed": 1} == statuses(server, send(server, "alone", 1, lambda n: {"key": "a"}))


def test_a_singleton_that_cancels_lets_the_newest_finish(server: Server, app: App) -> None:
    seen = Seen()

    @app.function("newest", "flow/newest", singleton=inngest.Singleton(mode="cancel"))
    def newest(ctx: inngest.ContextSync) -> object:
        ctx.step.sleep("nap", timedelta(hours=1))
        seen.note(ctx.event.data["n"])
        return "woken"

    app.serve([newest])
    event_ids = []
    for number in range(3):
        event_ids += send(server, "newest", 1, lambda _, n=number: {"n": n})
        [run] = server.runs_of(event_ids[-1])
        server.step(run["run_id"], "nap", "Sleeping")
    server.skip(timedelta(hours=1, seconds=1))

    assert {"Cancelled": 2, "Completed": 1} == statuses(server, event_ids)
    assert {2} == set(seen.data)


def test_a_throttled_function_is_called_at_its_pace_and_in_order(server: Server, app: App) -> None:
    seen = Seen()
    throttle = inngest.Throttle(limit=10, period=timedelta(seconds=2), burst=2)
    app.serve([noting(app, "slow", seen, throttle=throttle)])

    event_ids = send(server, "slow", 20)
    runs = [run for event_id in event_ids for run in server.runs_of(event_id)]
    begun = len(seen.data)
    seen.wait(20)

    assert 20 == len({run["run_id"] for run in runs})
    assert {"Completed": 20} == statuses(server, event_ids)
    # The calls are seen a little after they were begun, some more than others: so much of the period is for that.
    span = 1.5
    most = max(sum(one <= other < one + span for other in seen.times) for one in seen.times)
    assert most <= 12
    # Two may be seen in the wrong order, and while events are still being matched one may begin before an older one.
    waited = [data["n"] for data in seen.data[begun + 2 :]]
    assert all(abs(at - sorted(waited).index(number)) <= 2 for at, number in enumerate(waited)), waited


def test_a_throttle_without_a_burst_lets_start_after_start_go_without_delay(server: Server, app: App) -> None:
    seen = Seen()
    throttle = inngest.Throttle(limit=5, period=timedelta(seconds=1), burst=0)
    app.serve([noting(app, "even", seen, throttle=throttle)])

    send(server, "even", 21)
    seen.wait(21)

    # Twenty gaps of 0.2 s, the first call seen late at most by half of them; a timer that is not wound back when a run
    # begins adds seconds to each.
    took = max(seen.times) - min(seen.times)
    assert 2 < took < 25, seen.times


def test_a_run_of_priority_goes_before_those_that_wait(server: Server, app: App) -> None:
    seen = Seen()
    options = {
        "throttle": inngest.Throttle(limit=1, period=timedelta(seconds=60), burst=0),
        "priority": inngest.Priority(run="event.data.urgent ? 300 : 0"),
    }
    app.serve([noting(app, "urgent", seen, **options)])
    send(server, "urgent", 1, lambda n: {"n": 0, "urgent": False})
    seen.wait(1)
    for event_id in send(server, "urgent", 3, lambda n: {"n": n + 1, "urgent": n == 2}):
        server.runs_of(event_id)

    for count in range(2, 5):
        server.skip(timedelta(seconds=60))
        seen.wait(count)

    assert [0, 3, 1, 2] == [data["n"] for data in seen.data]


def test_who_invokes_a_run_that_is_skipped_is_told(server: Server, app: App) -> None:
    seen = Seen()
    target = noting(app, "target", seen, rate_limit=inngest.RateLimit(limit=1, period=timedelta(hours=1)))

    @app.function("caller", "flow/caller", retries=0)
    def caller(ctx: inngest.ContextSync) -> object:
        first = ctx.step.invoke("first", function=target, data={})
        try:
            ctx.step.invoke("second", function=target, data={})
        except inngest.StepError as error:
            return [first, error.message]
        return "never"

    app.serve([target, caller])
    run = server.ended(server.send("flow/caller"))

    assert ["noted", "the invoked run was skipped: rate limit"] == run["output"]


def test_a_paused_function_is_not_called_until_it_is_resumed(server: Server, app: App) -> None:
    seen = Seen()
    app.serve([noting(app, "paused", seen)])
    path = f"/v1/functions/{app.app_id}-paused"

    status, answer = server.request("POST", f"{path}/pause")
    skipped = statuses(server, send(server, "paused", 3))
    resumed = server.request("POST", f"{path}/resume")[1]["data"]
    completed = statuses(server, send(server, "paused", 1))

    assert (200, True, None) == (status, answer["data"]["paused_at"] is not None, resumed["paused_at"])
    assert ({"Skipped": 3}, {"Completed": 1}) == (skipped, completed)
    assert 404 == server.request("POST", "/v1/functions/nothing/pause")[0]


@pytest.mark.over_http("in process it is refused when the function is declared")
def test_what_cannot_be_combined_is_refused_when_it_is_declared(server: Server, app: App) -> None:
    seen = Seen()
    batch = inngest.Batch(max_size=2, timeout=timedelta(seconds=60))
    both = noting(app, "both", seen, batch_events=batch, singleton=inngest.Singleton(mode="skip"))
    app.serve([both], sync=False)

    _, answer = request("PUT", app.url, {})

    assert "batchEvents cannot be combined with singleton" in str(answer)


def test_a_throttle_is_changed_without_a_deploy_also_for_those_that_wait(server: Server, app: App) -> None:
    seen = Seen()
    throttle = inngest.Throttle(limit=1, period=timedelta(days=1), burst=0)
    app.serve([noting(app, "held", seen, throttle=throttle)])
    slug = f"/v1/functions/{app.app_id}-held"
    for number in range(5):
        server.runs_of(server.send("flow/held", {"n": number}))  # each is in the queue before the next is sent
    seen.wait(1)

    status, told = server.request("PATCH", slug, {"throttle": {"limit": 2, "period": "1s"}})
    seen.wait(5)

    assert (200, {"limit": 2, "period": "1s"}) == (status, told["data"]["throttle"])
    assert list(range(5)) == sorted(it["n"] for it in seen.data)
    # Spaced from the second on; the first came before the change.
    assert seen.times[4] - seen.times[1] > 0.75
    assert None is server.request("PATCH", slug, {"throttle": None})[1]["data"]["throttle"]
    assert 400 == server.request("PATCH", slug, {"throttle": {"limit": 1, "period": "soon"}})[0]


def test_a_rate_limit_is_changed_without_a_deploy(server: Server, app: App) -> None:
    seen = Seen()
    watched, watch = matched(app, "flow/rated")
    app.serve([noting(app, "rated", seen, rate_limit=inngest.RateLimit(limit=1, period=timedelta(hours=1))), watch])
    server.request("PATCH", f"/v1/functions/{app.app_id}-rated", {"rate_limit": {"limit": 3, "period": "1h"}})

    for number in range(6):
        server.send("flow/rated", {"n": number})
    watched.wait(6)
    seen.wait(3)

    # Which three is for the workers to say: they do not wait for each other.
    assert (3, 3) == (len(seen.data), len({it["n"] for it in seen.data}))

"""Flow control of functions in process, on Celery workers that are killed with -9: each kind keeps its promise.

The functions note when they are in and out, on the clock of the machine.  Who dies inside is in until their body is
made again and is out, as is their slot.  Four kills are less than the five crashes after which a job is buried.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.store import cure
from orchestrator.store.tables import jobs, runs, slots
from tests.cluster.shop import FILES, Shop
from tests.wire.harness import until

KILLS, WORKERS = 4, ("one", "two", "three")
PACE, PACE_SECONDS, PER_HOUR, BATCH = 6, 2.0, 3, 5
FUNCTIONS = """
import json, os, time
from datetime import timedelta
from pathlib import Path
from orchestrator import Batch, Concurrency, Debounce, Event, RateLimit, Singleton, Throttle
from shop.celery import durable

JOURNAL = os.open(Path(__file__).parents[1] / "flow", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


def note(ctx, what, step=""):
    told = [ctx.event.name, what, ctx.run_id, step, time.monotonic(), [event.data for event in ctx.events]]
    os.write(JOURNAL, (json.dumps(told) + "\\n").encode())


def work(ctx, step, span=0.05):
    def body():
        note(ctx, "in", step)
        time.sleep(span)
        note(ctx, "out", step)
    ctx.step.run(step, body)


def declare(kind, body, **options):
    durable.function(on=Event(kind), id=kind, retries=20, **options)(body)


def two(ctx):
    work(ctx, "one")
    work(ctx, "two")


def whole(ctx):
    work(ctx, "begin")
    ctx.step.sleep("nap", timedelta(milliseconds=200))
    work(ctx, "end")


declare("keyed", two, concurrency=(Concurrency(2, "event.data.user"), Concurrency(3)))
declare("whole", whole, concurrency=(Concurrency(2, whole_run=True),))
declare("throttled", lambda ctx: work(ctx, "it"), throttle=Throttle(6, 2 * SECOND, 0))
declare("rated", lambda ctx: work(ctx, "it"), rate_limit=RateLimit(3, HOUR, "event.data.user"))
declare("once", lambda ctx: work(ctx, "it"), idempotency="event.data.user")
declare("calm", lambda ctx: work(ctx, "it"), debounce=Debounce(2 * SECOND, "event.data.user"))
declare("many", lambda ctx: work(ctx, "it"), batch=Batch(5, 3 * SECOND))
declare("alone", lambda ctx: work(ctx, "it", 0.5), singleton=Singleton("skip", "event.data.user"))
"""
USERS = ("ann", "ben", "cleo", "dora")
#: Events that are sent by kind, a part of each before every kill.
SENT: dict[str, list[dict[str, Any]]] = {
    "keyed": [{"user": USERS[n % 4], "n": n} for n in range(80)],
    "whole": [{"n": n} for n in range(24)],
    "throttled": [{"n": n} for n in range(16)],
    "rated": [{"user": USERS[n % 4], "n": n} for n in range(32)],
    "once": [{"user": USERS[n % 4], "n": n} for n in range(16)],
    "many": [{"n": n} for n in range(38)],
    "alone": [{"user": USERS[n % 4], "n": n} for n in range(32)],
}

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]
Noted = tuple[str, str, str, float, list[dict[str, Any]]]


class Seen:
    """What the functions noted, and what became of their runs."""

    def __init__(self, shop: Shop, bursts: int) -> None:
        self.bursts = bursts
        self.noted = defaultdict[str, list[Noted]](list)
        for line in lines(shop):
            kind, what, run_id, step, at, events = json.loads(line)
            self.noted[kind].append((what, run_id, step, at, events))
        with shop.parts.database.read() as conn:
            self.statuses = {row.id: str(row.status) for row in conn.execute(select(runs.c.id, runs.c.status))}
            self.taken = conn.execute(select(slots.c.id)).all()
            self.miscounted = cure.miscounted(conn)

    def begun(self, kind: str) -> dict[str, tuple[float, list[dict[str, Any]]]]:
        """When each run of a kind was first in, and its events."""
        first = dict[str, tuple[float, list[dict[str, Any]]]]()
        for what, run_id, _, at, events in self.noted[kind]:
            if what == "in":
                first.setdefault(run_id, (at, events))
        return first

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events that runs of a kind began with."""
        return list(chain.from_iterable(events for _, events in self.begun(kind).values()))

    def most(self, kind: str, *, whole: bool = False, user: str | None = None) -> int:
        """The most steps, or whole runs, that were in at once; of one user only, if one is named."""
        spans = defaultdict[tuple[str, str], list[float]](list)
        for _, run_id, step, at, events in self.noted[kind]:
            if user is None or events[0]["user"] == user:
                spans[run_id, "" if whole else step].append(at)
        changes = sorted(chain.from_iterable(((min(it), 1), (max(it), -1)) for it in spans.values()))
        inside = most = 0
        for _, change in changes:
            inside += change
            most = max(most, inside)
        return most


def lines(shop: Shop) -> list[str]:
    file = shop.project / "flow"
    return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """All that happens; the tests look at what was noted."""
    chance = random.Random(int(os.environ.get("CHAOS_SEED", time.time_ns() % 1_000_000)))
    with Shop.made("rabbitmq", tmp_path_factory.mktemp("flow")) as shop:
        shop.write("shop/limited.py", FUNCTIONS)
        shop.write("shop/celery.py", FILES["shop/celery.py"].replace('"shop.functions"', '"shop.limited"'))
        for name in WORKERS:
            shop.worker(name)
        for turn in range(KILLS):
            before = len(lines(shop))
            for kind, data in SENT.items():
                shop.send_all(kind, data[turn::KILLS])
            shop.send_all("calm", [{"user": user, "turn": turn, "n": n} for n in range(4) for user in USERS])
            until(lambda before=before: len(lines(shop)) > before + 20, "work under way", shop.log, deadline=60)
            victim = chance.choice(WORKERS)
            shop.kill(victim)
            shop.worker(victim)
        until(lambda: not _left(shop), "the end of all work", lambda: f"{_left(shop)}\n{shop.log()}", deadline=120)
        yield Seen(shop, KILLS)


def _left(shop: Shop) -> list[Any]:
    with shop.parts.database.read() as conn:
        open_runs = select(runs.c.id, runs.c.status).where(runs.c.status.in_(("queued", "running")))
        return [*conn.execute(select(jobs.c.id, jobs.c.kind, jobs.c.state, jobs.c.run_at)), *conn.execute(open_runs)]


def numbers(seen: Seen, kind: str) -> list[int]:
    return sorted(it["n"] for it in seen.events(kind))


def test_no_more_steps_are_in_at_once_than_limits_by_key_and_in_all_allow(seen: Seen) -> None:
    assert (3, list(range(80))) == (seen.most("keyed"), numbers(seen, "keyed"))
    # Users take turns, so that there may be no moment at which one has both of theirs.
    assert {1, 2} >= {seen.most("keyed", user=user) for user in USERS}


def test_no_more_runs_are_under_way_than_a_limit_on_whole_runs_allows(seen: Seen) -> None:
    assert (2, list(range(24))) == (seen.most("whole", whole=True), numbers(seen, "whole"))


def test_throttled_starts_are_spaced_and_all_come(seen: Seen) -> None:
    times = sorted(at for at, _ in seen.begun("throttled").values())
    # A start whose worker is killed before its step is in counts then, and is seen later.
    most = max(sum(one <= other < one + PACE_SECONDS / 2 for other in times) for one in times)

    assert (True, list(range(16))) == (most <= PACE, numbers(seen, "throttled"))


def test_a_rate_limit_and_an_idempotency_key_let_exactly_so_many_start(seen: Seen) -> None:
    for kind, each in (("rated", PER_HOUR), ("once", 1)):
        users = [it["user"] for it in seen.events(kind)]
        assert dict.fromkeys(USERS, each) == {user: users.count(user) for user in USERS}, kind


def test_a_burst_is_debounced_to_its_last_event(seen: Seen) -> None:
    started = sorted((it["user"], it["turn"], it["n"]) for it in seen.events("calm"))

    # Bursts may follow one another sooner than a burst is over; the last one is never swallowed.
    assert {3} == {n for _, _, n in started}
    assert {(user, seen.bursts - 1, 3) for user in USERS} <= set(started)
    assert len(started) == len(set(started))


def test_batches_are_no_larger_than_they_may_be_and_hold_each_event_once(seen: Seen) -> None:
    sizes = [len(events) for _, events in seen.begun("many").values()]

    assert (True, list(range(38))) == (max(sizes) <= BATCH, numbers(seen, "many"))


def test_of_a_singleton_one_run_is_active(seen: Seen) -> None:
    assert {1} == {seen.most("alone", whole=True, user=user) for user in USERS}
    for user in USERS:
        mine = sorted(at for at, events in seen.begun("alone").values() if events[0]["user"] == user)
        assert all(later - sooner >= 0.5 for sooner, later in pairwise(mine))


def test_every_run_ends_and_no_slot_is_taken_or_miscounted(seen: Seen) -> None:
    assert {"completed", "skipped"} == set(seen.statuses.values())
    assert ([], []) == (seen.taken, seen.miscounted)

"""Limits while workers are killed with -9 at random: never exceeded as the app sees it, and every run ends.

A call whose worker was killed may still be at work in the app when it is made again.  It has one slot all the time, so
what is counted is runs, not requests.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import inngest
import pytest
from sqlalchemy import create_engine, text

from tests.wire.harness import App, request, until
from tests.wire.services import Services

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60")) / 4
USERS = ("ann", "ben", "cleo", "dora")
RUNS = 200

pytestmark = [pytest.mark.services, pytest.mark.timeout(SECONDS + 200)]


class Gauge:
    """Counts the runs that are inside at once, by name, and remembers the most."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside: dict[str, Counter[str]] = defaultdict(Counter)
        self.most = Counter[str]()

    @contextmanager
    def __call__(self, run_id: str, *names: str) -> Iterator[None]:
        with self.lock:
            for name in names:
                self.inside[name][run_id] += 1
                self.most[name] = max(self.most[name], len(+self.inside[name]))
        try:
            yield
        finally:
            with self.lock:
                for name in names:
                    self.inside[name][run_id] -= 1


def test_limits_hold_and_all_runs_end_while_workers_are_killed(tmp_path: Path):
    seed = int(os.environ.get("CHAOS_SEED", time.time_ns() % 1_000_000))
    gauge = Gauge()
    with Services.started("rabbitmq", tmp_path) as server:
        app = App(server.url, "limits", server.keys)
        app.serve([limited(app, gauge)], sync=False)
        assert 200 == request("PUT", app.url, {})[0]
        event_ids = [server.send("limits/run", {"user": USERS[at % len(USERS)]}) for at in range(RUNS)]

        kills = kill(server, random.Random(seed))
        for event_id in event_ids:
            until(lambda event_id=event_id: ended(server, event_id), "the end of a run", server.log, deadline=120)
        app.stop()
        until(lambda: {(0, 0)} == counts(server), f"no slot to be taken any more, not {counts(server)}", deadline=60)

    told = f"seed {seed}, {kills} kills: {dict(gauge.most)}"
    assert gauge.most["all"] == 5, told
    assert {gauge.most[user] for user in USERS} <= {1, 2}, told
    assert 2 in {gauge.most[user] for user in USERS}, told


def limited(app: App, gauge: Gauge) -> inngest.Function[object]:
    by_user = inngest.Concurrency(limit=2, key="event.data.user")

    @app.function("run", "limits/run", retries=20, concurrency=[by_user, inngest.Concurrency(limit=5)])
    def run(ctx: inngest.ContextSync) -> str:
        def work() -> str:
            with gauge(ctx.run_id, "all", str(ctx.event.data["user"])):
                time.sleep(0.04)
            return "done"

        ctx.step.run("one", work)
        return ctx.step.run("two", work)

    return run


def kill(server: Services, chance: random.Random) -> int:
    workers = [name for name in server.names if name != "web"]
    begin, kills = time.monotonic(), 0
    while time.monotonic() - begin < SECONDS:
        time.sleep(chance.uniform(0.2, 2.0))  # this is the chaos, not a wait for something
        server.kill(chance.choice(workers))
        kills += 1
        server.start()
    return kills


def ended(server: Services, event_id: str) -> bool:
    found = server.request("GET", f"/v1/events/{event_id}/runs")[1]["data"]
    assert len(found) <= 1
    assert not found or found[0]["status"] in ("Scheduled", "Running", "Completed"), found
    return bool(found) and found[0]["status"] == "Completed"


def counts(server: Services) -> set[tuple[int, int]]:
    """What is taken and who waits, of all pools."""
    engine = create_engine(server.database_url)
    with engine.connect() as conn:
        found = {(row.used, row.waiting) for row in conn.execute(text("SELECT used, waiting FROM pools"))}
    engine.dispose()
    return found or {(0, 0)}

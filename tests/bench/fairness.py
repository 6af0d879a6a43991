"""One key with very many waiting calls, and how long the first call of another key takes: on PostgreSQL and RabbitMQ.

    python -m tests.bench.fairness --parked 10000 --newcomers 20

A function has a limit by key and one in all, of two.  Events of one key are sent until so many of its calls are parked
at the limit in all; then others come, one key after the other, each with one event.  What counts is the time from their
event to their first call, which waits for one of the two slots, too.  At the end the limit is lifted, and all must end.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import inngest
from sqlalchemy import create_engine, text

from tests.bench.figures import percentile
from tests.bench.stage import tell
from tests.wire.harness import App, request
from tests.wire.services import Services

#: How long a call of the busy key stays at work.
SPAN = 0.2
_PARKED = text("SELECT coalesce(sum(waiting), 0) FROM pools")
_LEFT = text("SELECT count(*) FROM runs WHERE status IN ('queued', 'running')")
_BUNDLE, _AHEAD = 250, 1_000


class Callers:
    """The app's function, and when it was called for whom."""

    def __init__(self, app: App) -> None:
        self.began: dict[str, float] = {}
        self.busy = 0
        self.span = SPAN
        self.lock = threading.Lock()
        limits = [inngest.Concurrency(limit=1_000_000, key="event.data.user"), inngest.Concurrency(limit=2)]

        @app.function("one", "fair/one", concurrency=limits)
        def one(ctx: inngest.ContextSync) -> str:
            user = str(ctx.event.data["user"])
            with self.lock:
                self.began.setdefault(user, time.monotonic())
                self.busy += user == "busy"
            time.sleep(self.span)
            return "done"

        self.functions = [one]


def measure(folder: Path, parked: int, newcomers: int) -> None:
    """Say what it comes to."""
    with Services.started("rabbitmq", folder) as server:
        app = App(server.url, "fair", server.keys)
        callers, engine = Callers(app), create_engine(server.database_url)
        app.serve(callers.functions)

        def send(users: list[str]) -> None:
            body = [{"name": "fair/one", "data": {"user": user}} for user in users]
            assert request("POST", f"{server.url}/e/{server.keys.event}", body)[0] == 200

        def count(what: object) -> int:
            with engine.connect() as conn:
                return int(conn.execute(what).scalar_one())  # type: ignore[call-overload]

        began, sent = time.monotonic(), 0
        while (waiting := count(_PARKED)) < parked:
            if count(_LEFT) - waiting < _AHEAD:
                send(["busy"] * _BUNDLE)
                sent += _BUNDLE
            time.sleep(0.1)
        while count(_LEFT) - (waiting := count(_PARKED)) > 2:
            time.sleep(0.1)
        tell(f"{waiting} parked of {sent} after {time.monotonic() - began:.0f} s")
        delays = list[float]()
        for number in range(newcomers):
            user, at = f"user {number}", time.monotonic()
            send([user])
            while user not in callers.began:
                time.sleep(0.002)
            delays.append((callers.began[user] - at) * 1000)
        told = ", ".join(f"{name} {percentile(delays, part):.0f} ms" for name, part in (("p50", 0.5), ("p99", 0.99)))
        tell(f"first calls of {newcomers} other keys, {count(_PARKED)} parked: {told}, slowest {max(delays):.0f} ms")
        tell(f"  one by one: {', '.join(f'{delay:.0f}' for delay in delays)}")
        callers.span, began = 0.0, time.monotonic()
        assert 200 == server.request("PATCH", "/v1/functions/fair-one", {"concurrency": 64, "concurrency_key": ""})[0]
        while left := count(_LEFT):
            tell(f"  {left} left")
            time.sleep(5)
        tell(f"all {sent + newcomers} ended {time.monotonic() - began:.0f} s later, with {callers.busy} busy calls")
        app.stop()
        engine.dispose()


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fairness", description=__doc__)
    parser.add_argument("--parked", type=int, default=10_000)
    parser.add_argument("--newcomers", type=int, default=20)
    asked = parser.parse_args()
    with TemporaryDirectory(prefix="fair-") as folder:
        measure(Path(folder), asked.parked, asked.newcomers)


if __name__ == "__main__":
    main()

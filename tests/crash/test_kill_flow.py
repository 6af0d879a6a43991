"""What waits in a debounce, a batch or behind a throttle is there after the server was killed with -9 at any moment."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import inngest
import pytest

from tests.crash.process import DevProcess
from tests.wire.harness import App, request, until

pytestmark = pytest.mark.timeout(180)

#: What a sender sees of a server that dies while answering.
GONE = (OSError, http.client.HTTPException)
PATIENCE = 60.0
DATA = {"many": range(7), "calm": range(3), "slow": range(4), "rare": range(5)}


class Flow:
    """An app with a function of each kind, which notes what each run was started with."""

    def __init__(self, server_url: str) -> None:
        self.app = App(server_url, "kill")
        self.lock = threading.Lock()
        self.runs: dict[str, dict[str, list[int]]] = {name: {} for name in DATA}
        options: dict[str, dict[str, Any]] = {
            "many": {"batch_events": inngest.Batch(max_size=3, timeout=timedelta(seconds=2))},
            "calm": {"debounce": inngest.Debounce(period=timedelta(seconds=1))},
            "slow": {"throttle": inngest.Throttle(limit=5, period=timedelta(seconds=1), burst=0)},
            "rare": {"rate_limit": inngest.RateLimit(limit=2, period=timedelta(hours=1))},
        }
        functions = [self.app.function(name, f"kill/{name}", **options[name])(self._noting(name)) for name in DATA]
        self.app.serve(functions, sync=False)

    def sync(self) -> None:
        assert 200 == request("PUT", self.app.url, {})[0]

    def done(self) -> bool:
        """Whether every event that must lead to a run has."""
        with self.lock:
            started = {name: [it for run in self.runs[name].values() for it in run] for name in DATA}
        complete = all(set(DATA[name]) <= set(started[name]) for name in ("many", "slow"))
        return complete and bool(started["calm"]) and len(started["rare"]) >= 2

    def _noting(self, name: str) -> Any:
        def note(ctx: inngest.ContextSync) -> None:
            with self.lock:
                self.runs[name][ctx.run_id] = [event.data["n"] for event in ctx.events]

        return note


@pytest.fixture
def flow(server: DevProcess) -> Iterator[Flow]:
    made = Flow(server.url)
    yield made
    made.app.stop()


def send_all(server: DevProcess) -> bool:
    """Send the events, whose ids say that they are the same if they are sent again; False: the server died."""
    body = [
        {"name": f"kill/{name}", "id": f"{name}-{number}", "data": {"n": number}}
        for name, numbers in DATA.items()
        for number in numbers
    ]
    try:
        return request("POST", f"{server.url}/e/test", body)[0] == 200
    except GONE:
        return False


def dies(server: DevProcess, flow: Flow) -> None:
    """Wait until the server is dead, by its own hand or, where it has not come so far, by ours."""
    until(lambda: flow.done() or not server.alive(), "a death or the end", deadline=PATIENCE)
    server.kill()


@pytest.mark.parametrize(
    ("commit", "moment"), [(1, "after"), (2, "before"), (2, "after"), (4, "before"), (5, "after"), (9, "after")]
)
def test_a_death_around_a_commit_loses_no_event_and_breaks_no_promise(
    server: DevProcess, flow: Flow, commit: int, moment: str
) -> None:
    server.start(kill_at=commit, moment=moment)
    flow.sync()

    answered = send_all(server)
    dies(server, flow)
    server.start()
    assert answered or send_all(server)
    until(flow.done, "all runs", lambda: f"{flow.runs}\n{server.log()}", PATIENCE)

    batches = list(flow.runs["many"].values())
    assert list(DATA["many"]) == sorted(number for batch in batches for number in batch)
    assert all(len(batch) <= 3 for batch in batches), batches
    assert [[number] for number in DATA["slow"]] == sorted(flow.runs["slow"].values())
    assert [[2]] == list(flow.runs["calm"].values())
    assert 2 == len(flow.runs["rare"])

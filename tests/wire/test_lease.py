"""A step that takes longer than a lease keeps it: its process prolongs what it holds, whatever the driver."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import inngest
import pytest

from orchestrator.store.tables import jobs
from tests.wire.harness import App, Embedded
from tests.wire.inprocess import LocalApp

pytestmark = pytest.mark.every_driver

LEASE = timedelta(seconds=1)


@pytest.fixture
def server() -> Iterator[Embedded]:
    made = Embedded(lease=f"{LEASE.seconds}s")
    yield made
    made.stop()


def lease_of(server: Embedded, run_id: str) -> tuple[int, datetime]:
    """Generation and end of the lease of the run's one job."""
    with server.embedded.parts.database.read() as conn:
        [row] = conn.execute(jobs.select().where(jobs.c.run_id == run_id)).all()
        return row.generation, row.lease_until


def test_a_step_of_three_leases_keeps_its_lease_and_runs_once(server: Embedded, app: App | LocalApp):
    calls = Counter[str]()
    leases = []

    @app.function("long", "lease/long")
    def long(ctx: inngest.ContextSync) -> object:
        def until_prolonged() -> str:
            calls["long"] += 1
            leases.append(lease_of(server, ctx.run_id))
            end = time.monotonic() + 40
            while leases[-1][1] < leases[0][1] + 3 * LEASE:
                assert time.monotonic() < end, leases
                time.sleep(0.05)
                leases.append(lease_of(server, ctx.run_id))
            return "kept"

        kept = ctx.step.run("long", until_prolonged)
        return [kept, ctx.step.run("next", lambda: calls.update(["next"]))]

    app.serve([long])
    run = server.ended(server.send("lease/long"))

    assert ("Completed", ["kept", None]) == (run["status"], run["output"])
    assert Counter(long=1, next=1) == calls
    assert 1 == len({generation for generation, _ in leases})
    assert [] == [entry for entry in run["history"] if "lease" in entry["kind"]]

"""A worker starved for longer than its leases last: its calls are made again, and what it brings late is refused."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import inngest
import pytest

from orchestrator.store import schema
from tests.cluster.evidence import Evidence
from tests.services import own_database
from tests.wire import brokers
from tests.wire.harness import App, until
from tests.wire.services import Services

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

#: As short as can be told apart from a machine that stands still for some seconds.
LEASE = "10s"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with own_database("postgresql") as url, brokers.broker("sqs", tmp_path) as told:
        schema.upgrade(url)
        running = Services(tmp_path, url, {**told, "ORCHESTRATOR_LEASE": LEASE})
        try:
            running.start()
            yield running
        finally:
            running.stop()


@pytest.fixture
def app(services: Services) -> Iterator[App]:
    made = App(services.url, "starved", services.keys)
    yield made
    made.stop()


def test_what_a_worker_brings_after_its_lease_has_passed_to_another_changes_nothing(services: Services, app: App):
    entered = [threading.Event(), threading.Event()]
    gate, bodies = threading.Event(), list[int]()

    @app.function("slow", "starved/slow")
    def slow(ctx: inngest.ContextSync) -> object:
        def body() -> int:
            bodies.append(len(bodies))
            entered[bodies[-1]].set()
            return len(bodies) if len(bodies) > 1 else stopped.wait(40) * 100

        def held() -> bool:
            return gate.wait(60)

        return [ctx.step.run("slow", body), ctx.step.run("held", held)]

    stopped = threading.Event()
    app.serve([slow])
    event_id = services.send("starved/slow")
    assert entered[0].wait(20)

    name = services.holder()
    os.killpg(services.processes[name].pid, signal.SIGSTOP)
    try:
        stopped.set()  # The answer comes while nobody is there to read it.
        assert entered[1].wait(40)
        [run] = services.runs_of(event_id)
        stored = services.step(run["run_id"], "slow", "Completed")
    finally:
        os.killpg(services.processes[name].pid, signal.SIGCONT)
    until(lambda: '"lease lost"' in services.said(name), "the refusal of the late answer", services.log)
    afterwards = services.run(run["run_id"])
    gate.set()

    assert stored in afterwards["steps"]
    assert [] == afterwards["history"]
    assert ("Completed", [2, True]) == ((ended := services.ended(event_id))["status"], ended["output"])
    assert 2 == len(bodies)
    # The worker itself tells why it lost the lease, as does the one that took it.
    evidence = Evidence.of_logs([services.said(name) for name in services.names])
    [taken] = [it for it in evidence.told if it.what == "lease recovered"]
    assert taken.about["owner"] in services.said(name)
    assert evidence.starved(taken)

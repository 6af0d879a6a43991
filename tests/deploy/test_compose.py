"""The whole compose file, built and run: it serves an app, and outlives a killed worker and a restarted database."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import inngest
import pytest

from tests.crash.process import free_port
from tests.deploy.engine import (
    BUILD_LIMIT,
    FOLDER,
    POSTGRESQL,
    PYTHON,
    RABBITMQ,
    RUN_LIMIT,
    build,
    require_engine,
    run,
    works,
)
from tests.wire.harness import App, Keys, Server, ShiftedClock, request, until

pytestmark = [pytest.mark.services, pytest.mark.timeout(BUILD_LIMIT + 3 * RUN_LIMIT)]

#: Seconds for what takes containers that start, are found unhealthy, and start again.
PATIENCE = 120.0


class Site(Server):
    """What `compose up` brings up, on a port of its own and with two workers."""

    keys = Keys()

    def __init__(self, folder: Path, engine: str) -> None:
        self.clock = ShiftedClock()
        self.project = f"orchestrator-test-{os.getpid()}"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        told = {
            "ORCHESTRATOR_IMAGE": build(engine),
            "POSTGRES_IMAGE": os.environ[POSTGRESQL],
            "RABBITMQ_IMAGE": os.environ[RABBITMQ],
            "ORCHESTRATOR_SIGNING_KEY": self.keys.signing,
            "ORCHESTRATOR_EVENT_KEYS": self.keys.event,
            # Engines give networks of their own addresses out of these.
            "ORCHESTRATOR_ALLOWED_NETWORKS": "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16",
            "PORT": str(port),
        }
        variables = folder / "variables"
        variables.write_text("".join(f"{name}={value}\n" for name, value in told.items()))
        self._engine = engine
        self._compose = [engine, "compose", "-p", self.project, "--env-file", str(variables)]
        self._compose += ["-f", str(FOLDER / "compose.yaml")]

    def up(self) -> None:
        """Bring everything up, and wait until the web can answer."""
        self.do("up", "--detach", "--no-build", "--scale", "worker=2")
        until(lambda: self.answers("/ready"), "the web", self.log, deadline=PATIENCE)

    def down(self) -> None:
        """Take everything down, and the volume with it."""
        self.do("down", "--volumes", "--remove-orphans")

    def left(self) -> list[str]:
        """What is still there of it."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
        found = [run([self._engine, *kind, "--quiet", "--filter", label]) for kind in kinds]
        return [line for it in found for line in it.stdout.split()]

    def do(self, *words: str) -> str:
        """Have compose do something; returns what it said."""
        done = run([*self._compose, *words])
        assert 0 == done.returncode, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}\n{self.log()}"
        return done.stdout

    def answers(self, path: str) -> bool:
        """Whether the web says 200."""
        try:
            return bool(request("GET", self.url + path)[0] == 200)
        except OSError:
            return False

    def well(self) -> bool:
        """Whether all containers that look after their health have found it to be good."""
        lines = self.do("ps", "--format", "json").splitlines()
        health = {it["Name"]: it["Health"] for it in map(json.loads, lines) if it["Service"] != "rabbitmq"}
        return len(health) == 4 and {"healthy"} == set(health.values())

    def workers(self) -> dict[str, str]:
        """The workers' containers, and what they have said."""
        return {it: self._logged(it) for it in self.do("ps", "--all", "--quiet", "worker").split()}

    def holder(self) -> str:
        """The worker that holds the one lease there is."""
        asked = "SELECT owner FROM jobs WHERE state = 3"
        [owner] = self.do("exec", "-T", "postgresql", "psql", "-U", "orchestrator", "-Atc", asked).split()
        return next(it for it, said in self.workers().items() if owner in said)

    def kill_within(self, container: str) -> None:
        """Kill everything in a container with -9, as if it had crashed: to `kill` it would be an order to stay down."""
        run([self._engine, "exec", container, "sh", "-c", "kill -9 -1"])

    def host_as_seen_within(self) -> str:
        """The address of this machine on the network of the containers."""
        form = "{{(index .IPAM.Config 0).Gateway}}"
        return run([self._engine, "network", "inspect", f"{self.project}_default", "--format", form]).stdout.strip()

    def log(self) -> str:
        return run([*self._compose, "logs", "--no-color", "--tail", "25"]).stdout[-8000:]

    def _logged(self, container: str) -> str:
        done = run([self._engine, "logs", container])
        return done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    [engine] = require_engine(PYTHON, POSTGRESQL, RABBITMQ)
    if not works(engine, "compose", "version"):
        pytest.skip(f"{engine} has no compose here; this may be so in CI, too")
    made = Site(tmp_path, engine)
    try:
        made.up()
        yield made
    finally:
        made.down()


class Held:
    """An app on the host whose one step can be held up."""

    def __init__(self, site: Site) -> None:
        self.entered = threading.Semaphore(0)
        self.leave = threading.Event()
        self.app = App(site.url, "composed", site.keys, host="0.0.0.0")
        self.app.serve([self._function()], sync=False)
        url = f"http://{site.host_as_seen_within()}:{self.app.port}/api/inngest"
        assert 200 == request("PUT", url, {})[0]

    def _function(self) -> object:
        @self.app.function("sum", "composed/sum", retries=5)
        def total(ctx: inngest.ContextSync) -> object:
            first = ctx.step.run("first", lambda: 1)
            return first + ctx.step.run("held", self._body)

        return total

    def _body(self) -> int:
        self.entered.release()
        assert self.leave.wait(PATIENCE)
        return 2


def test_the_compose_file_serves_an_app_and_outlives_a_killed_worker_and_a_restarted_database(site: Site) -> None:
    found = json.loads(site.do("exec", "-T", "worker", "orchestrator", "doctor", "--json"))["checks"]
    assert {"ok"} == {it["verdict"] for it in found if it["check"] in ("database", "broker", "workers")}, found
    held = Held(site)

    # A run, as usual.
    held.leave.set()
    assert ("Completed", 3) == _ended(site, site.send("composed/sum"))
    assert held.entered.acquire(timeout=1)

    # A worker that dies in the middle of a step: its run goes on elsewhere, and the engine brings it back.
    held.leave.clear()
    event_id = site.send("composed/sum")
    assert held.entered.acquire(timeout=PATIENCE)
    killed = site.holder()
    site.kill_within(killed)
    assert held.entered.acquire(timeout=PATIENCE)
    held.leave.set()
    assert ("Completed", 3) == _ended(site, event_id)
    until(lambda: site.workers()[killed].count('"worker ready"') == 2, "the worker's return", site.log, PATIENCE)

    # The database restarted in the middle of a step: nothing is lost.
    held.leave.clear()
    event_id = site.send("composed/sum")
    assert held.entered.acquire(timeout=PATIENCE)
    site.do("restart", "postgresql")
    held.leave.set()
    until(lambda: site.answers("/ready"), "the web after the restart", site.log, PATIENCE)
    assert ("Completed", 3) == _ended(site, event_id)

    until(site.well, "the health of all containers", lambda: site.do("ps"), PATIENCE)
    held.app.stop()
    site.down()
    assert [] == site.left()


def _ended(site: Site, event_id: str) -> tuple[str, object]:
    run = site.ended(event_id)
    return run["status"], run["output"]

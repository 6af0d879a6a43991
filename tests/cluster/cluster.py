"""A whole production site that can be hurt at any place: two web processes, and workers of each kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import kombu

from orchestrator.queue.broker import EXECUTOR_QUEUE, RUNNER_QUEUE, app_queue
from orchestrator.store import schema
from tests.cluster.accounting import Disturbance, Ledger, LedgerFile
from tests.cluster.evidence import Evidence, evidence_of
from tests.cluster.ground import BROKERS, SQS, Broker, PostgreSQL, Redis, ground
from tests.cluster.link import Link, Network
from tests.crash.process import ROOT, free_port
from tests.wire.harness import Keys, Server, ShiftedClock, request, until
from tests.wire.services import CELERY, GUNICORN

WEBS = ("web0", "web1")
#: Seconds a sender waits for an answer.
PATIENCE = 4.0
#: Workers that call apps over HTTP; one that holds an app, and one of a user's own Celery application that does.
WORKERS = ("worker0", "worker1", "inside0", "attached0")


class Cluster(Server):
    """Each process has its own links to the database and the broker."""

    keys = Keys()

    def __init__(self, folder: Path, database: PostgreSQL, broker: Broker) -> None:
        self.clock = ShiftedClock()
        self.database, self.broker = database, broker
        #: The broker of each process; one that is started anew may have another than before.
        self.brokers: dict[str, Broker] = {}
        #: The checkout that a process is started from, where it is not this one.
        self.homes: dict[str, Path] = {}
        self.folder = folder
        self.network = Network()
        self.names = [*WEBS, *WORKERS]
        self.database_links = {name: self.network.link(database.port) for name in self.names}
        self.broker_links = dict[str, Link]()
        self.take_broker(broker, *self.names)
        self.ports = {name: free_port() for name in WEBS}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.by_pid: dict[int, str] = {}
        self.disturbances: list[Disturbance] = []
        #: Processes that ended though nobody had told them to.
        self.ended_alone: list[str] = []
        self.deaths = Counter[str]()
        self._log_begins: dict[str, int] = {}
        self.ledger = Ledger()
        self.ledger_file = LedgerFile(folder / "ledger", self.ledger)

    @contextmanager
    def another_broker(self, name: str) -> Iterator[Broker]:
        """One beside the first, for `take_broker`."""
        folder = self.folder / f"another-{name}"
        folder.mkdir()
        made = BROKERS[name](folder)
        try:
            made.start()
            yield made
        finally:
            made.kill()

    @classmethod
    @contextmanager
    def started(cls, broker: str, former: Path | None = None) -> Iterator[Cluster]:
        """A site on a database and a broker of its own, all of it running: this code, or that of another checkout."""
        with ground(broker) as (database, queue), tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            made = cls(Path(folder), database, queue)
            made.homes = {name: former for name in made.names if former is not None}
            made.upgrade(former)
            try:
                for name in made.names:
                    made.start(name)
                made.wait_until_ready()
                yield made
            finally:
                made.end()

    @property
    def url(self) -> str:  # type: ignore[override]
        """A web process that runs."""
        name = next((name for name in WEBS if name in self.processes), WEBS[0])
        return self.url_of(name)

    def url_of(self, web: str) -> str:
        return f"http://127.0.0.1:{self.ports[web]}"

    def take_broker(self, broker: Broker, *names: str) -> None:
        """From their next start on these processes have this broker."""
        for name in names:
            self.brokers[name] = broker
            self.broker_links[name] = self.network.link(broker.port)

    def upgrade(self, home: Path | None = None) -> None:
        """Upgrade the database to what this code has, or that of another checkout."""
        url = self.database.url(self.database.port)
        if home is None:
            schema.upgrade(url)
            return
        command = [str(Path(_python(home)).with_name("orchestrator")), "db", "upgrade"]
        subprocess.run(command, cwd=home, env=os.environ | {"DATABASE_URL": url}, check=True)

    def start(self, name: str) -> None:
        """Start a process, without waiting for it."""
        self._log_begins[name] = len(self.said(name))
        with (self.folder / f"{name}.log").open("ab") as log:
            home = self.homes.get(name, ROOT)
            process = subprocess.Popen(
                [_python(home), "-m", *self._command(name)], cwd=home, env=self._environment(name),
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes[name] = process
        self.by_pid[process.pid] = name

    def kill(self, name: str) -> None:
        """Kill a process and its children with -9."""
        process = self.processes.pop(name)
        self.disturb("kill", name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        self.deaths["kill"] += 1

    def terminate(self, name: str) -> int:
        """End a process as a rolling deploy does; returns its exit code.  It must be gone within its ten seconds."""
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(15)

    def disturb(self, what: str, whom: str, lasts: float = 0.0, begin: float | None = None) -> None:
        """Note that something is done to somebody, from now on or from `begin` until `lasts` seconds from now."""
        now = time.time()
        self.disturbances.append(Disturbance(what, whom, begin or now, now + lasts))

    def heal(self) -> None:
        """Start anew what ended by itself, as a platform does; and remember that it did."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.ended_alone.append(f"{name} ended with {process.returncode}\n{self.said(name)[-2000:]}")
                self.disturb("ended alone", name)
                self.processes.pop(name)
                self.start(name)

    def wait_until_ready(self) -> None:
        """Wait until all web processes answer and all workers have begun."""
        until(self._ready, "the cluster", self.log, deadline=90)

    def wipe_broker(self) -> None:
        """Delete everything the broker has, also what it knows of queues where it is Redis."""
        with kombu.Connection(self.broker.url(self.broker.port)) as connection:
            channel = connection.channel()
            if isinstance(self.broker, Redis):
                channel.client.flushall()
                return
            if isinstance(self.broker, SQS):
                self.broker.reset()
                return
            for name in (RUNNER_QUEUE, EXECUTOR_QUEUE, app_queue("inside")):
                channel.queue_purge(name)

    def send_to(self, web: str, name: str, data: object, patience: float = PATIENCE) -> str:
        """Send one event to a web process; returns its id.

        Raises `OSError` and `http.client.HTTPException` as a sender who does not wait long sees them.
        """
        body = json.dumps({"name": name, "data": data}).encode()
        url = f"{self.url_of(web)}/e/{self.keys.event}"
        asked = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=patience) as answer:
            return str(json.loads(answer.read())["ids"][0])

    def said(self, name: str) -> str:
        """What all processes of this name have said."""
        file = self.folder / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def evidence(self) -> Evidence:
        """What the processes told about bodies that ran again."""
        logs = [self.said(name) for name in self.names]
        return evidence_of(self.ledger, logs, self.run)

    def log(self) -> str:
        """The end of what each process said."""
        return "\n".join(f"== {name}\n{self.said(name)[-2000:]}" for name in self.names)

    def end(self) -> None:
        """Kill everything that is left."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        self.network.stop()

    def _command(self, name: str) -> list[str]:
        if name in WEBS:
            return GUNICORN
        if name.startswith("attached"):  # nothing but Celery tells when a user's own worker is ready
            app = ["tests.cluster.inside" if word == "orchestrator" else word for word in CELERY]
            return [*app, "--loglevel", "info", "-n", f"{name}@%h"]
        return [*CELERY, "--loglevel", "warning", "-n", f"{name}@%h"]

    def _environment(self, name: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ORCHESTRATOR_", "INNGEST_"))}
        kept |= {"ORCHESTRATOR_APPS": "tests.cluster.inside"} if name.startswith("inside") else {}
        kept |= {"CHAOS_ATTACHED": "1"} if name.startswith("attached") else {}
        return kept | {
            "ORCHESTRATOR_BROKER_URL": self.brokers[name].url(self.broker_links[name].port),
            "DATABASE_URL": self.database.url(self.database_links[name].port),
            "ORCHESTRATOR_SIGNING_KEY": self.keys.signing,
            "ORCHESTRATOR_EVENT_KEYS": self.keys.event,
            "ORCHESTRATOR_ALLOWED_NETWORKS": "127.0.0.0/8",
            "ORCHESTRATOR_QUEUE_WORKERS": "16",
            "CHAOS_LEDGER": str(self.folder / "ledger"),
            "PORT": str(self.ports.get(name, 0)),
            "WEB_CONCURRENCY": "1",
            "PYTHONPATH": ".",
        }

    def answers(self, web: str) -> bool:
        """Whether a web process serves."""
        try:
            return bool(request("GET", f"{self.url_of(web)}/health")[0] == 200)
        except OSError:
            return False

    def _ready(self) -> Any:
        self.heal()
        workers = all(" ready" in self._said_last(name) for name in WORKERS)
        return workers and all(self.answers(web) for web in WEBS)

    def _said_last(self, name: str) -> str:
        """What the process of this name that was started last has said."""
        return self.said(name)[self._log_begins[name] :]


def _python(home: Path) -> str:
    """The interpreter of a checkout, which has its own environment if it is another one."""
    return sys.executable if home == ROOT else str(home / ".venv" / "bin" / "python")

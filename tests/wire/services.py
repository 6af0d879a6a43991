"""The server as it runs in production: gunicorn and two Celery workers on PostgreSQL and a broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import kombu
from sqlalchemy import create_engine, text

from orchestrator.queue.broker import EXECUTOR_QUEUE, RUNNER_QUEUE, queue
from orchestrator.store import schema
from orchestrator.store.tables import metadata
from tests.crash.process import ROOT, free_port
from tests.services import own_database, require
from tests.wire.harness import Keys, Server, ShiftedClock, request, until

CELERY = ["celery", "-A", "orchestrator", "worker", "--without-gossip", "--without-mingle", "--without-heartbeat"]
GUNICORN = ["gunicorn", "-c", "python:orchestrator.api.gunicorn_conf", "orchestrator.api.wsgi:app"]


class FileClock(ShiftedClock):
    """The clock of other processes, moved by way of a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.reset()

    def skip(self, span: timedelta) -> None:
        super().skip(span)
        self._write()

    def reset(self) -> None:
        self._skipped = timedelta()
        self._write()

    def _write(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(str(self._skipped.total_seconds()))
        fresh.rename(self.file)


class Services(Server):
    """One web process and some workers, each of which can be killed."""

    keys = Keys()

    def __init__(self, folder: Path, database_url: str, broker_url: str, workers: int = 2) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.clock = FileClock(folder / "clock")
        self.database_url = database_url
        self.broker_url = broker_url
        self._folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._begun = Counter[str]()
        self.names = ["web", *(f"worker{number}" for number in range(workers))]

    @classmethod
    @contextmanager
    def started(cls, broker: str, folder: Path, workers: int = 2) -> Iterator[Services]:
        """Run on a database of one's own; the broker's queues are emptied first."""
        broker_url = require(broker)
        if broker == "redis":
            broker_url = f"{broker_url.rpartition('/')[0]}/9"
        with own_database("postgresql") as database_url:
            schema.upgrade(database_url)
            running = cls(folder, database_url, broker_url, workers)
            running.purge()
            try:
                running.start()
                yield running
            finally:
                running.stop()

    def start(self) -> None:
        """Start what does not run, and wait until it works."""
        for name in self.names:
            if name not in self.processes:
                self.processes[name] = self._begin(name)
        until(self._ready, "the services", self.log)

    def kill(self, name: str) -> None:
        """Kill a process and its children with -9."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def stop(self) -> None:
        """End everything as a platform does: TERM, and no mercy for what takes more than ten seconds."""
        for process in self.processes.values():
            process.terminate()
        late = []
        for name, process in self.processes.items():
            try:
                process.wait(12)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
                late.append(name)
        self.processes.clear()
        assert [] == late, f"did not end in time: {late}\n{self.log()}"

    def reset(self) -> None:
        """Empty the database and set the clock right."""
        self.clock.reset()
        engine = create_engine(self.database_url)
        with engine.begin() as conn:
            names = ", ".join(table.name for table in metadata.sorted_tables)
            conn.execute(text(f"TRUNCATE {names} CASCADE"))
        engine.dispose()

    def purge(self) -> None:
        """Empty the broker's queues."""
        with kombu.Connection(self.broker_url) as connection:
            channel = connection.channel()
            for name in (RUNNER_QUEUE, EXECUTOR_QUEUE):
                bound = queue(name)(channel)
                bound.declare()
                bound.purge()

    def log(self) -> str:
        """The end of what the processes said."""
        return "\n".join(f"== {file.name}\n{file.read_text()[-3000:]}" for file in sorted(self._folder.glob("*.log")))

    def _begin(self, name: str) -> subprocess.Popen[bytes]:
        self._begun[name] += 1
        command = GUNICORN if name == "web" else [*CELERY, "--loglevel", "warning", "-n", f"{name}@%h"]
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.wire.shifted", str(self.clock.file), *command],
                cwd=ROOT,
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "INNGEST_"))}
        kept |= {"ORCHESTRATOR_BROKER_URL": self.broker_url} if self.broker_url else {}
        return kept | {
            "DATABASE_URL": self.database_url,
            "ORCHESTRATOR_SIGNING_KEY": self.keys.signing,
            "ORCHESTRATOR_EVENT_KEYS": self.keys.event,
            "ORCHESTRATOR_ALLOWED_NETWORKS": "127.0.0.0/8",
            "ORCHESTRATOR_QUEUE_WORKERS": "32",
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "1",
            "PYTHONPATH": ".",
        }

    def _ready(self) -> bool:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended\n{self.log()}"
        try:
            answers = request("GET", f"{self.url}/health")[0] == 200
        except OSError:
            return False
        workers = [name for name in self.names if name != "web"]
        return answers and all(self.said(name).count("worker ready") >= self._begun[name] for name in workers)

    def said(self, name: str) -> str:
        """Everything a process and those before it by its name have said."""
        file = self._folder / f"{name}.log"
        return file.read_text() if file.exists() else ""

"""The server as it runs in production: gunicorn and two Celery workers on a database and a broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine, create_engine, delete, text

from orchestrator.config import load
from orchestrator.queue.broker import EXECUTOR_QUEUE, RUNNER_QUEUE, of
from orchestrator.store import schema
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.tables import metadata
from tests.crash.process import ROOT, free_port
from tests.services import own_database
from tests.wire import brokers
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

    def __init__(self, folder: Path, database_url: str, broker: Mapping[str, str], workers: int = 2) -> None:
        """`broker` is what the environment of the processes says of it."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.clock = FileClock(folder / "clock")
        self.database_url = database_url
        self.broker = dict(broker)
        self._folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._begun = Counter[str]()
        self.names = ["web", *(f"worker{number}" for number in range(workers))]

    @classmethod
    @contextmanager
    def started(cls, broker: str, folder: Path, workers: int = 2, database: str = "postgresql") -> Iterator[Services]:
        """Run on a database of one's own; the broker's queues are emptied first."""
        with own_database(database) as database_url, brokers.broker(broker, folder) as told:
            schema.upgrade(database_url)
            running = cls(folder, database_url, told, workers)
            running.purge()
            try:
                running.start()
                yield running
            finally:
                running.stop()

    def start(self) -> None:
        """Start what does not run, and wait until it works."""
        self.begin()
        until(self._ready, "the services", self.log)

    def begin(self) -> None:
        """Start what does not run."""
        for name in self.names:
            if name not in self.processes:
                self.processes[name] = self._begin(name)

    def at_work(self) -> list[str]:
        """The workers that are ready."""
        workers = [name for name in self.names if name != "web"]
        return [name for name in workers if self.said(name).count("worker ready") >= self._begun[name]]

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
        _empty(engine)
        engine.dispose()

    def purge(self) -> None:
        """Empty the broker's queues."""
        told = of(load(self.broker, {}))
        if told is None or told.transport == "sqs":  # ours is as new as we are
            return
        with told.connection(5) as connection:
            channel = connection.channel()
            for name in (RUNNER_QUEUE, EXECUTOR_QUEUE):
                bound = told.queue(name)(channel)
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
        return (
            kept
            | self.broker
            | {
                "DATABASE_URL": self.database_url,
                "ORCHESTRATOR_SIGNING_KEY": self.keys.signing,
                "ORCHESTRATOR_EVENT_KEYS": self.keys.event,
                "ORCHESTRATOR_ALLOWED_NETWORKS": "127.0.0.0/8",
                "ORCHESTRATOR_QUEUE_WORKERS": "32",
                "PORT": str(self.port),
                "WEB_CONCURRENCY": "1",
                "PYTHONPATH": ".",
            }
        )

    def _ready(self) -> bool:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended\n{self.log()}"
        try:
            answers = request("GET", f"{self.url}/health")[0] == 200
        except OSError:
            return False
        return answers and len(self.at_work()) == len(self.names) - 1

    def holder(self) -> str:
        """The worker that holds the one lease there is."""
        engine = create_engine(self.database_url)
        with engine.connect() as conn:
            owner = conn.execute(text("SELECT owner FROM jobs WHERE state = 3")).scalar_one()
        engine.dispose()
        return next(name for name in self.names if owner in self.said(name))

    def said(self, name: str) -> str:
        """Everything a process and those before it by its name have said."""
        file = self._folder / f"{name}.log"
        return file.read_text() if file.exists() else ""


@undisturbed
def _empty(engine: Engine) -> None:
    """Delete every row, though the processes look at them all the time."""
    with engine.begin() as conn:
        if conn.dialect.name == "postgresql":
            names = ", ".join(table.name for table in metadata.sorted_tables)
            conn.execute(text(f"TRUNCATE {names} CASCADE"))
            return
        for table in reversed(metadata.sorted_tables):
            conn.execute(delete(table))

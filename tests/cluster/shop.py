"""A team's project outside of our tree: its own Celery application, packages and web application, and our one line.

Its folder is the working directory of its processes; what its tasks do they note in `journal`, and those that are to
last do so until there is a file `gate`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import kombu
import orjson

from orchestrator import bootstrap, config
from orchestrator.clock import SystemClock
from orchestrator.core.event import Event
from orchestrator.engine.ingest import Ingest
from orchestrator.ids import new_ulid
from orchestrator.queue.announce import Silence
from orchestrator.queue.broker import EXECUTOR_QUEUE, RUNNER_QUEUE, app_queue
from orchestrator.store import runs, schema, steps
from tests.crash.process import ROOT
from tests.services import own_database, require
from tests.wire.harness import until
from tests.wire.services import FileClock

QUEUES = ["shop.tasks", "shop.slow"]
LINES = "from orchestrator import Orchestrator\ndurable = Orchestrator('shop', celery=app)\n"
FILES = {
    "shop/__init__.py": "",
    "shop/celery.py": """
import os
from celery import Celery

app = Celery("shop", broker=os.environ["SHOP_BROKER"], include=["shop.tasks", "shop.functions"])
app.conf.task_default_queue = "shop.tasks"
app.conf.task_routes = {"shop.slow": {"queue": "shop.slow"}}
app.conf.broker_connection_retry_on_startup = True
"""
    + LINES,
    "shop/tasks.py": """
import os, time
from pathlib import Path
from shop.celery import app
from workers.images import scaled

HERE = Path(__file__).parents[1]


def note(what):
    with open(HERE / "journal", "a") as journal:
        journal.write(f"{what} {os.getpid()}\\n")


@app.task(name="shop.resize")
def resize(url, quality=1.0):
    note("resize")
    return scaled(url, quality)


@app.task(name="shop.flaky", bind=True, autoretry_for=(OSError,), max_retries=3, default_retry_delay=1)
def flaky(self, fails):
    note("flaky")
    if self.request.retries < fails:
        raise OSError("not yet")
    return self.request.retries


@app.task(name="shop.hasty", bind=True, max_retries=5)
def hasty(self):
    note("hasty")
    if self.request.retries < 3:
        raise self.retry(countdown=0)
    return self.request.retries


@app.task(name="shop.quiet", ignore_result=True)
def quiet():
    return "heard all the same"


@app.task(name="shop.broken")
def broken(why):
    raise LookupError(why)


@app.task(name="shop.slow", acks_late=True)
def slow():
    note("slow")
    deadline = time.monotonic() + 60
    while not (HERE / "gate").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return "slept"
""",
    "shop/functions.py": """
from orchestrator import Context, Event, StepError
from shop import tasks
from shop.celery import durable


@durable.function(on=Event("resize"))
def resize(ctx: Context):
    made = ctx.step.run("price", lambda: {"cents": 250})
    return [made, ctx.step.task("resize", tasks.resize.s(ctx.event.data["url"], quality=0.5))]


@durable.function(on=Event("do"))
def do(ctx: Context):
    signature = getattr(tasks, ctx.event.data["task"]).s(*ctx.event.data.get("args", []))
    try:
        return ctx.step.task("do", signature)
    except StepError as error:
        return {"name": error.name, "message": error.message, "traced": "raise LookupError" in (error.stack or "")}


@durable.function(on=Event("album"))
async def album(ctx):
    import asyncio
    return await asyncio.gather(*(ctx.step.task(f"page {at}", tasks.resize.s(str(at))) for at in range(5)))


@durable.function(on=Event("nap"))
async def nap(ctx):
    import asyncio

    async def body():
        await asyncio.sleep(0.3)
        return "rested"

    await asyncio.sleep(0.3)
    return await ctx.step.run("nap", body)
""",
    "shop/web.py": """
from flask import Flask, jsonify, request
from api.prices import price
from shop.celery import durable

app = Flask(__name__)


@app.post("/orders")
def orders():
    return jsonify(ids=durable.send("resize", {"url": request.json["url"]}), price=price())
""",
    # Names that we have folders of, too.
    "api/__init__.py": "",
    "api/prices.py": "def price():\n    return 250\n",
    "workers/__init__.py": "",
    "workers/images.py": "def scaled(url, quality):\n    return f'{url} at {quality}'\n",
}
CELERY = [sys.executable, "-m", "celery", "-A", "shop", "worker", "--without-gossip", "--without-mingle", "-l", "info"]


class Shop:
    """The project in a folder, its processes, and its database seen from outside."""

    def __init__(self, folder: Path, database_url: str, broker_url: str) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.database_url, self.broker_url = database_url, broker_url
        self.clock = FileClock(folder / "clock")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name, text in FILES.items():
            self.write(name, text)
        settings = config.load({}, {"mode": "start", "database_url": database_url})
        self.parts = bootstrap.parts(settings, settings.database_url or "", Silence(), clock=SystemClock())
        self._ingest = Ingest(self.parts)

    @classmethod
    @contextmanager
    def made(cls, broker: str, folder: Path) -> Iterator[Shop]:
        """The project on a database of its own; the broker's queues are emptied first."""
        broker_url = require(broker)
        if broker == "redis":
            broker_url = f"{broker_url.rpartition('/')[0]}/10"
        with own_database("postgresql") as database_url:
            schema.upgrade(database_url)
            shop = cls(folder, database_url, broker_url)
            shop.purge(*QUEUES, RUNNER_QUEUE, EXECUTOR_QUEUE, app_queue("shop"))
            try:
                yield shop
            finally:
                shop.close()

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        file = self.project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def purge(self, *queues: str) -> int:
        """Wipe queues of the broker; returns how many messages went."""
        gone = 0
        with kombu.Connection(self.broker_url) as connection:
            channel = connection.channel()
            for name in queues:
                bound = kombu.Queue(name, kombu.Exchange(name, type="direct"), routing_key=name)(channel)
                bound.declare()
                gone += bound.purge()
        return gone

    def wiped(self, queue: str) -> None:
        """Wait until there is a message in a queue, and wipe it."""
        until(lambda: self.purge(queue), f"a message in {queue}", self.log, deadline=60)

    def worker(self, name: str, *, queues: str = "shop.tasks,shop.slow", pool: str = "threads") -> None:
        """Start a Celery worker of the team's, and wait until it works."""
        self.start(name, *CELERY, "-P", pool, "-c", "4", "-n", f"{name}@%h", "-Q", queues)
        until(lambda: self._works(name), f"worker {name}", self.log, deadline=60)

    def start(self, name: str, *command: str, plain: bool = False, **env: str) -> None:
        """Start a process of the project; a Celery worker goes by our clock unless it is a plain one."""
        shifted = [sys.executable, "-m", "tests.wire.shifted", str(self.clock.file)]
        if list(command[:3]) == CELERY[:3] and not plain:
            command = (*shifted, "celery", *command[3:])
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=self.project, env=self.environment() | env, stdout=log, stderr=log, start_new_session=True
            )

    def run(self, code: str) -> None:
        """Run a line of Python in the project."""
        subprocess.run([sys.executable, "-c", code], cwd=self.project, env=self.environment(), check=True, timeout=60)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "INNGEST_"))}
        return kept | {
            "DATABASE_URL": self.database_url,
            "SHOP_BROKER": self.broker_url,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    def kill(self, name: str) -> None:
        """Kill a process and its children with -9."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def stop(self, name: str) -> float:
        """End a process by TERM; returns the seconds that took."""
        process = self.processes.pop(name)
        began = time.monotonic()
        process.terminate()
        try:
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        return time.monotonic() - began

    def close(self) -> None:
        """Kill whatever still runs."""
        for name in list(self.processes):
            self.kill(name)
        self._ingest.close()
        self.parts.database.close()

    def send(self, name: str, **data: object) -> str:
        """Take one event in; returns its id."""
        [event_id] = self.send_all(name, [data])
        return event_id

    def send_all(self, name: str, data: Sequence[Mapping[str, object]]) -> list[str]:
        """Take events in together; returns their ids."""
        now = self.parts.clock.now()
        ts = int(now.timestamp() * 1000)
        events = [Event(new_ulid(), name, orjson.dumps(it).decode(), ts, now) for it in data]
        self._ingest.accept(events)
        return [event.id for event in events]

    def ended(self, event_id: str, seconds: float = 60) -> runs.StoredRun:
        """Wait for the end of the event's one run."""

        def look() -> runs.StoredRun | None:
            with self.parts.database.read() as conn:
                found = runs.of_event(conn, event_id)
            return found[0] if found and found[0].status.final else None

        run: runs.StoredRun = until(look, f"the end of the run of {event_id}", self.log, deadline=seconds)
        return run

    def output(self, event_id: str, seconds: float = 60) -> Any:
        """What the event's run returned."""
        run = self.ended(event_id, seconds)
        assert run.output is not None, (run.status, run.error, self.log())
        return orjson.loads(run.output)

    def steps(self, event_id: str) -> list[tuple[str, str]]:
        with self.parts.database.read() as conn:
            [run] = runs.of_event(conn, event_id)
            return [(step.name, step.status.value) for step in steps.of_run(conn, run.id)]

    def journal(self, what: str = "") -> list[str]:
        """What the tasks noted, as `name pid`."""
        file = self.project / "journal"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(what)]

    def noted(self, what: str, times: int = 1) -> None:
        """Wait until a task has noted that so often."""
        until(lambda: len(self.journal(what)) >= times, f"{what} in the journal", self.log, deadline=60)

    def open_gate(self) -> None:
        """Let the slow tasks end."""
        (self.project / "gate").touch()

    def skip(self, span: timedelta) -> None:
        """Move the clock of the workers."""
        self.clock.skip(span)

    def said(self, name: str) -> str:
        """What a process has said."""
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def log(self) -> str:
        """The end of what the processes said."""
        return "\n".join(f"== {file.name}\n{file.read_text()[-4000:]}" for file in sorted(self.folder.glob("*.log")))

    def _works(self, name: str) -> bool:
        assert self.processes[name].poll() is None, f"{name} ended\n{self.log()}"
        said = self.said(name)
        return f"{name}@" in said and " ready." in said and "worker ready" in said

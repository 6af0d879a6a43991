"""A target and the bench app, up and running on fresh data, and what can be done with them."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import kombu
import pytest
from sqlalchemy import create_engine, make_url

from orchestrator.queue.broker import EXECUTOR_QUEUE, RUNNER_QUEUE, Broker, app_queue
from tests import services
from tests.bench.app import EVENT_KEY
from tests.bench.client import Sent
from tests.bench.processes import ROOT, Process, cpu_of, cpu_of_named, memory_of, until
from tests.bench.records import Records
from tests.bench.targets import APP, PLAIN_QUEUE, SIGNING_KEY, Target

PATH = f"/e/{EVENT_KEY}"
CONNECTIONS = 32
WARM_UPS = 20
READY = 30.0
#: The tests use others.
REDIS_DATABASE = 8
#: Nothing new for so long: what is missing will not come.
PATIENCE = 45.0


class NotReady(Exception):  # noqa: N818 - it is an outcome, told in a sentence
    """A target that cannot be measured here, and why."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds by role."""

    server: float
    app: float
    services: float

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(self.server - earlier.server, self.app - earlier.app, self.services - earlier.services)


class Stage:
    """Server, app and records."""

    def __init__(self, target: Target, folder: Path, addresses: dict[str, str], durable: bool) -> None:
        self.target = target
        self.port, self._app_port = _free_port(), _free_port()
        self._folder = folder
        self._places = addresses | {"python": sys.executable, "bin": str(Path(sys.executable).parent)}
        self._places |= {"port": str(self.port), "state": str(folder / "state")}
        self._durable = target.durable if durable else ""
        self._record_file = folder / "records"
        self._places |= {"records": str(self._record_file)}
        self.records = Records(self._record_file)
        self._server: list[Process] = []
        self._app: list[Process] = []

    @property
    def _database(self) -> str:
        """The name of the target's database."""
        return self._places.get("database", "").rpartition("/")[2]

    @property
    def has_app(self) -> bool:
        """Whether the app runs."""
        return bool(self._app)

    def start_server(self) -> None:
        """Start all processes of the target and wait until the server answers."""
        first, *others = self.target.commands
        self._server = [
            self._process(command, "server", self.target.env) for command in (first + self._durable, *others)
        ]
        if self.target.web:
            self._await_answer(self._server, self.port, "/health")
        if self.target.web and self.target.in_process:
            self._await_answer(self._server, self.port, f"/v1/apps/{APP}/functions", SIGNING_KEY)

    def start_app(self) -> None:
        """Start the app, and have it register its functions."""
        command = "{python} -m tests.bench.app " + f"{self._app_port} http://127.0.0.1:{self.port} {self._record_file}"
        self._app = [self._process(command, "app", self.target.app_env)]
        self._await_answer(self._app, self._app_port, "/health")
        asked = urllib.request.Request(f"http://127.0.0.1:{self._app_port}/api/inngest", method="PUT")
        with urllib.request.urlopen(asked, timeout=READY) as answer:
            if answer.status != 200:
                raise NotReady(f"the app was not registered: {answer.read()[:500]!r}")

    def warm_up(self) -> None:
        """Let a few runs pass that are not measured."""
        self.send(WARM_UPS, "warm-", "noop")
        if not self.wait("d", "warm-", WARM_UPS):
            raise NotReady(f"the first runs did not end\n{self._server[-1].last_words()}")

    def run_before(self) -> None:
        """Run the target's commands that come before it, such as the one that makes the tables."""
        for command in self.target.before:
            process = self._process(command, "before", self.target.env)
            if not process.succeeds(READY):
                raise NotReady(f"this failed: {command}\n{process.last_words()}")

    def send(self, count: int, prefix: str, function: str, **data: object) -> Sent:
        """Trigger runs, and wait until all are sent."""
        return self.sending(count, prefix, function, **data)()

    def sending(self, count: int, prefix: str, function: str, **data: object) -> Callable[[], Sent]:
        """Begin to trigger runs; what is returned waits until all are sent."""
        if self.target.sender:
            command = [*self._words(self.target.sender), str(count), prefix, function, json.dumps(data)]
            return self._sent(command, self._env(self.target.env))
        return self._client("count", "0", str(count), prefix, f"bench/{function}", json.dumps(data), "0")

    def send_to(self, runs: range, prefix: str, event: str, rate: float = 0) -> Sent:
        """Send an event to each of these runs, `rate` a second unless it is 0, and wait until all are sent."""
        return self._client("count", str(runs.start), str(len(runs)), prefix, f"bench/{event}", "{}", str(rate))()

    def flood(self, seconds: float, body: bytes, connections: int) -> Sent:
        """Send the same body again and again."""
        return self._client("seconds", str(seconds), body.decode(), connections=connections)()

    def wait(self, kind: str, prefix: str, count: int, told: str = "") -> bool:
        """Wait until something happened in so many runs; False when for a long time nothing more did."""
        return self._await(lambda: self.records.count(kind, prefix), count, told)

    def wait_for(self, kind: str, runs: Collection[str], told: str = "") -> bool:
        """Wait until something happened in just these runs; False when for a long time nothing more did."""
        return self._await(lambda: sum(run in self.records.of[kind] for run in runs), len(runs), told)

    def _await(self, look: Callable[[], int], count: int, told: str) -> bool:
        seen, changed, tell_at = -1, time.monotonic(), time.monotonic() + 2
        while True:
            self.records.refresh()
            now, reached = time.monotonic(), look()
            if reached >= count:
                return True
            progress = len(self.records.bodies) + reached
            if progress != seen:
                seen, changed = progress, now
            if now - changed > PATIENCE:
                return False
            if told and now > tell_at:
                tell(f"  {told}: {reached} of {count}")
                tell_at = now + 2
            time.sleep(0.02)

    def cpu(self) -> Cpu:
        """CPU seconds that each role has used so far."""
        named = self.target.service_processes
        return Cpu(
            cpu_of({it.pid for it in self._server}),
            cpu_of({it.pid for it in self._app}),
            cpu_of_named(set(named), self._database) if named else 0.0,
        )

    def memory(self) -> int:
        """Bytes that the server's processes hold."""
        return memory_of({it.pid for it in self._server})

    def kill_server(self) -> None:
        """Kill all processes of the target with -9."""
        for process in self._server:
            process.kill()

    def close(self) -> None:
        """End everything."""
        for process in (*self._server, *self._app):
            process.stop()
        self.records.close()

    def _process(self, command: str, name: str, told: Mapping[str, str]) -> Process:
        return Process(self._words(command), self._env(told), self._folder / f"{name}.log")

    def _words(self, command: str) -> list[str]:
        return [word.format(**self._places) for word in shlex.split(command)]

    def _env(self, told: Mapping[str, str]) -> dict[str, str]:
        env = {key: value.format(**self._places) for key, value in told.items()}
        return env | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def _await_answer(self, processes: list[Process], port: int, path: str, key: str = "") -> None:
        def answers() -> bool:
            for process in processes:
                if not process.alive():
                    raise NotReady(f"a process ended at once:\n{process.last_words()}")
            return _answers(port, path, key)

        if not until(answers, READY):
            raise NotReady(f"nothing answered within {READY:g} s:\n{processes[0].last_words()}")

    def _client(self, *words: str, connections: int = CONNECTIONS) -> Callable[[], Sent]:
        return self._sent(
            [sys.executable, "-m", "tests.bench.client", str(self.port), PATH, str(connections), *words], {}
        )

    def _sent(self, command: Sequence[str], env: Mapping[str, str]) -> Callable[[], Sent]:
        client = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ | env)

        def ended() -> Sent:
            output, _ = client.communicate()
            return Sent(**json.loads(output))

        return ended


@contextmanager
def stage(target: Target, *, app: bool = True, durable: bool = False) -> Iterator[Stage]:
    """A stage on fresh data; raises `NotReady` with a sentence where the target does not start."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        set_up = Stage(target, folder, _addresses(target, stack), durable)
        stack.callback(set_up.close)
        try:
            set_up.run_before()
            set_up.start_server()
            if app and not target.in_process:
                set_up.start_app()
            if app:
                set_up.warm_up()
        except OSError as error:
            raise NotReady(str(error)) from None
        yield set_up


def tell(line: str) -> None:
    """Tell people how it goes."""
    print(line, file=sys.stderr, flush=True)


def _addresses(target: Target, stack: ExitStack) -> dict[str, str]:
    """Where the target's services are, on an empty database."""
    if not target.services:
        return {}
    database, broker = target.services
    try:
        broker_url = services.require(broker)
        if database == "redis":
            database_url = _redis(services.require(database))
        else:
            database_url = stack.enter_context(services.own_database(database))
            _make_durable(database_url)
    except pytest.skip.Exception as missing:
        raise NotReady(str(missing)) from None
    if broker == "redis":
        broker_url = _redis(broker_url)
    _empty(broker_url)
    return {"database": database_url, "broker": broker_url}


def _redis(url: str) -> str:
    return f"{url.rpartition('/')[0]}/{REDIS_DATABASE}"


def _make_durable(database_url: str) -> None:
    """Commits are to cost what they cost in production; those of the tests' databases do not."""
    url = make_url(database_url)
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.exec_driver_sql(f"ALTER DATABASE {url.database} RESET synchronous_commit")
    admin.dispose()


def _empty(broker_url: str) -> None:
    """Throw away what others have left in the broker's queues."""
    with kombu.Connection(broker_url) as connection:
        for name in (RUNNER_QUEUE, EXECUTOR_QUEUE, app_queue(APP), PLAIN_QUEUE):
            bound = Broker(broker_url).queue(name)(connection.channel())
            bound.declare()
            bound.purge()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, path: str, key: str) -> bool:
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if key:
        asked.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

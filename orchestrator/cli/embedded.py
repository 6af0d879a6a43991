"""The whole server in one process: API, worker, and the poller of apps; on an embedded database, or one by URL."""

from __future__ import annotations

import signal
import socket
from datetime import timedelta
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from orchestrator import bootstrap, log
from orchestrator.attach.sender import serve_from
from orchestrator.cli.exits import Exit
from orchestrator.cli.explained import explained
from orchestrator.cli.news import heard
from orchestrator.cli.problem import Problem
from orchestrator.clock import Clock, SystemClock
from orchestrator.config import Config, require_secrets
from orchestrator.drivers.local import LocalDriver
from orchestrator.engine.branch import Held
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.poll import Poller
from orchestrator.engine.register import add_url
from orchestrator.errors import ConfigError
from orchestrator.queue.local import LocalQueue, Own
from orchestrator.sdk.function import APPS
from orchestrator.store import schema
from orchestrator.store.embedded import StateDirectory
from orchestrator.workers.inprocess import InProcessWorker
from orchestrator.workers.modules import declare_all, import_modules
from orchestrator.workers.pool import Pool

if TYPE_CHECKING:
    from orchestrator.api.server import Application, HttpThread

_log = log.get(__name__)

#: Threads that answer requests which are not events.
HTTP_THREADS = 16
#: Seconds that requests under way are given at the end.
HTTP_GRACE = 1.0


def run(config: Config) -> None:
    """Run a server until interrupted or terminated."""
    # No Event: its `set`, in a handler that interrupts the same thread inside its `wait`, takes a lock already held.
    signals = SimpleQueue[int]()

    def stop(number: int, _frame: FrameType | None) -> None:
        signals.put(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server = EmbeddedServer(config)
    server.start()
    heard(signals)
    server.stop()


class EmbeddedServer:
    """Everything, started and stopped together; guarded by keys unless the mode is `dev`."""

    def __init__(
        self,
        config: Config,
        clock: Clock | None = None,
        *,
        state: StateDirectory | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        """Put the parts together; nothing runs yet.  A `state` or a `listener` that is given outlives the server.

        Raises `ConfigError` for what cannot be used, and `Problem` for a database that must be upgraded first.
        """
        require_secrets(config)
        self.config = config
        self._stopped = False
        self._listener = listener or listen(config)
        self.port: int = self._listener.getsockname()[1]
        self._owns_state = state is None
        try:
            self.state = state or open_state(config)
        except BaseException:
            self._listener.close()
            raise
        try:
            self._put_together(config, clock or SystemClock())
        except BaseException:
            self._listener.close()
            self._close_state()
            raise

    def _put_together(self, config: Config, clock: Clock) -> None:
        url = config.database_url or self.state.database_url
        _prepare_schema(config, url)
        queue = LocalQueue(clock)
        import_modules(config.apps)
        local = LocalDriver(APPS)
        synchronous = "FULL" if config.database_url else self.state.synchronous
        announcer = Own(queue, local.holds)
        self.parts = bootstrap.parts(config, url, announcer, synchronous=synchronous, clock=clock, local=local)
        self._ingest = Ingest(self.parts)
        self._worker = InProcessWorker(
            self.parts,
            queue,
            Pool[Held](config.queue_workers),
            alone=config.database_url is None,
            drain=timedelta() if config.mode == "dev" else config.grace,
        )
        self._poller = Poller(
            self.parts,
            interval=config.poll_interval,
            poll=config.poll,
            discover=config.discovery and config.mode == "dev",
            own_port=self.port,
        )
        self._http = self._http_thread()

    def _http_thread(self) -> HttpThread:
        from orchestrator.api.server import HttpThread

        return HttpThread(self._application(), self._listener, threads=HTTP_THREADS)

    def _application(self) -> Application:
        from orchestrator.api.front import front

        return front(self.config, self.parts, self._ingest)

    @property
    def _alone(self) -> bool:
        """Whether no Celery worker of the team's can be at work for this server."""
        return self.config.mode == "dev" or self.config.database_url is None

    @property
    def url(self) -> str:
        """Where it listens, as a person would type it."""
        host = "localhost" if self.config.host in ("0.0.0.0", "127.0.0.1", "::", "") else self.config.host
        return f"http://{host}:{self.port}"

    def start(self) -> None:
        """Begin: listen, work, poll."""
        self._http.start()
        serve_from(self.parts)
        if self._alone and any(registry.tasks for registry in APPS.values()):
            from orchestrator.attach.tasks import serve_here

            serve_here(self.parts, APPS)
        self._worker.start()
        for url in self.config.sdk_urls:
            add_url(self.parts, url)
        self._poller.start()
        _log.info(
            "server ready",
            mode=self.config.mode,
            url=self.url,
            state=self._where(),
            apps=[*self.config.apps, *self.config.sdk_urls],
        )
        declare_all(self.parts, APPS)
        if self.config.broker_url:
            _log.warning("broker not used", reason="everything is in one process")

    def _where(self) -> str:
        if self.config.database_url:
            return f"database ({self.parts.database.kind})"
        return str(self.state.path) if self.state.kept else "temporary"

    def stop(self) -> None:
        """End: no more is taken, what does not end in time is handed back, a temporary state is deleted.

        Safe to call twice.
        """
        if self._stopped:
            return
        self._stopped = True
        self._poller.stop()
        self._worker.stop()
        self._http.stop(HTTP_GRACE)
        self._ingest.close()
        self.parts.database.close()
        self._close_state()

    def _close_state(self) -> None:
        if self._owns_state:
            self.state.close()


def open_state(config: Config) -> StateDirectory:
    """The directory of the state, as configured.  Raises `ConfigError` when somebody else uses it."""
    return StateDirectory(config.state_dir if _is_kept(config) else None)


def _is_kept(config: Config) -> bool:
    return config.database_url is None and (config.persist or config.mode != "dev")


def _prepare_schema(config: Config, url: str) -> None:
    """Upgrade a database of our own; one that production shares is upgraded once, by a deploy, and only checked."""
    if config.database_url is None or config.mode == "dev":
        schema.upgrade(url)
        return
    try:
        with explained():
            schema.check(url)
    except ConfigError as error:
        raise Problem(error.message, Exit.SCHEMA) from None


def listen(config: Config) -> socket.socket:
    """Listen where the configuration says.  Raises `ConfigError` for an address that cannot be used."""
    host, port = config.host, config.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port: {port} on {host} cannot be used ({error.strerror}); stop what listens there, "
            "or choose another with --port (0 picks a free one)"
        ) from None
    listener.listen(1024)
    return listener

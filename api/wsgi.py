"""The web process: `gunicorn orchestrator.api.wsgi:app`, any number of them.

`app` is made at the first request of each process, so that a server may fork before or after importing it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import bootstrap, config, log
from orchestrator.api.front import front
from orchestrator.api.ready import Vital
from orchestrator.clock import SystemClock
from orchestrator.engine.ingest import Ingest
from orchestrator.errors import ConfigError
from orchestrator.queue.announce import announcer
from orchestrator.store import schema
from orchestrator.store.patience import patiently

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Web:
    """The WSGI application of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: tuple[int, Vital] | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        return self.prepare()(environ, start_response)

    def prepare(self) -> Vital:
        """This process's application, made if need be.  Raises `ConfigError` for what cannot be used."""
        made = self._made
        if made is not None and made[0] == os.getpid():
            return made[1]
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), make_app(settings()))
            return self._made[1]


def settings() -> config.Config:
    """The configuration of this process: environment and file."""
    return config.load(os.environ, {"mode": "start"}, config.find_file(os.environ, Path.cwd()))


def make_app(configured: config.Config) -> Vital:
    """The application for a configuration; waits a while for a database that is away."""
    url = configured.database_url
    if url is None:
        raise ConfigError("database_url is not set: give DATABASE_URL (or ORCHESTRATOR_DATABASE_URL) a database")
    patiently(lambda: schema.check(url))
    parts = bootstrap.parts(configured, url, announcer(configured), clock=SystemClock())
    return front(configured, parts, Ingest(parts))


def configure_log() -> None:
    """Write this process's records as JSON lines."""
    log.configure(log.render_json, settings().log_level)


app = Web()

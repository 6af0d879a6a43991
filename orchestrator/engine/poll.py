"""Keep apps synced: ask the known ones, and in development look for new ones on the usual ports."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from orchestrator import log
from orchestrator.drivers.local import app_of
from orchestrator.engine.parts import Parts
from orchestrator.engine.register import add_url, note_failure
from orchestrator.engine.sync import sync_url
from orchestrator.errors import RequestError, TransportError
from orchestrator.protocol.endpoint import is_endpoint
from orchestrator.protocol.headers import is_sdk_answer
from orchestrator.store import functions
from orchestrator.store.functions import App

_log = log.get(__name__)

#: Where apps under development usually listen (PROTOCOL 2.7).
PORTS = (*range(3000, 3011), 5000, 8000, 8080, 4321, 5173, 8081, 8888, *range(8910, 8916), 8787, 80, 443)
PATHS = ("/api/inngest", "/x/inngest", "/.netlify/functions/inngest", "/.redwood/functions/inngest")
#: An app that does not answer is asked again this soon, so that starting it after the server costs no wait.
_EAGER = timedelta(seconds=1)
_LOOK = timedelta(seconds=2)


class Poller:
    """One thread that keeps apps synced until it is stopped."""

    def __init__(self, parts: Parts, *, interval: timedelta, poll: bool, discover: bool, own_port: int) -> None:
        self._parts = parts
        self._interval = interval
        self._poll = poll
        self._discover = discover
        self._own_port = own_port
        self._stopped = threading.Event()
        self._asked = dict[str, float]()
        self._thread = threading.Thread(target=self._loop, name="poller", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a ping under way is left to itself."""
        self._stopped.set()

    def _loop(self) -> None:
        while not self._stopped.is_set():
            try:
                self._round()
            except Exception:
                _log.exception("polling crashed")
            self._stopped.wait(_EAGER.total_seconds())

    def _round(self) -> None:
        with self._parts.database.read() as conn:
            apps = functions.all_apps(conn)
        for app in apps:
            if self._is_due(app):
                self._asked[app.url] = time.monotonic()
                ask(self._parts, app)
        if self._discover and not any(app.name for app in apps):
            for url in find_apps(self._parts, PORTS, self._own_port):
                add_url(self._parts, url)

    def _is_due(self, app: App) -> bool:
        if app_of(app.url) is not None or is_endpoint(app.url):
            return False  # It tells of itself.
        broken = app.name is None or app.error is not None
        if not broken and not self._poll:
            return False
        wait = _EAGER if broken else self._interval
        return time.monotonic() - self._asked.get(app.url, -1e9) >= wait.total_seconds()


def ask(parts: Parts, app: App) -> bool:
    """Ping one app and keep the reason if it fails; returns whether it answered as it should."""
    try:
        sync_url(parts, app.url)
    except TransportError as error:
        note_failure(parts, app, error)
        return False
    except RequestError as error:
        note_failure(parts, app, TransportError(error.message, error.code))
        return False
    return True


def find_apps(parts: Parts, ports: Sequence[int], own_port: int) -> list[str]:
    """The URLs on this machine's usual ports at which an app on an SDK answers."""
    with ThreadPoolExecutor(8, thread_name_prefix="discovery") as pool:
        found = pool.map(lambda url: url if _is_app(parts, url) else None, _candidates(parts, ports, own_port))
        return [url for url in found if url]


def _candidates(parts: Parts, ports: Sequence[int], own_port: int) -> Iterator[str]:
    for port in ports:
        if port != own_port and _listens(parts, port):
            scheme = "https" if port == 443 else "http"
            yield from (f"{scheme}://localhost:{port}{path}" for path in PATHS)


def _listens(parts: Parts, port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.settimeout(0.05)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_app(parts: Parts, url: str) -> bool:
    try:
        return is_sdk_answer(parts.http.request("GET", url, headers={}, timeout=_LOOK).headers)
    except TransportError:
        return False
